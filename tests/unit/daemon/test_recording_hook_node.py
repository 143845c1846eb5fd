"""What a node makes of what OCI hooks leave: the files and inotify are real, the clock stands still."""

import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from spo.daemon.recording.hook_reconciler import FIRST_SWEEP_S, GRACE_S
from spo.host.hook_files import LEFTOVER_S, MAX_BYTES
from spo.names import RECORDING_LABEL, RECORDING_LOST_ANNOTATION, RUNTIME_BASE_ANNOTATION
from tests.fakes.hook_node import HookNode, trace
from tests.fakes.recording_node import allowed, identifier
from tests.fakes.rpc_server import short_folder

pytestmark = pytest.mark.root

ID, OTHER = identifier("one"), identifier("two")
FILE = "rec-c-1700000000.json"
CANNOT = "CannotCreateSeccompProfile"


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


@pytest.fixture
async def node(folder: Path) -> AsyncIterator[HookNode]:
    async with HookNode(folder) as made:
        yield made


async def ended(node: HookNode, name: str = "web", container_id: str = ID, **meta: object) -> str:
    """A recorded pod that has run and ended; returns its uid."""
    uid = await node.add_pod(name, trace(), **meta)
    await node.report(name, "Succeeded", ended=True, c=container_id)
    return uid


async def test_pod_ends_in_a_profile_and_the_file_goes(node: HookNode) -> None:
    await node.record(recorder="hook")
    node.leave(FILE, ID, "mkdir", "execve")
    await ended(node)
    profile = await node.profile_when("rec-c")
    assert allowed(profile) >= {"mkdir", "execve", "capset"}
    assert profile.metadata.labels[RECORDING_LABEL] == "rec"
    about = profile.metadata.annotations
    assert about[RECORDING_LOST_ANNOTATION] == "0"
    assert "capset" in json.loads(about[RUNTIME_BASE_ANNOTATION])
    assert "mkdir" not in json.loads(about[RUNTIME_BASE_ANNOTATION])
    await node.until(lambda: node.left() == [])
    await node.settled()
    await node.until(lambda: {"SeccompProfileRecording", "SeccompProfileCreated"} <= set(node.reasons()))
    assert CANNOT not in node.reasons()


async def begun(node: HookNode) -> None:
    """The daemon is at work: it records a pod that does not end."""
    await node.record(recorder="hook")
    await node.add_pod("first", trace("first"))
    await node.until((node.root / ".recordings").exists)


async def test_hook_that_writes_after_the_end_is_waited_for(node: HookNode) -> None:
    """Also if the pod had ended before anybody looked."""
    await begun(node)
    await ended(node)
    await node.until(lambda: node.reasons().count("SeccompProfileRecording") == 2)
    node.leave(FILE, ID, "mkdir")
    assert "mkdir" in allowed(await node.profile_when("rec-c"))  # the clock has not moved


async def test_missing_file_is_told_once_with_what_to_do(node: HookNode) -> None:
    await begun(node)
    await ended(node)
    await node.until_after(GRACE_S, lambda: CANNOT in node.reasons())
    (message,) = node.messages(CANNOT)
    assert f"/run/security-profiles-operator/recordings/{FILE}" in message
    assert "docs/recording.md" in message
    assert await node.names() == []


def link(path: Path) -> None:
    path.symlink_to("/etc/shadow")


def foreign(path: Path) -> None:
    path.write_text("{}")
    os.chown(path, 1000, 1000)


def large(path: Path) -> None:
    path.write_bytes(b" " * (MAX_BYTES + 1))


def invalid(path: Path) -> None:
    path.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')


@pytest.mark.parametrize("put", [link, foreign, large, os.mkfifo, invalid])
async def test_what_cannot_be_taken_is_told_and_left(node: HookNode, put: Callable[[Path], None]) -> None:
    put(node.directory / FILE)
    await node.record(recorder="hook")
    await ended(node)
    await node.until_after(GRACE_S, lambda: CANNOT in node.reasons())
    (message,) = node.messages(CANNOT)
    assert FILE in message
    assert "remove what is there and run the pod again" in message
    await node.settled()
    assert await node.names() == []
    assert node.left() == [FILE]


async def test_taken_name_leads_to_the_file_with_the_id(node: HookNode) -> None:
    link(node.directory / FILE)
    await node.record(recorder="hook")
    assert node.leave(FILE, ID, "mkdir") == f"rec-c-1700000000.{ID}.json"
    await ended(node)
    assert "mkdir" in allowed(await node.profile_when("rec-c"))
    assert CANNOT not in node.reasons()


async def test_replicas_with_one_name_are_not_mixed_up(node: HookNode) -> None:
    await node.record(recorder="hook")
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": True}
    meta = {"generateName": "r-", "ownerReferences": [owner]}
    node.leave(FILE, ID, "mkdir")
    node.leave(FILE, OTHER, "rmdir")
    await ended(node, "r-two", OTHER, **meta)
    assert "rmdir" in allowed(await node.profile_when("rec-c-0"))
    assert node.left() == [FILE]
    await ended(node, "r-one", ID, **meta)
    second = allowed(await node.profile_when("rec-c-1"))
    assert "mkdir" in second
    assert "rmdir" not in second
    await node.until(lambda: node.left() == [])


async def test_file_of_another_pod_is_not_taken(node: HookNode) -> None:
    await begun(node)
    node.leave(FILE, OTHER, "mkdir")
    await ended(node)
    await node.until_after(GRACE_S, lambda: CANNOT in node.reasons())
    assert await node.names() == []
    assert node.left() == [FILE]


async def test_instances_of_a_container_make_one_profile(node: HookNode) -> None:
    """Also the file of one that ended long before the pod."""
    await node.record(recorder="hook")
    node.leave(FILE, ID, "mkdir")
    await node.add_pod("web", trace())
    await node.report("web", ended=True, c=ID)
    await node.until(lambda: node.left() == [])
    node.leave(FILE, OTHER, "rmdir")
    await node.report("web", "Succeeded", ended=True, c=OTHER)
    assert {"mkdir", "rmdir"} <= allowed(await node.profile_when("rec-c"))


async def test_two_containers_of_which_one_was_not_recorded(node: HookNode) -> None:
    await node.record(recorder="hook")
    await node.add_pod("web", {**trace("a"), **trace("b")})
    node.leave("rec-a-1700000000.json", ID, "mkdir")
    await node.report("web", "Succeeded", ended=True, a=ID, b=OTHER)
    await node.until_after(GRACE_S, lambda: CANNOT in node.reasons())
    assert "mkdir" in allowed(await node.profile_when("rec-a"))
    (message,) = node.messages(CANNOT)
    assert message.startswith("container b: ")
    assert await node.names() == ["rec-a"]


async def test_daemon_that_dies_goes_on(node: HookNode) -> None:
    await node.record(recorder="hook")
    node.leave(FILE, ID, "mkdir")
    await node.add_pod("web", trace())
    await node.report("web", ended=True, c=ID)
    await node.until(lambda: node.left() == [])
    await node.stop_daemon()
    node.leave(FILE, OTHER, "rmdir")
    await node.report("web", "Failed", ended=True, c=OTHER)
    await node.remove_pod("web")
    await node.start_daemon()
    profile = await node.profile_when("rec-c")
    assert "mkdir" in allowed(profile)
    await node.until(lambda: node.left() == [])
    assert "rmdir" in allowed(await node.profile_when("rec-c"))


async def test_pod_that_ran_while_the_daemon_was_away(node: HookNode) -> None:
    await node.record(recorder="hook")
    await node.stop_daemon()
    node.leave(FILE, ID, "mkdir")
    await ended(node)
    await node.start_daemon()
    assert "mkdir" in allowed(await node.profile_when("rec-c"))


async def test_ended_pod_is_not_waited_for_again_after_a_restart(node: HookNode) -> None:
    """A file that comes all the same is taken."""
    await node.record(recorder="hook")
    node.leave(FILE, ID, "mkdir")
    await ended(node)
    await node.profile_when("rec-c")
    await node.settled()
    await node.stop_daemon()
    await node.start_daemon()
    await node.until_after(2 * GRACE_S, lambda: True)
    assert CANNOT not in node.reasons()
    node.leave(FILE, ID, "rmdir")
    assert "rmdir" in allowed(await node.profile_when("rec-c", lambda one: "rmdir" in allowed(one)))


async def test_pod_that_never_started_is_no_reason_to_warn(node: HookNode) -> None:
    await node.record(recorder="hook")
    await node.add_pod("web", trace())
    await node.until((node.root / ".recordings").exists)
    await node.remove_pod("web")
    await node.until_after(GRACE_S, lambda: not (node.root / ".recordings").exists())
    assert CANNOT not in node.reasons()


@pytest.mark.parametrize(
    "value",
    [
        "of:/etc/shadow",
        "of:/run/security-profiles-operator/recordings/../../../etc/shadow",
        f"of:/run/security-profiles-operator/recordings/{'x' * 300}.json",
        "of:/run/security-profiles-operator/recordings/other-c-1700000000.json",
        "if:/etc/passwd;of:/run/security-profiles-operator/recordings/rec-c-1700000000.json",
        "rec-c-1700000000",
    ],
)
async def test_annotation_of_nobody_is_not_acted_on(node: HookNode, value: str) -> None:
    await node.record(recorder="hook")
    node.leave("other-c-1700000000.json", ID, "mkdir")
    node.leave(FILE, ID, "mkdir")
    await node.add_pod("web", {"c": value})
    await node.report("web", "Succeeded", ended=True, c=ID)
    await node.add_pod("control", trace("d"))
    node.leave("rec-d-1700000000.json", OTHER, "rmdir")
    await node.report("control", "Succeeded", ended=True, d=OTHER)
    await node.profile_when("rec-d")
    await node.until_after(GRACE_S, lambda: True)
    assert await node.names() == ["rec-d"]
    assert FILE in node.left()


async def test_leftovers_go_but_not_before_those_are_collected_that_somebody_waits_for(
    node: HookNode,
) -> None:
    now_s = node.clock.now().timestamp()
    node.leave("old-c-1.json", ID, "mkdir")
    node.leave(FILE, ID, "mkdir")
    for name in node.left():
        os.utime(node.directory / name, (now_s - LEFTOVER_S - 1,) * 2)
    node.leave("new-c-1.json", ID, "mkdir")
    os.utime(node.directory / "new-c-1.json", (now_s, now_s))
    await node.record(recorder="hook")
    await ended(node)
    await node.profile_when("rec-c")
    await node.until_after(FIRST_SWEEP_S, lambda: node.left() == ["new-c-1.json"])
