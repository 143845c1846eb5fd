"""The profile that logs everything: made when somebody needs it, never against the will of users."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from spo.api.profile_recording import PROFILE_RECORDINGS, ProfileRecording
from spo.api.seccomp_profile import SECCOMP_PROFILES
from spo.api.spod import SPODS, SecurityProfilesOperatorDaemon
from spo.kube.informer import Informer
from spo.manager.log_profile import LogProfileControllers
from tests.fakes.api_server_in_process import in_process_client
from tests.fakes.clock import FakeClock

NAMESPACE = "spo"


class World:
    """The API server, and the manager's part for this profile."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.client, self.transport = in_process_client()
        self.recordings: Informer[ProfileRecording] = Informer(
            self.client, PROFILE_RECORDINGS, clock=self.clock
        )
        self.spods: Informer[SecurityProfilesOperatorDaemon] = Informer(
            self.client, SPODS, (NAMESPACE,), clock=self.clock
        )
        self.controllers = LogProfileControllers(
            self.client, NAMESPACE, self.recordings, self.spods, self.clock
        )

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for informer in (self.recordings, self.spods):
                group.create_task(informer.run())
            await self.recordings.synced()
            await self.spods.synced()
            await self.controllers.run()

    async def settle(self) -> None:
        for _ in range(4):
            await self.clock.settle()

    async def record(self, name: str, recorder: str) -> None:
        body = {
            "metadata": {"name": name, "namespace": "team"},
            "spec": {"kind": "SeccompProfile", "recorder": recorder, "podSelector": {}},
        }
        await self.client.create(PROFILE_RECORDINGS, body, "team")
        await self.settle()

    async def profiles(self) -> list[tuple[str, Any]]:
        page = await self.client.list_page(SECCOMP_PROFILES, NAMESPACE)
        return [(one.metadata.name, one.spec.default_action) for one in page.items]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    running = asyncio.create_task(made.run())
    await made.settle()
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


LOGS = [("log-enricher-trace", "SCMP_ACT_LOG")]


async def test_first_recording_from_the_log_brings_it(world: World) -> None:
    await world.record("a", "bpf")
    assert await world.profiles() == []
    await world.record("b", "logs")
    assert await world.profiles() == LOGS


async def test_enabling_the_enricher_brings_it(world: World) -> None:
    spod = {"metadata": {"name": "spod", "namespace": NAMESPACE}, "spec": {}}
    await world.client.create(SPODS, spod, NAMESPACE)
    await world.settle()
    assert await world.profiles() == []
    await world.client.patch(SPODS, "spod", NAMESPACE, {"spec": {"enableLogEnricher": True}})
    await world.settle()
    assert await world.profiles() == LOGS


async def test_who_deletes_it_uninstalls(world: World) -> None:
    await world.record("a", "logs")
    await world.client.delete(SECCOMP_PROFILES, "log-enricher-trace", NAMESPACE)
    await world.client.patch(PROFILE_RECORDINGS, "a", "team", {"metadata": {"labels": {"x": "y"}}})
    await world.settle()
    assert await world.profiles() == []
    await world.record("b", "logs")
    assert await world.profiles() == LOGS


async def test_what_users_made_of_it_stays(world: World) -> None:
    body = {
        "metadata": {"name": "log-enricher-trace", "namespace": NAMESPACE},
        "spec": {"defaultAction": "SCMP_ACT_ALLOW"},
    }
    await world.client.create(SECCOMP_PROFILES, body, NAMESPACE)
    await world.record("a", "logs")
    assert await world.profiles() == [("log-enricher-trace", "SCMP_ACT_ALLOW")]
