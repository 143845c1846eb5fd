"""Profiles that let more happen than the operator's settings allow, on one node."""

from pathlib import Path

import pytest

from spo.api.node_status import ProfileState
from spo.api.seccomp_profile import SeccompProfile
from spo.controller import Request
from spo.daemon.wakeups import Wakeups
from spo.kube.cache import Cache
from spo.profiles.allowance import Allowance
from spo.profiles.paths import ProfileKey
from tests.fakes.profiles_objects import NS, allow, profile, put
from tests.fakes.profiles_on_node import KEY, Node, installed

ONLY_READ = Allowance(frozenset({"read"}), frozenset({"SCMP_ACT_ALLOW"}))
FILE = ProfileKey(NS, "web")


@pytest.fixture
async def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def message(node: Node) -> str:
    entry = node.entry()
    assert entry is not None
    assert entry.state == ProfileState.ERROR
    return entry.message


async def test_new_profile_beyond_the_limits_is_refused(node: Node) -> None:
    node.view.allowed = ONLY_READ
    put(node.profiles, profile(syscalls=allow("read", "mount")))
    await node.reconcile()
    assert message(node).startswith("syscall not allowed: mount (SCMP_ACT_ALLOW)")
    assert node.told.log == [("ProfileNotAllowed", "web")]
    assert not node.file().exists()


async def test_profile_within_the_limits_is_installed(node: Node) -> None:
    node.view.allowed = ONLY_READ
    await installed(node, profile(syscalls=allow("read")))
    assert node.state_of() == ProfileState.INSTALLED


async def test_base_profile_counts_too(node: Node) -> None:
    node.view.allowed = ONLY_READ
    put(node.profiles, profile("base", syscalls=allow("mount")), profile(base="base", syscalls=allow("read")))
    await node.reconcile()
    assert "mount" in message(node)


async def test_file_goes_when_the_limits_are_narrowed_and_comes_back(node: Node) -> None:
    await installed(node, profile(syscalls=allow("mount")))
    node.view.allowed = ONLY_READ
    await node.reconcile()
    assert "mount" in message(node)
    assert not node.file().exists()
    assert node.told.log == [("removed", ""), ("ProfileNotAllowed", "web")]

    node.view.allowed = None
    await node.reconcile()
    assert node.file().exists()
    assert node.state_of() == ProfileState.INSTALLED


async def test_file_that_a_pod_uses_stays_until_the_pod_is_gone(node: Node) -> None:
    await installed(node, profile(syscalls=allow("mount")))
    node.view.allowed = ONLY_READ
    node.view.in_use.add(FILE)
    await node.reconcile()
    assert "stays as long as a pod of this node uses it" in message(node)
    assert node.file().exists()

    node.view.in_use.clear()
    await node.reconcile()
    assert "stays" not in message(node)
    assert not node.file().exists()


async def test_last_good_file_stays_if_it_is_within_the_limits(node: Node) -> None:
    node.view.allowed = ONLY_READ
    await installed(node, profile(syscalls=allow("read")))
    good = node.file().read_bytes()
    put(node.profiles, profile(generation=2, syscalls=allow("mount")))
    await node.reconcile()
    assert "mount" in message(node)
    assert node.file().read_bytes() == good


async def test_file_that_is_gone_is_no_problem(node: Node) -> None:
    await installed(node, profile(syscalls=allow("mount")))
    node.file().unlink()
    node.view.allowed = ONLY_READ
    await node.reconcile()
    assert "mount" in message(node)


@pytest.mark.parametrize("failing", [True, False])
def test_end_of_a_pod_wakes_a_profile_with_an_error(failing: bool) -> None:
    woken: list[Request] = []
    profiles: Cache[SeccompProfile] = Cache("SeccompProfile")
    put(profiles, profile())
    wakeups = Wakeups(woken.append, profiles, lambda key: failing and key == KEY)
    wakeups.pod_changed((FILE,), None)
    assert woken == ([Request(NS, "web")] if failing else [])
