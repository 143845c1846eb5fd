"""The manager asks the replicas of the webhooks, over TLS, which certificate they serve."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from spo.api.core import PODS
from spo.api.meta import ObjectMeta
from spo.api.secret import Secret
from spo.manager.admission_api import Replicas
from spo.manager.certificates import Issued, new_authority, new_server_certificate
from spo.names import WEBHOOK_NAME
from spo.webhooks.serving_certificate import ServingCertificate
from tests.fakes.api_server_in_process import in_process_client
from tools.devcluster import free_port

NOW = datetime.now(UTC)
CA = new_authority(NOW)


def issue() -> Issued:
    return new_server_certificate(CA.certificate, CA.key, ("w.example",), NOW)


class World:
    """Replicas and the API server that knows of them."""

    def __init__(self) -> None:
        self._client, _ = in_process_client()
        self._servers: list[asyncio.Server] = []
        self.replicas = Replicas(self._client, "spo")

    async def add(
        self, name: str, served: Issued | None, phase: str = "Running", ip: str = "127.0.0.1"
    ) -> None:
        """A replica; without a certificate nothing listens."""
        port = free_port()
        if served is not None:
            certificate = ServingCertificate()
            data = {"tls.crt": served.certificate, "tls.key": served.key}
            certificate.secret_changed(None, Secret(metadata=ObjectMeta(name="s"), data=data))
            self._servers.append(
                await asyncio.start_server(
                    lambda _, writer: writer.close(), "127.0.0.1", port, ssl=certificate.context
                )
            )
        body = {
            "metadata": {"name": name, "labels": {"name": WEBHOOK_NAME}},
            "spec": {"containers": [{"ports": [{"name": "webhook-server", "containerPort": port}]}]},
            "status": {"phase": phase, "podIP": ip},
        }
        await self._client.create(PODS, body, "spo")

    def close(self) -> None:
        for server in self._servers:
            server.close()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    made.close()


async def test_all_must_serve_it(world: World) -> None:
    old, new = issue(), issue()
    assert await world.replicas.all_serve(new.certificate)  # there is nobody to wait for
    await world.add("a", new)
    assert await world.replicas.all_serve(new.certificate)
    await world.add("b", old)
    assert not await world.replicas.all_serve(new.certificate)


async def test_first_certificate_of_a_chain_counts(world: World) -> None:
    served = issue()
    await world.add("a", served)
    assert await world.replicas.all_serve(served.certificate + CA.certificate)
    assert not await world.replicas.all_serve(CA.certificate + served.certificate)


async def test_replica_that_is_not_reached_may_serve_the_old_one(world: World) -> None:
    await world.add("over", None, phase="Failed")
    assert await world.replicas.all_serve(issue().certificate)
    await world.add("starting", None)
    assert not await world.replicas.all_serve(issue().certificate)


async def test_replica_without_an_address_is_waited_for(world: World) -> None:
    await world.add("scheduled", None, phase="Pending", ip="")
    assert not await world.replicas.all_serve(issue().certificate)


@pytest.mark.parametrize("junk", [b"", b"x", b"\xff", CA.certificate[:40]])
async def test_what_is_no_certificate_is_served_by_nobody(world: World, junk: bytes) -> None:
    assert not await world.replicas.all_serve(junk)
