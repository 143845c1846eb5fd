"""One file of a node, from claim to removal; each case is reconciled twice."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from spo.api.node_status import NodeProfileState, ProfileState
from spo.controller import DONE, Request
from spo.daemon.seccomp_profile import profile_key
from spo.host.seccomp_dir import SeccompDirError
from spo.profiles.paths import ProfileKey
from tests.fakes.profiles_objects import NS, allow, drop, profile, put, released
from tests.fakes.profiles_on_node import KEY, WEB, Node, installed


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    made = Node(tmp_path)
    yield made
    assert not [path for path in made.root.rglob("*") if path.is_file() and path.suffix != ".json"]


async def test_new_profile_is_written_and_reported(node: Node) -> None:
    put(node.profiles, profile(syscalls=allow("write", "read")))
    await node.reconcile()
    assert json.loads(node.file().read_text()) == {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": ["write", "read"], "action": "SCMP_ACT_ALLOW"}],
    }
    assert node.entry() == NodeProfileState(state=ProfileState.INSTALLED, generation=1)
    assert node.told.log == [("SavedSeccompProfile", "web")]


async def test_unknown_syscall_is_an_error_only_while_the_settings_are_strict(node: Node) -> None:
    await installed(node, profile(syscalls=allow("read", "no_such_call")))
    good = node.file().read_bytes()
    node.view.strict = True
    await node.reconcile()
    entry = node.entry()
    assert entry is not None
    assert entry.state == ProfileState.ERROR
    assert "no_such_call" in entry.message
    assert "read" not in entry.message
    assert "strictSyscalls" in entry.message
    assert node.told.log == [("InvalidSeccompProfile", "web")]
    assert node.file().read_bytes() == good

    node.view.strict = False
    await node.reconcile()
    assert node.state_of() == ProfileState.INSTALLED


async def test_unknown_syscall_of_a_base_profile_counts_too(node: Node) -> None:
    node.view.strict = True
    put(node.profiles, profile("base", syscalls=allow("no_such_call")), profile(base="base"))
    await node.reconcile()
    assert node.state_of() == ProfileState.ERROR
    assert not node.file().exists()


async def test_file_does_not_appear_before_the_claim_is_stored(node: Node) -> None:
    put(node.profiles, profile())
    node.api.gate.clear()
    writing = asyncio.create_task(node.reporter.run())
    reconciling = asyncio.create_task(node.reconciler().reconcile(WEB))
    await node.api.arrived.wait()
    assert not node.file().exists()

    node.api.gate.set()
    assert await reconciling == DONE
    assert node.api.writes[-1] == {KEY: NodeProfileState(state=ProfileState.PENDING, generation=1)}
    assert node.file().exists()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)


async def test_profile_deleted_during_its_claim_is_not_written(node: Node) -> None:
    put(node.profiles, profile())
    node.api.gate.clear()
    writing = asyncio.create_task(node.reporter.run())
    reconciling = asyncio.create_task(node.reconciler().reconcile(WEB))
    await node.api.arrived.wait()
    drop(node.profiles, "web")
    node.api.gate.set()
    assert await reconciling == DONE
    assert not node.file().exists()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)


async def test_changed_spec_replaces_the_file(node: Node) -> None:
    await installed(node, profile())
    put(node.profiles, profile(action="SCMP_ACT_LOG", generation=2))
    await node.reconcile()
    assert json.loads(node.file().read_text()) == {"defaultAction": "SCMP_ACT_LOG"}
    assert node.entry() == NodeProfileState(state=ProfileState.INSTALLED, generation=2)
    assert node.told.log == [("SavedSeccompProfile", "web")]


async def test_change_without_effect_on_the_file_is_reported_but_not_told(node: Node) -> None:
    await installed(node, profile())
    put(node.profiles, profile(generation=2))
    await node.reconcile()
    assert node.entry() == NodeProfileState(state=ProfileState.INSTALLED, generation=2)
    assert node.told.log == []


async def test_file_changed_by_hand_is_restored(node: Node) -> None:
    await installed(node, profile())
    good = node.file().read_bytes()
    node.file().write_text("{}")
    await node.reconcile()
    assert node.file().read_bytes() == good


BAD = [
    pytest.param({"base": "absent"}, "'absent'", id="unknown-base"),
    pytest.param({"base": "web"}, "cycle", id="base-cycle"),
    pytest.param({"action": "SCMP_ACT_NOTIFY"}, "listenerPath", id="notify-without-listener"),
    pytest.param({"flags": ["NO_SUCH_FLAG"]}, "NO_SUCH_FLAG", id="unknown-flag"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
async def test_invalid_profile_is_an_error_and_the_last_good_file_stays(
    node: Node, changes: dict[str, object], message: str
) -> None:
    await installed(node, profile())
    good = node.file().read_bytes()
    put(node.profiles, profile(generation=2, **changes))  # type: ignore[arg-type] # one of several keywords
    await node.reconcile()
    entry = node.entry()
    assert entry is not None
    assert (entry.state, entry.generation) == (ProfileState.ERROR, 2)
    assert message in entry.message
    assert node.file().read_bytes() == good
    assert node.told.log == [("InvalidSeccompProfile", "web")]


async def test_error_already_reported_is_not_told_again_after_a_restart(node: Node) -> None:
    put(node.profiles, profile(base="absent"))
    await node.reconcile()
    node.start()
    await node.reporter.load()
    await node.reconcile()
    assert node.told.log == []


async def test_profile_recovers_when_its_base_appears(node: Node) -> None:
    put(node.profiles, profile(base="base", syscalls=allow("read")))
    await node.reconcile()
    assert node.state_of() == ProfileState.ERROR
    put(node.profiles, profile("base", syscalls=allow("write")))
    await node.reconcile()
    assert node.state_of() == ProfileState.INSTALLED
    assert json.loads(node.file().read_text())["syscalls"][0]["names"] == ["read", "write"]


async def test_name_too_long_for_a_file_is_an_error(node: Node) -> None:
    name = "n" * 251
    put(node.profiles, profile(name))
    await node.reconcile(Request(NS, name))
    entry = node.entry(name)
    assert entry is not None
    assert entry.state == ProfileState.ERROR
    assert "250 characters" in entry.message


async def test_node_without_seccomp_writes_nothing_and_says_why(node: Node) -> None:
    node.unsupported = 'node "node-1" does not support seccomp'
    put(node.profiles, profile())
    await node.reconcile()
    entry = node.entry()
    assert entry is not None
    assert entry.message == 'SeccompNotSupportedOnNode: node "node-1" does not support seccomp'
    assert node.told.log == [("SeccompNotSupportedOnNode", "web")]
    assert not node.file().exists()


async def test_unwritable_place_is_an_error_that_is_tried_again(node: Node) -> None:
    node.file().mkdir(parents=True)
    put(node.profiles, profile())
    await node.reporter.load()
    writing = asyncio.create_task(node.reporter.run())
    with pytest.raises(SeccompDirError, match="cannot save profile"):
        await node.reconciler().reconcile(WEB)
    assert node.state_of() == ProfileState.ERROR
    assert node.told.log == [("CannotSaveSeccompProfile", "web")]

    node.file().rmdir()
    assert await node.reconciler().reconcile(WEB) == DONE
    assert node.state_of() == ProfileState.INSTALLED
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)


async def test_directory_in_the_place_of_the_file_does_not_hold_up_deletion(node: Node) -> None:
    await installed(node, profile())
    node.file().unlink()
    node.file().mkdir()
    put(node.profiles, released(profile()))
    await node.reconcile()
    assert node.reporter.claims() == ()
    assert node.file().is_dir()


# Two objects, one file


async def test_the_older_of_two_objects_owns_the_file(node: Node) -> None:
    await installed(node, profile("web", "SCMP_ACT_LOG"))
    put(node.profiles, profile("web.json", created="2026-01-01T00:00:01Z"))
    await node.reconcile()
    assert json.loads(node.file().read_text()) == {"defaultAction": "SCMP_ACT_LOG"}
    second = node.entry("web.json")
    assert second is not None
    assert second.state == ProfileState.ERROR
    assert second.message.startswith("PathConflict: ")
    assert node.state_of("web") == ProfileState.INSTALLED


async def test_the_younger_takes_over_when_the_older_is_gone(node: Node) -> None:
    older = profile("web", "SCMP_ACT_LOG")
    await installed(node, older)
    put(node.profiles, profile("web.json", created="2026-01-01T00:00:01Z"))
    await node.reconcile()
    put(node.profiles, released(older))
    await node.reconcile()
    assert not node.file().exists()
    drop(node.profiles, "web")
    await node.reconcile()
    assert json.loads(node.file().read_text()) == {"defaultAction": "SCMP_ACT_ERRNO"}
    assert node.reporter.claims() == (profile_key(NS, "web.json"),)


async def test_deleted_second_object_goes_at_once_and_takes_no_file_along(node: Node) -> None:
    await installed(node, profile("web"))
    second = profile("web.json", created="2026-01-01T00:00:01Z")
    put(node.profiles, second)
    await node.reconcile()
    put(node.profiles, profile("web.json", created="2026-01-01T00:00:01Z", deleted=True))
    await node.reconcile()
    assert node.entry("web.json") is None
    assert node.file().exists()


async def test_vanished_first_object_leaves_its_file_to_the_second(node: Node) -> None:
    await installed(node, profile("web", "SCMP_ACT_LOG"))
    put(node.profiles, profile("web.json", base="absent", created="2026-01-01T00:00:01Z"))
    drop(node.profiles, "web")
    await node.reconcile()
    assert node.file().exists()  # the last good content of this path
    assert node.reporter.claims() == (profile_key(NS, "web.json"),)


# Deletion

FILE = ProfileKey(NS, "web")


@pytest.mark.parametrize(
    ("used_here", "release_generation", "gone"),
    [
        pytest.param(False, None, False, id="not-released"),
        pytest.param(False, 1, True, id="released-and-unused"),
        pytest.param(True, 1, False, id="released-but-used-on-this-node"),
        pytest.param(False, 0, False, id="released-for-an-older-generation"),
    ],
)
async def test_file_goes_only_when_released_and_unused(
    node: Node, used_here: bool, release_generation: int | None, gone: bool
) -> None:
    await installed(node, profile())
    deleted = profile(deleted=True)
    if release_generation is not None:
        deleted = released(profile(), release_generation)
    put(node.profiles, deleted)
    if used_here:
        node.view.in_use.add(FILE)
    await node.reconcile()
    assert node.file().exists() is not gone
    assert node.state_of() == (None if gone else ProfileState.TERMINATING)
    assert node.told.log == ([("removed", "")] if gone else [])


async def test_last_pod_of_the_node_gone_lets_the_file_go(node: Node) -> None:
    await installed(node, profile())
    node.view.in_use.add(FILE)
    put(node.profiles, released(profile()))
    await node.reconcile()
    node.view.in_use.clear()
    await node.reconcile()
    assert not node.file().exists()
    assert node.reporter.claims() == ()


async def test_deleted_profile_that_was_never_installed_here_is_not_claimed(node: Node) -> None:
    put(node.profiles, profile(deleted=True))
    await node.reconcile()
    assert node.reporter.claims() == ()


async def test_removal_that_fails_is_told_and_tried_again(node: Node, tmp_path: Path) -> None:
    await installed(node, profile())
    put(node.profiles, released(profile()))
    (node.root / NS).rename(tmp_path / "elsewhere")
    (node.root / NS).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SeccompDirError, match="cannot remove profile"):
        await node.reconciler().reconcile(WEB)
    assert node.told.log == [("CannotRemoveSeccompProfile", "web")]
    assert node.state_of() == ProfileState.ERROR

    (node.root / NS).unlink()
    (tmp_path / "elsewhere").rename(node.root / NS)
    await node.reconcile()
    assert not node.file().exists()


async def test_disabled_profile_is_on_no_disk(node: Node) -> None:
    put(node.profiles, profile(disabled=True))
    await node.reconcile()
    assert node.state_of() == ProfileState.DISABLED
    assert not node.file().exists()


@pytest.mark.parametrize("partial", [False, True], ids=["disabled", "partial"])
async def test_profile_withheld_later_goes_when_no_pod_uses_it(node: Node, partial: bool) -> None:
    whole = profile(syscalls=allow("read"))
    await installed(node, whole)
    withheld = profile(syscalls=allow("read"), disabled=not partial)
    if partial:
        withheld.metadata.labels["spo.x-k8s.io/partial"] = "true"
    node.view.in_use.add(ProfileKey(NS, "web"))
    put(node.profiles, withheld)
    await node.reconcile()
    assert node.state_of() == (ProfileState.PARTIAL if partial else ProfileState.DISABLED)
    assert node.file().exists()
    node.view.in_use.clear()
    await node.reconcile()
    assert not node.file().exists()
    put(node.profiles, whole)
    await node.reconcile()
    assert node.state_of() == ProfileState.INSTALLED
    assert node.file().exists()
