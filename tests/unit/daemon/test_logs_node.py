"""What a node makes of pods that are recorded from the audit log."""

from collections.abc import AsyncIterator

import pytest

from spo.api.profile_recording import PROFILE_RECORDINGS
from spo.api.seccomp_profile import SECCOMP_PROFILES
from spo.names import (
    PARTIAL_LABEL,
    RECORDED_UNDER_ANNOTATION,
    RECORDING_LOST_ANNOTATION,
    RUNTIME_BASE_ANNOTATION,
    SNAPSHOT_ANNOTATION,
    SNAPSHOT_OF_ANNOTATION,
)
from tests.fakes.logs_node import FakeEnricher, LogsNode
from tests.fakes.recording_node import NS, allowed, identifier
from tests.fakes.rpc_server import short_folder

ID, OTHER = identifier("one"), identifier("two")


@pytest.fixture
async def node() -> AsyncIterator[LogsNode]:
    with short_folder() as folder:
        async with LogsNode(folder) as made:
            await made.record(recorder="logs")
            yield made


def enricher(node: LogsNode) -> FakeEnricher:
    assert node.enricher is not None
    return node.enricher


async def lost(node: LogsNode, name: str = "rec-c") -> str:
    return (await node.profile_when(name)).metadata.annotations[RECORDING_LOST_ANNOTATION]


async def started(node: LogsNode, *calls: str) -> None:
    """A pod runs, is known, and what it did so far is stored."""
    await node.add_logged("web", "c")
    await node.report("web", c=ID)
    enricher(node).calls(ID, *calls)
    enricher(node).tell()
    await node.until(lambda: ID in node.stored())


async def test_pod_ends_in_a_profile(node: LogsNode) -> None:
    await node.add_logged("web", "c")
    await node.report("web", c=ID)
    enricher(node).calls(ID, "capset", by_runtime=True)
    enricher(node).calls(ID, "mkdir", "execve")
    await node.report("web", "Succeeded", ended=True, c=ID)
    enricher(node).tell()
    profile = await node.profile_when("rec-c")
    assert {"mkdir", "execve", "capset"} <= allowed(profile)
    assert "capset" in profile.metadata.annotations[RUNTIME_BASE_ANNOTATION]
    assert "mkdir" not in profile.metadata.annotations[RUNTIME_BASE_ANNOTATION]
    assert profile.metadata.annotations[RECORDING_LOST_ANNOTATION] == "0"
    assert RECORDED_UNDER_ANNOTATION not in profile.metadata.annotations
    assert PARTIAL_LABEL not in profile.metadata.labels
    await node.settled()
    await node.until(lambda: {"SeccompProfileRecording", "SeccompProfileCreated"} <= {*node.reasons()})
    enricher(node).tell()
    assert enricher(node).known == {}


async def test_restarts_of_a_container_make_one_profile(node: LogsNode) -> None:
    await node.add_logged("web", "c", "d")
    third = identifier("three")
    enricher(node).calls(ID, "mkdir")
    await node.report("web", ended=True, c=ID)
    enricher(node).calls(OTHER, "symlink")
    enricher(node).calls(third, "rmdir")
    await node.report("web", "Succeeded", ended=True, c=OTHER, d=third)
    enricher(node).tell()
    assert {"mkdir", "symlink"} <= allowed(await node.profile_when("rec-c"))
    other = allowed(await node.profile_when("rec-d"))
    assert "rmdir" in other
    assert not {"mkdir", "symlink"} & other


async def test_deleted_pod_is_collected(node: LogsNode) -> None:
    await started(node, "mkdir")
    enricher(node).calls(ID, "symlink")
    await node.remove_pod("web")
    assert {"mkdir", "symlink"} <= allowed(await node.profile_when("rec-c"))


async def test_late_records_do_not_write_again(node: LogsNode) -> None:
    await started(node, "mkdir")
    await node.report("web", "Succeeded", ended=True, c=ID)
    await node.profile_when("rec-c")
    await node.settled()
    enricher(node).calls(ID, "symlink")
    enricher(node).tell()
    await node.report("web", "Succeeded", ended=True, c=ID)
    await node.settled()
    assert "symlink" not in allowed(await node.profile_when("rec-c"))


async def test_restart_of_the_daemon_loses_nothing(node: LogsNode) -> None:
    await started(node, "mkdir")
    await node.stop_daemon()
    enricher(node).calls(ID, "symlink")
    await node.start_daemon()
    enricher(node).calls(ID, "rmdir")
    await node.report("web", "Succeeded", ended=True, c=ID)
    assert {"mkdir", "symlink", "rmdir"} <= allowed(await node.profile_when("rec-c"))
    assert await lost(node) == "0"


async def test_pod_that_went_while_the_daemon_was_away(node: LogsNode) -> None:
    await started(node, "mkdir")
    await node.stop_daemon()
    await node.remove_pod("web")
    await node.start_daemon()
    assert "mkdir" in allowed(await node.profile_when("rec-c"))


async def test_pod_that_came_and_ended_while_the_daemon_was_away(node: LogsNode) -> None:
    await node.stop_daemon()
    await node.add_logged("web", "c")
    enricher(node).calls(ID, "mkdir")
    await node.report("web", "Succeeded", ended=True, c=ID)
    await node.start_daemon()
    assert "mkdir" in allowed(await node.profile_when("rec-c"))


async def test_losses_before_a_restart_of_the_daemon_are_not_those_of_the_next_pod(node: LogsNode) -> None:
    enricher(node).lost = 5
    enricher(node).tell()
    await started(node, "mkdir")
    await node.stop_daemon()
    enricher(node).lost = 7
    await node.start_daemon()
    await node.report("web", "Succeeded", ended=True, c=ID)
    assert await lost(node) == "2"


async def test_records_between_two_enrichers_are_missed(node: LogsNode) -> None:
    await started(node, "mkdir")
    after = FakeEnricher("two")
    after.began_ms = 4_000_000_000_000
    after.first_serial = after.last_serial = enricher(node).last_serial + 4
    node.replace_enricher(after)
    await node.report("web", "Succeeded", ended=True, c=ID)
    assert "mkdir" in allowed(await node.profile_when("rec-c"))
    assert await lost(node) == "3"


async def test_nothing_between_two_enrichers_is_no_loss(node: LogsNode) -> None:
    await started(node, "mkdir")
    after = FakeEnricher("two")
    after.began_ms = 4_000_000_000_000
    after.first_serial = after.last_serial = enricher(node).last_serial + 1
    node.replace_enricher(after)
    await node.report("web", "Succeeded", ended=True, c=ID)
    assert await lost(node) == "0"


async def test_enricher_that_came_too_late_for_the_end(node: LogsNode) -> None:
    """It has seen no event, so no serial number tells what is missing."""
    await started(node, "mkdir")
    after = FakeEnricher("two")
    after.began_ms = 4_000_000_000_000
    after.first_serial = after.last_serial = 0
    node.replace_enricher(after)
    await node.report("web", "Succeeded", ended=True, c=ID)
    assert await lost(node) == "1"


async def test_snapshot_of_a_running_pod(node: LogsNode) -> None:
    await started(node, "mkdir")
    asked = "2026-01-01T00:01:00Z"
    annotations = {"metadata": {"annotations": {SNAPSHOT_ANNOTATION: asked}}}
    await node.client.patch(PROFILE_RECORDINGS, "rec", NS, annotations)
    profile = await node.profile_when("rec-c")
    assert profile.metadata.annotations[SNAPSHOT_OF_ANNOTATION] == asked
    assert "mkdir" in allowed(profile)


async def test_without_an_enricher_users_are_told() -> None:
    with short_folder() as folder:
        node = LogsNode(folder)
        node.enricher = None
        async with node:
            await node.record(recorder="logs")
            await node.add_logged("web", "c")
            await node.report("web", c=ID)
            await node.until(lambda: "LogEnricherNotRunning" in node.reasons())
            await node.report("web", "Succeeded", ended=True, c=ID)
            await node.until(lambda: "CannotCreateSeccompProfile" in node.reasons())
            await node.settled()
            assert await node.names() == []


async def test_replaced_profile_is_told(node: LogsNode) -> None:
    await node.add_logged("web", "c", **{"replaced-profile.spo.x-k8s.io/c": "mine.json"})
    await node.until(lambda: "SecurityContextAlreadySet" in node.reasons())


async def test_selinux_is_told_not_to_work(node: LogsNode) -> None:
    await node.add_logged("web", **{"io.containers.trace-avcs/c": "rec-c-1700000000"})
    await node.until(lambda: "RecordingNotSupported" in node.reasons())


async def test_annotation_made_by_hand_does_nothing(node: LogsNode) -> None:
    annotation = {"io.containers.trace-logs/c": "other-c-1700000000"}
    await node.add_logged("web", **annotation)
    enricher(node).calls(ID, "mkdir")
    enricher(node).tell()
    await node.report("web", "Succeeded", ended=True, c=ID)
    await started_and_ended_elsewhere(node)
    assert await node.names() == ["rec-c"]


async def started_and_ended_elsewhere(node: LogsNode) -> None:
    await node.add_logged("honest", "c")
    enricher(node).calls(OTHER, "rmdir")
    await node.report("honest", "Succeeded", ended=True, c=OTHER)
    enricher(node).tell()
    assert "mkdir" not in allowed(await node.profile_when("rec-c"))


async def test_foreign_profile_is_never_touched(node: LogsNode) -> None:
    body = {"metadata": {"name": "rec-c", "namespace": NS}, "spec": {"defaultAction": "SCMP_ACT_ALLOW"}}
    await node.client.create(SECCOMP_PROFILES, body, NS)
    await started(node, "mkdir")
    await node.report("web", "Succeeded", ended=True, c=ID)
    await node.until(lambda: "CannotCreateSeccompProfile" in node.reasons())
    assert allowed(await node.profile_when("rec-c")) == set()
