"""Which claimed files are looked at again after a change on the disk."""

from collections.abc import Callable
from pathlib import Path

import pytest

from spo.daemon.file_changes import COLLECT_S, FileChanges
from spo.host.seccomp_dir import SeccompDir
from spo.profiles.paths import path_of
from tests.fakes.clock import FakeClock

WEB, OTHER, ELSEWHERE = "SeccompProfile/ns/web", "SeccompProfile/ns/other.json", "SeccompProfile/b/web"


class Node:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = FakeClock()
        self.woken: list[str] = []
        self.dir = SeccompDir(root)
        self.changes = FileChanges(
            root,
            lambda: (WEB, OTHER, ELSEWHERE, "nonsense"),
            lambda file: self.dir.is_as_left(path_of(file)),
            self.woken.append,
            self.clock,
        )
        for path in ("operator/ns/web.json", "operator/ns/other.json", "operator/b/web.json"):
            self.dir.write(path, b"{}")

    async def after(self, namespace: str | None, file: str | None) -> list[str]:
        """Who is woken by a change there."""
        self.woken.clear()
        self.changes.changed(namespace, file)
        await self.clock.advance(COLLECT_S)
        return self.woken


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.mark.parametrize("place", [("ns", "web.json"), ("ns", None), (None, None)])
async def test_what_we_wrote_ourselves_wakes_nobody(node: Node, place: tuple[str | None, str | None]) -> None:
    assert await node.after(*place) == []
    node.dir.write("operator/ns/web.json", b"changed")
    node.dir.write("operator/ns/web.json", b"changed")
    assert await node.after(*place) == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda file: file.write_bytes(b"{}"), id="same-content-again"),
        pytest.param(lambda file: file.write_bytes(b"x"), id="content"),
        pytest.param(lambda file: file.chmod(0o600), id="mode"),
        pytest.param(lambda file: file.unlink(), id="removed"),
        pytest.param(lambda file: file.parent.rename(file.parent.with_name("moved")), id="folder-moved"),
    ],
)
async def test_what_others_do_wakes_the_owner_of_the_file(node: Node, change: Callable[[Path], None]) -> None:
    change(node.root / "ns/web.json")
    assert WEB in await node.after("ns", "web.json")
    assert WEB in await node.after("ns", None)
    assert WEB in await node.after(None, None)
    assert ELSEWHERE not in node.woken


async def test_files_of_an_earlier_process_are_looked_at_once(node: Node) -> None:
    node.dir = SeccompDir(node.root)
    assert await node.after(None, None) == [WEB, OTHER, ELSEWHERE]
    assert await node.after("ns", "other.json") == [OTHER]
    node.dir.write("operator/ns/other.json", b"{}")  # found as it should be
    assert await node.after("ns", "other.json") == []
    assert await node.after("ns", ".spo-tmp-0") == []


async def test_removed_file_is_not_remembered(node: Node) -> None:
    node.dir.remove("operator/ns/web.json")
    assert await node.after("ns", "web.json") == [WEB]
