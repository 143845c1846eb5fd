"""Finalizers, status and merged profiles of a recording, with the manager's part on a small API server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from spo.api.core import NAMESPACES, PODS
from spo.api.profile_recording import PROFILE_RECORDINGS, ProfileRecording
from spo.api.seccomp_profile import SECCOMP_PROFILES, SeccompProfile
from spo.controller.cache_sync import caches_synced
from spo.kube.client import KubeClient
from spo.kube.clock import SYSTEM_CLOCK
from spo.kube.config import server_config
from spo.kube.errors import NotFoundError
from spo.kube.informer import Informer
from spo.manager.recording.process import RecordingControllers
from spo.manager.recording.reconciler import SETTLE_S
from spo.names import (
    CONTAINER_LABEL,
    PARTIAL_LABEL,
    RECORDED_POD_LABEL,
    RECORDING_FINALIZER,
    RECORDING_LABEL,
    SNAPSHOT_OF_ANNOTATION,
    UNMERGED_FINALIZER,
)
from tests.fakes.api_server import FakeApiServer

NS, REC = "team", "rec"
DEADLINE_S = 20.0
LABELS = {"app": "x"}


class Manager:
    """The controllers of recordings, and what users and daemons do."""

    def __init__(self, client: KubeClient) -> None:
        self.client = client

    async def run(self) -> None:
        profiles: Informer[SeccompProfile] = Informer(self.client, SECCOMP_PROFILES)
        recordings: Informer[ProfileRecording] = Informer(self.client, PROFILE_RECORDINGS)
        controllers = RecordingControllers(self.client, profiles, recordings, SYSTEM_CLOCK)
        async with asyncio.TaskGroup() as group:
            for informer in (profiles, recordings):
                group.create_task(informer.run())
            await caches_synced((profiles, recordings), DEADLINE_S)
            await controllers.run()

    async def record(self, name: str = REC, **spec: Any) -> None:
        body = {
            "metadata": {"name": name, "namespace": NS},
            "spec": {
                "kind": "SeccompProfile",
                "recorder": "bpf",
                "podSelector": {"matchLabels": LABELS},
                **spec,
            },
        }
        await self.client.create(PROFILE_RECORDINGS, body, NS)

    async def add_pod(self, name: str, *containers: str) -> str:
        annotations = {f"io.containers.trace-bpf/{one}": f"{REC}-{one}-17" for one in containers}
        metadata = {"name": name, "namespace": NS, "labels": LABELS, "annotations": annotations}
        body = {"metadata": metadata, "spec": {"containers": [{"name": one} for one in containers]}}
        return (await self.client.create(PODS, body, NS)).metadata.uid

    async def collect(
        self,
        name: str,
        pod: str,
        *names: str,
        container: str = "c",
        partial: bool = False,
        snapshot: str = "",
    ) -> None:
        labels = {RECORDING_LABEL: REC, CONTAINER_LABEL: container, RECORDED_POD_LABEL: pod}
        if partial:
            labels[PARTIAL_LABEL] = "true"
        annotations = {SNAPSHOT_OF_ANNOTATION: snapshot} if snapshot else {}
        rules = [{"names": list(names), "action": "SCMP_ACT_ALLOW"}]
        body = {
            "metadata": {"name": name, "namespace": NS, "labels": labels, "annotations": annotations},
            "spec": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules},
        }
        await self.client.create(SECCOMP_PROFILES, body, NS)

    async def recording(self) -> ProfileRecording | None:
        try:
            return await self.client.get(PROFILE_RECORDINGS, REC, NS)
        except NotFoundError:
            return None

    async def profiles(self) -> dict[str, SeccompProfile]:
        page = await self.client.list_page(SECCOMP_PROFILES, NS)
        return {one.metadata.name: one for one in page.items}

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Wait until a condition holds; each look is a request: the others get their turn."""
        async with asyncio.timeout(DEADLINE_S):
            while not await condition():
                pass

    async def recording_when(self, condition: Callable[[ProfileRecording], bool]) -> ProfileRecording:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                found = await self.recording()
                if found is not None and condition(found):
                    return found


@pytest.fixture
async def manager() -> AsyncIterator[Manager]:
    async with FakeApiServer() as server, AsyncExitStack() as clients:
        client = KubeClient(server_config(server.url))
        clients.push_async_callback(client.aclose)
        await client.create(NAMESPACES, {"metadata": {"name": NS, "finalizers": ["example.com/kubernetes"]}})
        made = Manager(client)
        running = asyncio.create_task(made.run())
        yield made
        running.cancel()
        (result,) = await asyncio.gather(running, return_exceptions=True)
        assert isinstance(result, asyncio.CancelledError), result


def workloads(recording: ProfileRecording) -> list[str]:
    return recording.status.active_workloads if recording.status else []


async def is_gone(manager: Manager) -> bool:
    return await manager.recording() is None


async def test_pod_holds_its_recording(manager: Manager) -> None:
    await manager.record()
    uid = await manager.add_pod("web", "c")
    found = await manager.recording_when(lambda one: workloads(one) == ["web"])
    assert found.metadata.finalizers == [RECORDING_FINALIZER]
    await manager.client.delete(PROFILE_RECORDINGS, REC, NS)
    await manager.client.delete(PODS, "web", NS)
    held = await manager.recording_when(lambda one: bool(one.metadata.deletion_timestamp))
    assert held.metadata.finalizers == [RECORDING_FINALIZER]
    await manager.collect("rec-c", uid, "mkdir")
    await manager.until(lambda: is_gone(manager))


async def test_namespace_that_ends_waits_for_no_profile(manager: Manager) -> None:
    """No profile can come any more: what is left of the recording goes at once."""
    await manager.record(mergeStrategy="containers")
    await manager.collect("rec-c-0", "pod-1", "mkdir", partial=True, snapshot="2026-01-01T00:00:00Z")
    await manager.add_pod("web", "c")
    both = [RECORDING_FINALIZER, UNMERGED_FINALIZER]
    await manager.recording_when(lambda one: one.metadata.finalizers == both)
    await manager.client.delete(NAMESPACES, NS)
    await manager.client.delete(PROFILE_RECORDINGS, REC, NS)
    await manager.client.delete(PODS, "web", NS)
    async with asyncio.timeout(SETTLE_S / 2):
        await manager.until(lambda: is_gone(manager))
    assert sorted(await manager.profiles()) == ["rec-c-0"]


async def test_renamed_recording_ends_with_its_pods_and_the_new_one_begins_without_them(
    manager: Manager,
) -> None:
    await manager.record()
    uid = await manager.add_pod("web", "c")
    await manager.recording_when(lambda one: workloads(one) == ["web"])
    await manager.client.delete(PROFILE_RECORDINGS, REC, NS)
    await manager.record("renamed")

    async def told() -> bool:
        return (await manager.client.get(PROFILE_RECORDINGS, "renamed", NS)).status is not None

    await manager.until(told)
    renamed = await manager.client.get(PROFILE_RECORDINGS, "renamed", NS)
    assert workloads(renamed) == []
    assert renamed.metadata.finalizers == []
    await manager.client.delete(PODS, "web", NS)
    held = await manager.recording_when(lambda one: bool(one.metadata.deletion_timestamp))
    assert held.metadata.finalizers == [RECORDING_FINALIZER]
    await manager.collect("rec-c", uid, "mkdir")
    await manager.until(lambda: is_gone(manager))


async def test_pod_that_only_looks_recorded_holds_nothing(manager: Manager) -> None:
    await manager.record(podSelector={"matchLabels": {"app": "else"}})
    await manager.add_pod("web", "c")
    await manager.recording_when(lambda one: one.status is not None)
    found = await manager.recording()
    assert found is not None
    assert found.metadata.finalizers == []
    assert workloads(found) == []


async def test_status_tells_of_containers(manager: Manager) -> None:
    await manager.record()
    await manager.collect("rec-c", "pod-1", "mkdir", "write")
    found = await manager.recording_when(lambda one: bool(one.status and one.status.containers))
    assert found.status is not None
    (seen,) = found.status.containers
    assert (seen.name, seen.pods, seen.syscalls, seen.lost) == ("c", 1, 2, 0)
    assert seen.last_new_syscall_time


async def test_partial_profiles_become_one_and_go_with_the_recording(manager: Manager) -> None:
    await manager.record(mergeStrategy="containers")
    await manager.collect("rec-c-0", "pod-1", "mkdir", partial=True)
    await manager.collect("rec-d-0", "pod-1", "write", container="d", partial=True)

    async def both() -> bool:
        return {"rec-c", "rec-d"} <= (await manager.profiles()).keys()

    await manager.until(both)
    await manager.recording_when(lambda one: one.metadata.finalizers == [UNMERGED_FINALIZER])
    await manager.collect("rec-c-1", "pod-2", "symlink", partial=True)

    async def grown() -> bool:
        return (await manager.profiles())["rec-c"].spec.syscalls[0].names == ["mkdir", "symlink"]

    await manager.until(grown)
    merged = (await manager.profiles())["rec-c"]
    assert PARTIAL_LABEL not in merged.metadata.labels
    assert RECORDED_POD_LABEL not in merged.metadata.labels
    await manager.client.delete(PROFILE_RECORDINGS, REC, NS)
    await manager.until(lambda: is_gone(manager))
    assert sorted(await manager.profiles()) == ["rec-c", "rec-d"]


async def test_snapshot_is_merged_at_the_end_only(manager: Manager) -> None:
    await manager.record(mergeStrategy="containers")
    await manager.collect("rec-c-0", "pod-1", "mkdir", partial=True, snapshot="2026-01-01T00:00:00Z")
    await manager.recording_when(lambda one: one.metadata.finalizers == [UNMERGED_FINALIZER])
    assert sorted(await manager.profiles()) == ["rec-c-0"]
    await manager.client.delete(PROFILE_RECORDINGS, REC, NS)
    await manager.until(lambda: is_gone(manager))
    assert sorted(await manager.profiles()) == ["rec-c"]


async def test_foreign_profile_is_not_merged_into(manager: Manager) -> None:
    body = {"metadata": {"name": "rec-c", "namespace": NS}, "spec": {"defaultAction": "SCMP_ACT_LOG"}}
    await manager.client.create(SECCOMP_PROFILES, body, NS)
    await manager.record(mergeStrategy="containers")
    await manager.collect("rec-c-0", "pod-1", "mkdir", partial=True)
    await manager.recording_when(lambda one: one.metadata.finalizers == [UNMERGED_FINALIZER])
    await manager.client.delete(PROFILE_RECORDINGS, REC, NS)
    await manager.until(lambda: is_gone(manager))
    found = await manager.profiles()
    assert sorted(found) == ["rec-c", "rec-c-0"]
    assert found["rec-c"].spec.syscalls == []
