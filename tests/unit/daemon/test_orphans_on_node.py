"""Files of a node after a restart: what is repaired, what is removed, what is left alone."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from spo.api.node_status import NodeProfileState, ProfileState
from spo.daemon.seccomp_profile import LATER
from spo.profiles.paths import ProfileKey
from tests.fakes.profiles_objects import NS, drop, profile, put, released
from tests.fakes.profiles_on_node import KEY, WEB, Node, installed

FILE = ProfileKey(NS, "web")


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    made = Node(tmp_path)
    yield made
    assert not [path for path in made.root.rglob("*") if path.is_file() and path.suffix != ".json"]


async def test_orphan_of_the_previous_run_is_removed(node: Node) -> None:
    await installed(node, profile())
    node.start()
    await node.reporter.load()
    drop(node.profiles, "web")
    await node.reconcile()
    assert not node.file().exists()
    assert node.reporter.claims() == ()


async def test_orphan_that_a_pod_of_the_node_uses_stays_until_the_pod_is_gone(node: Node) -> None:
    await installed(node, profile())
    drop(node.profiles, "web")
    node.view.in_use.add(FILE)
    await node.reconcile()
    assert node.file().exists()
    assert node.state_of() == ProfileState.TERMINATING
    node.view.in_use.clear()
    await node.reconcile()
    assert not node.file().exists()


async def test_orphan_of_a_namespace_that_is_not_watched_stays(node: Node) -> None:
    await installed(node, profile())
    drop(node.profiles, "web")
    node.namespaces = ("another",)
    await node.reconcile()
    assert node.file().exists()
    assert node.state_of() == ProfileState.INSTALLED


@pytest.mark.parametrize("deleted", [True, False], ids=["released", "orphan"])
async def test_nothing_is_removed_while_the_caches_have_a_gap(node: Node, deleted: bool) -> None:
    await installed(node, profile())
    if deleted:
        put(node.profiles, released(profile()))
    else:
        drop(node.profiles, "web")
    node.view.certain = False
    assert await node.reconciler().reconcile(WEB) == LATER
    assert node.file().exists()
    node.view.certain = True
    await node.reconcile()
    assert not node.file().exists()


async def test_file_that_this_node_never_claimed_is_not_touched(node: Node) -> None:
    node.file().parent.mkdir()
    node.file().write_text("by hand, or by another operator")
    await node.reconcile()
    assert node.file().exists()


@pytest.mark.parametrize("file_exists", [True, False], ids=["before-the-removal", "after-the-removal"])
async def test_crash_around_the_removal_is_repaired(node: Node, file_exists: bool) -> None:
    await installed(node, profile())
    if not file_exists:
        node.file().unlink()
    node.start()
    await node.reporter.load()
    put(node.profiles, released(profile()))
    await node.reconcile()
    assert not node.file().exists()
    assert node.reporter.claims() == ()


async def test_crash_between_claim_and_write_is_repaired(node: Node) -> None:
    node.api.edit({KEY: NodeProfileState(state=ProfileState.PENDING, generation=1)})
    await node.reporter.load()
    put(node.profiles, profile())
    await node.reconcile()
    assert node.file().exists()
    assert node.state_of() == ProfileState.INSTALLED
