"""The ServiceMonitor: made where the kind exists, put back, else left alone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from spo.kube.errors import NotFoundError
from spo.manager.service_monitor import (
    CRDS,
    LOOK_AGAIN_S,
    SERVICE_MONITORS,
    MonitorControllers,
    ServiceMonitor,
    wanted_spec,
)
from spo.names import SERVICE_MONITOR
from tests.fakes.api_server_in_process import in_process_client
from tests.fakes.clock import FakeClock

NAMESPACE = "spo"
NAME = "servicemonitors.monitoring.coreos.com"


class World:
    """The API server, and the manager's part for the Prometheus Operator."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.client, self.transport = in_process_client()
        self.controllers = MonitorControllers(self.client, NAMESPACE, self.clock)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for informer in self.controllers.informers:
                group.create_task(informer.run())
            for informer in self.controllers.informers:
                await informer.synced()
            await self.controllers.run()

    async def settle(self) -> None:
        for _ in range(4):
            await self.clock.settle()

    async def define(self, *, established: bool) -> None:
        condition = {"type": "Established", "status": str(established)}
        crd = {"metadata": {"name": NAME}, "status": {"conditions": [condition]}}
        await self.client.create(CRDS, crd)
        await self.settle()

    async def monitor(self) -> ServiceMonitor | None:
        try:
            return await self.client.get(SERVICE_MONITORS, SERVICE_MONITOR, NAMESPACE)
        except NotFoundError:
            return None

    def writes(self) -> int:
        return sum(one.method == "PATCH" for one in self.transport.requests)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    running = asyncio.create_task(made.run())
    await made.settle()
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def asked_for_monitors(world: World) -> bool:
    return any("monitoring.coreos.com/v1" in one.path for one in world.transport.requests)


async def test_without_the_kind_nobody_asks_for_it(world: World) -> None:
    await world.clock.advance(3 * LOOK_AGAIN_S)

    assert not asked_for_monitors(world)


async def test_it_comes_when_the_kind_is_served(world: World) -> None:
    await world.define(established=False)
    assert not asked_for_monitors(world)

    condition = {"type": "Established", "status": "True"}
    await world.client.patch(CRDS, NAME, None, {"status": {"conditions": [condition]}})
    await world.settle()

    found = await world.monitor()
    assert found is not None
    assert found.spec == wanted_spec(NAMESPACE)
    assert found.metadata.labels == {"app": "security-profiles-operator"}


@pytest.mark.parametrize("change", ["deleted", "changed"])
async def test_it_is_put_back(world: World, change: str) -> None:
    await world.define(established=True)
    if change == "deleted":
        await world.client.delete(SERVICE_MONITORS, SERVICE_MONITOR, NAMESPACE)
    else:
        patch: dict[str, Any] = {"spec": {"endpoints": []}}
        await world.client.patch(SERVICE_MONITORS, SERVICE_MONITOR, NAMESPACE, patch)

    await world.clock.advance(LOOK_AGAIN_S)
    await world.settle()

    found = await world.monitor()
    assert found is not None
    assert found.spec == wanted_spec(NAMESPACE)


async def test_what_is_right_is_not_written_again(world: World) -> None:
    await world.define(established=True)
    with_defaults = [{**one, "honorLabels": False} for one in wanted_spec(NAMESPACE)["endpoints"]]
    patch = {"spec": {"endpoints": with_defaults, "sampleLimit": 0}}
    await world.client.patch(SERVICE_MONITORS, SERVICE_MONITOR, NAMESPACE, patch)
    before = world.writes()

    await world.clock.advance(5 * LOOK_AGAIN_S)
    await world.settle()

    assert world.writes() == before


async def test_without_a_right_to_see_kinds_it_is_tried() -> None:
    world = World()
    world.controllers = MonitorControllers(world.client, NAMESPACE, world.clock, is_restricted=True)
    running = asyncio.create_task(world.run())
    await world.settle()
    assert not any("customresourcedefinitions" in one.path for one in world.transport.requests)
    assert await world.monitor() is not None
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
