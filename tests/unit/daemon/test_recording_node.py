"""What a node makes of pods that are recorded: socket, API and disk are real or held to the real ones."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from spo.api.profile_recording import PROFILE_RECORDINGS
from spo.api.seccomp_profile import SECCOMP_PROFILES
from spo.names import (
    CONTAINER_LABEL,
    PARTIAL_LABEL,
    RECORDED_OWNER_LABEL,
    RECORDED_POD_LABEL,
    RECORDING_LABEL,
    RECORDING_LATE_ANNOTATION,
    RECORDING_LOST_ANNOTATION,
    SNAPSHOT_ANNOTATION,
    SNAPSHOT_OF_ANNOTATION,
)
from tests.fakes.api_server import Call, Fault, cut, refuse, send_json
from tests.fakes.recording_node import NS, RecorderServer, RecordingNode, allowed, identifier
from tests.fakes.rpc_server import short_folder

ID = identifier("one")
OTHER = identifier("two")
TRACE = {"c": "rec-c-1700000000"}


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


@pytest.fixture
async def node(folder: Path) -> AsyncIterator[RecordingNode]:
    async with RecordingNode(folder) as made:
        yield made


def of_owner(uid: str) -> dict[str, object]:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": uid, "controller": True}
    return {"generateName": "r-", "ownerReferences": [owner]}


async def run_once(
    node: RecordingNode, name: str, *calls: str, collected: bool = True, **meta: object
) -> str:
    """A pod that starts, makes calls and ends; returns its uid."""
    uid = await node.add_pod(name, TRACE, **meta)
    node.run(uid, identifier(name), *calls)
    await node.report(name, "Succeeded", ended=True, c=identifier(name))
    if collected:
        await node.collected(uid)
    return uid


async def test_pod_ends_in_a_profile(node: RecordingNode) -> None:
    await node.record()
    uid = await run_once(node, "web", "mkdir", "execve")
    profile = await node.profile_when("rec-c")
    assert {"mkdir", "execve"} <= allowed(profile)
    labels = profile.metadata.labels
    assert (labels[RECORDING_LABEL], labels[CONTAINER_LABEL]) == ("rec", "c")
    assert labels[RECORDED_POD_LABEL] == uid
    assert profile.metadata.annotations[RECORDING_LOST_ANNOTATION] == "0"
    assert PARTIAL_LABEL not in labels
    await node.settled()
    await node.until(lambda: "SeccompProfileCreated" in node.reasons())
    assert "SeccompProfileRecording" in node.reasons()


async def test_calls_before_the_pod_was_seen_count(node: RecordingNode) -> None:
    await node.record()
    uid = "11111111-2222-3333-4444-555555555555"
    node.run(uid, ID, "mkdir")
    await node.add_pod("web", TRACE, uid=uid)
    await node.report("web", "Succeeded", ended=True, c=ID)
    profile = await node.profile_when("rec-c")
    assert "mkdir" in allowed(profile)


async def test_restarts_of_a_container_make_one_profile(node: RecordingNode) -> None:
    await node.record()
    uid = await node.add_pod("web", TRACE)
    node.run(uid, ID, "mkdir")
    await node.report("web", ended=True, c=ID)
    node.run(uid, OTHER, "symlink")
    await node.report("web", "Succeeded", ended=True, c=OTHER)
    profile = await node.profile_when("rec-c")
    assert {"mkdir", "symlink"} <= allowed(profile)


async def test_pod_gone_before_a_status_named_its_container(node: RecordingNode) -> None:
    """One namespace, besides that of the network, and one container: they belong together."""
    await node.record()
    uid = await node.add_pod("web", TRACE)
    node.hold_network(uid)
    node.run(uid, ID, "mkdir")
    await node.until(lambda: "SeccompProfileRecording" in node.reasons())
    await node.remove_pod("web")
    profile = await node.profile_when("rec-c")
    assert "mkdir" in allowed(profile)
    assert "pause" not in allowed(profile)


async def test_pod_gone_before_its_container_started(node: RecordingNode) -> None:
    await node.record()
    await node.add_pod("web", TRACE)
    await node.until(lambda: "SeccompProfileRecording" in node.reasons())
    await node.remove_pod("web")
    await node.settled()
    assert await node.names() == []


async def test_network_of_a_pod_is_no_container(node: RecordingNode) -> None:
    await node.record()
    uid = await node.add_pod("web", TRACE)
    node.hold_network(uid)
    await node.until(lambda: "SeccompProfileRecording" in node.reasons())
    await node.remove_pod("web")
    await node.settled()
    assert await node.names() == []


async def test_nothing_recorded_makes_no_profile(node: RecordingNode) -> None:
    await node.record()
    uid = await node.add_pod("web", TRACE)
    node.run(uid, ID)
    await node.report("web", "Failed", ended=True, c=ID)
    await node.until(lambda: "CannotCreateSeccompProfile" in node.reasons())
    assert await node.names() == []


async def test_namespace_that_the_program_makes_itself(node: RecordingNode) -> None:
    """As with ``unshare -m``: same container, another mount namespace."""
    await node.record()
    uid = await node.add_pod("web", TRACE)
    node.run(uid, ID, "mkdir")
    await node.report("web", c=ID)
    await node.until(lambda: is_noted(node, ID))
    node.run(uid, ID, "symlink", late=True)
    await node.report("web", "Succeeded", ended=True, c=ID)
    profile = await node.profile_when("rec-c")
    assert {"mkdir", "symlink"} <= allowed(profile)
    assert RECORDING_LATE_ANNOTATION not in profile.metadata.annotations


async def test_static_pod_is_known_by_its_container(node: RecordingNode) -> None:
    """Its uid in the cgroup is not that of its object."""
    await node.record()
    await node.add_pod("web", TRACE)
    node.run("0123456789abcdef0123456789abcdef", ID, "mkdir")
    await node.report("web", c=ID)
    await node.report("web", "Succeeded", ended=True, c=ID)
    assert "mkdir" in allowed(await node.profile_when("rec-c"))


async def test_late_container_says_so(node: RecordingNode) -> None:
    await node.record()
    uid = await node.add_pod("web", TRACE)
    node.run(uid, ID, "mkdir", late=True)
    await node.report("web", "Succeeded", ended=True, c=ID)
    profile = await node.profile_when("rec-c")
    assert profile.metadata.annotations[RECORDING_LATE_ANNOTATION] == "true"
    await node.until(lambda: "SeccompProfileRecordingLate" in node.reasons())


async def test_replicas_take_the_lowest_free_number(node: RecordingNode) -> None:
    await node.record()
    for name in ("a", "b", "d"):
        await run_once(node, name, "mkdir", **of_owner("owner-1"))
        await node.settled()
    assert await node.names() == ["rec-c-0", "rec-c-1", "rec-c-2"]
    await node.client.delete(SECCOMP_PROFILES, "rec-c-1", NS)
    await run_once(node, "e", "symlink", **of_owner("owner-1"))
    assert "symlink" in allowed(await node.profile_when("rec-c-1"))


async def test_number_of_another_owner_is_used_again(node: RecordingNode) -> None:
    await node.record()
    await run_once(node, "old", "mkdir", **of_owner("owner-1"))
    await node.settled()
    await run_once(node, "new", "symlink", **of_owner("owner-2"))
    profile = await node.profile_when("rec-c-0", lambda one: "symlink" in allowed(one))
    assert "mkdir" not in allowed(profile)
    assert profile.metadata.labels[RECORDED_OWNER_LABEL] == "owner-2"
    await node.settled()
    assert await node.names() == ["rec-c-0"]


async def test_pods_to_merge_never_share_a_number(node: RecordingNode) -> None:
    await node.record(mergeStrategy="containers")
    for name in ("a", "b"):
        await run_once(node, name, "mkdir")
        await node.settled()
    assert await node.names() == ["rec-c-0", "rec-c-1"]
    profile = await node.profile_when("rec-c-1")
    assert profile.metadata.labels[PARTIAL_LABEL] == "true"


async def test_foreign_profile_is_left_alone(node: RecordingNode) -> None:
    body = {"metadata": {"name": "rec-c", "namespace": NS}, "spec": {"defaultAction": "SCMP_ACT_LOG"}}
    await node.client.create(SECCOMP_PROFILES, body, NS)
    await node.record()
    await run_once(node, "web", "mkdir", collected=False)
    await node.until(lambda: "CannotCreateSeccompProfile" in node.reasons())
    profile = await node.profile_when("rec-c")
    assert profile.spec.syscalls == []
    await node.settled()


async def test_profile_in_use_loses_nothing(node: RecordingNode) -> None:
    await node.record()
    await run_once(node, "first", "mkdir")
    await node.profile_when("rec-c")
    await node.settled()
    status = {"status": {"activeWorkloads": ["team/user"]}}
    await node.client.patch(SECCOMP_PROFILES, "rec-c", NS, status, subresource="status")
    await run_once(node, "second", "symlink")
    profile = await node.profile_when("rec-c", lambda one: "symlink" in allowed(one))
    assert "mkdir" in allowed(profile)


async def test_snapshot_is_partial_until_the_pod_ends(node: RecordingNode) -> None:
    await node.record()
    uid = await node.add_pod("web", TRACE)
    key = node.run(uid, ID, "mkdir")
    await node.report("web", c=ID)
    await node.until(lambda: "SeccompProfileRecording" in node.reasons())
    when = "2026-02-03T04:05:06Z"
    annotate = {"metadata": {"annotations": {SNAPSHOT_ANNOTATION: when}}}
    await node.client.patch(PROFILE_RECORDINGS, "rec", NS, annotate)
    profile = await node.profile_when("rec-c")
    assert profile.metadata.labels[PARTIAL_LABEL] == "true"
    assert profile.metadata.annotations[SNAPSHOT_OF_ANNOTATION] == when
    node.call(key, uid, ID, "symlink")
    await node.report("web", "Succeeded", ended=True, c=ID)
    profile = await node.profile_when("rec-c", lambda one: PARTIAL_LABEL not in one.metadata.labels)
    assert {"mkdir", "symlink"} <= allowed(profile)
    assert SNAPSHOT_OF_ANNOTATION not in profile.metadata.annotations


async def test_snapshot_leaves_a_whole_profile_installed(node: RecordingNode) -> None:
    await node.record()
    await run_once(node, "first", "mkdir")
    await node.profile_when("rec-c")
    await node.settled()
    uid = await node.add_pod("web", TRACE)
    node.run(uid, ID, "symlink")
    await node.report("web", c=ID)
    annotate = {"metadata": {"annotations": {SNAPSHOT_ANNOTATION: "2026-02-03T04:05:06Z"}}}
    await node.client.patch(PROFILE_RECORDINGS, "rec", NS, annotate)
    profile = await node.profile_when("rec-c", lambda one: "symlink" in allowed(one))
    assert "mkdir" in allowed(profile)
    assert PARTIAL_LABEL not in profile.metadata.labels


async def test_recording_deleted_while_the_pod_runs(node: RecordingNode) -> None:
    await node.record()
    uid = await node.add_pod("web", TRACE)
    key = node.run(uid, ID, "mkdir")
    await node.until(lambda: "SeccompProfileRecording" in node.reasons())
    await node.client.delete(PROFILE_RECORDINGS, "rec", NS)
    node.call(key, uid, ID, "symlink")
    await node.report("web", "Succeeded", ended=True, c=ID)
    assert {"mkdir", "symlink"} <= allowed(await node.profile_when("rec-c"))


@pytest.mark.parametrize(
    ("container", "value"),
    [
        pytest.param("c", "rec-d-1700000000", id="another-container"),
        pytest.param("c", "other-c-1700000000", id="a-recording-that-does-not-select-it"),
        pytest.param("c", "none-c-1700000000", id="no-recording"),
        pytest.param("c", "of:/etc/shadow", id="a-file"),
        pytest.param("c", "../../rec-c-1700000000", id="a-path"),
        pytest.param("c", "r" * 300, id="300-characters"),
        pytest.param("c", "", id="empty"),
        pytest.param("c", "rec-c-\u0661", id="digits-of-another-script"),
        pytest.param("x/y", "rec-x/y-1700000000", id="no-such-container"),
    ],
)
async def test_hostile_annotation_makes_nothing(node: RecordingNode, container: str, value: str) -> None:
    await node.record()
    await node.record("other", podSelector={"matchLabels": {"app": "else"}})
    uid = await node.add_pod(
        "hostile", {container: value} if container == "c" else {"c": "", container: value}
    )
    node.run(uid, ID, "mkdir")
    await node.report("hostile", "Succeeded", ended=True, c=ID)
    await run_once(node, "honest", "symlink")
    assert "mkdir" not in allowed(await node.profile_when("rec-c"))
    await node.settled()
    assert await node.names() == ["rec-c"]


async def test_pod_that_nobody_records_is_forgotten_at_once(
    node: RecordingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the recorder would count it as undecided, and every profile would tell of a loss."""
    monkeypatch.setattr("spo.daemon.recording.acceptor.PATIENCE_S", 0.0)
    await node.record()
    plain = node.run(await node.add_pod("plain", {}), OTHER, "mkdir")
    hostile = node.run(await node.add_pod("hostile", {"c": "none-c-17"}), ID, "mkdir")
    await node.until(lambda: {plain, hostile} <= node.ignored())
    await node.until(lambda: "SeccompAnnotationParsing" in node.reasons())


async def test_daemon_comes_back_after_the_pod_is_gone(node: RecordingNode) -> None:
    await node.record()
    uid = await node.add_pod("web", TRACE)
    node.run(uid, ID, "mkdir")
    await node.report("web", c=ID)
    await node.until(lambda: is_noted(node, ID))
    await node.stop_daemon()
    await node.remove_pod("web")
    await node.start_daemon()
    profile = await node.profile_when("rec-c")
    assert "mkdir" in allowed(profile)
    assert profile.metadata.annotations[RECORDING_LOST_ANNOTATION] == "0"
    await node.settled()


async def test_recording_that_ends_while_the_daemon_is_away(node: RecordingNode) -> None:
    """Nobody wants anything any more: the recorder is told."""
    await node.record()
    await node.stop_daemon()
    await node.client.delete(PROFILE_RECORDINGS, "rec", NS)
    await node.start_daemon()
    await node.until(lambda: node.recorder is not None and node.recorder.service.recorder is None)


async def test_recorder_comes_back(node: RecordingNode) -> None:
    await node.record()
    uid = await node.add_pod("web", TRACE)
    key = node.run(uid, ID, "mkdir")
    await node.report("web", c=ID)
    await node.until(lambda: is_noted(node, ID))
    assert node.recorder is not None
    node.recorder.stop()
    await node.names()
    node.recorder = RecorderServer(node.folder, node.kernel)
    node.call(key, uid, ID, "symlink")
    await node.report("web", "Succeeded", ended=True, c=ID)
    profile = await node.profile_when("rec-c")
    assert {"mkdir", "symlink"} <= allowed(profile)
    assert profile.metadata.annotations[RECORDING_LOST_ANNOTATION] == "0"


async def test_recorder_that_lost_everything_is_told_of(node: RecordingNode) -> None:
    await node.record()
    uid = await node.add_pod("web", TRACE)
    node.run(uid, ID, "mkdir")
    await node.report("web", c=ID)
    await node.until(lambda: is_noted(node, ID))
    assert node.recorder is not None
    node.recorder.stop()
    node.kernel.pinned = None
    node.recorder = RecorderServer(node.folder, node.kernel)
    await node.report("web", "Succeeded", ended=True, c=ID)
    await node.until(lambda: "CannotCreateSeccompProfile" in node.reasons())
    assert await node.names() == []


async def test_conflict_with_another_writer_is_tried_again(node: RecordingNode) -> None:
    """Somebody else takes the number first."""
    await node.record()
    labels = {
        RECORDING_LABEL: "rec",
        CONTAINER_LABEL: "c",
        RECORDED_POD_LABEL: "p",
        RECORDED_OWNER_LABEL: "o",
    }
    body = {"metadata": {"name": "rec-c-0", "namespace": NS, "labels": labels}, "spec": spec()}
    await node.client.create(SECCOMP_PROFILES, body, NS)
    await asyncio.gather(*(run_once(node, f"r{n}", "mkdir", **of_owner("o")) for n in range(5)))
    await node.profile_when("rec-c-5")
    await node.settled()
    assert await node.names() == [f"rec-c-{n}" for n in range(6)]


def store_and_cut(node: RecordingNode) -> Fault:
    """Do what is asked, and reset the connection in the place of an answer."""

    async def fault(call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await node.client.create(SECCOMP_PROFILES, call.json(), NS)
        await cut(call, reader, writer)

    return fault


def is_new_profile(call: Call) -> bool:
    return call.method == "POST" and call.path.endswith("/seccompprofiles")


@pytest.mark.parametrize("code", [403, 500, 503])
async def test_refused_profile_is_tried_again(node: RecordingNode, code: int) -> None:
    node.api.plan(is_new_profile, refuse(code), times=2)
    await node.record()
    await run_once(node, "web", "mkdir")
    assert "mkdir" in allowed(await node.profile_when("rec-c"))
    await node.settled()


async def namespace_goes(_: Call, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What API servers answer while they delete a namespace."""
    cause = {
        "reason": "NamespaceTerminating",
        "message": f"namespace {NS} is being terminated",
        "field": "metadata.namespace",
    }
    why = f"unable to create new content in namespace {NS} because it is being terminated"
    body = {
        "kind": "Status",
        "status": "Failure",
        "message": f'seccompprofiles "rec-c" is forbidden: {why}',
        "reason": "Forbidden",
        "details": {"name": "rec-c", "kind": "seccompprofiles", "causes": [cause]},
        "code": 403,
    }
    await send_json(writer, 403, body)


@pytest.mark.parametrize("answer", [refuse(404), namespace_goes], ids=["gone", "going"])
async def test_namespace_that_goes_ends_its_recordings(node: RecordingNode, answer: Fault) -> None:
    node.api.plan(is_new_profile, answer)
    await node.record()
    await run_once(node, "web", "mkdir", collected=False)
    await node.until(lambda: any(map(is_new_profile, node.api.calls)))
    await node.settled()
    assert await node.names() == []


async def test_answer_that_is_lost_makes_no_second_profile(node: RecordingNode) -> None:
    """The API server has stored it, and nobody heard."""
    node.api.plan(is_new_profile, store_and_cut(node))
    await node.record()
    await run_once(node, "web", "mkdir", **of_owner("o"))
    await node.settled()
    assert await node.names() == ["rec-c-0"]


def spec() -> dict[str, str]:
    return {"defaultAction": "SCMP_ACT_ERRNO"}


def is_noted(node: RecordingNode, container_id: str) -> bool:
    """Whether the checkpoint knows the namespace of a container by its name."""
    path = node.root / ".recordings/bpf-security-profiles-operator.json"
    if not path.exists():
        return False
    pods = json.loads(path.read_bytes())["pods"].values()
    return any(container_id in one.get("keys", {}) for pod in pods for one in pod["containers"])
