"""Odd profiles and broken disks on one node: never a half-written file, never a worker lost."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from spo.api.node_status import NodeProfileState, ProfileState
from spo.api.seccomp_profile import SeccompProfile, Syscall
from spo.controller import Request
from spo.daemon.node_status import NodeStatusReporter
from spo.daemon.seccomp_profile import SeccompProfileReconciler, profile_key
from spo.host.seccomp_dir import CannotSaveProfileError, SeccompDir
from spo.kube.cache import Cache
from spo.profiles.syscall_tables import syscall_names
from tests.fakes.clock import FakeClock
from tests.fakes.profiles_node_status import InMemoryClaims, InMemoryNodeStatus
from tests.fakes.profiles_node_view import FakeNodeView
from tests.fakes.profiles_objects import NS, allow, profile, put, released

DISK = "size=64k"


class Silent:
    def saved(self, profile: SeccompProfile) -> None: ...
    def removed(self) -> None: ...
    def failed(self, profile: SeccompProfile | None, reason: str, message: str) -> None: ...


class Node:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.profiles: Cache[SeccompProfile] = Cache("SeccompProfile")
        self.reporter = NodeStatusReporter(
            InMemoryNodeStatus(), InMemoryClaims(), FakeClock(), report_delay_s=0
        )
        self.reconciler = SeccompProfileReconciler(
            self.profiles, FakeNodeView(), self.reporter, SeccompDir(root), Silent()
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        writing = asyncio.create_task(self.reporter.run())
        yield
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)

    async def install(self, one: SeccompProfile) -> NodeProfileState:
        put(self.profiles, one)
        await self.reconciler.reconcile(Request(NS, one.metadata.name.removesuffix(".json")))
        entry = self.reporter.state(profile_key(NS, one.metadata.name))
        assert entry is not None
        return entry

    def file(self, name: str) -> Path:
        return self.root / NS / f"{name}.json"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    made = Node(tmp_path)
    async with made.running():
        yield made


async def test_empty_spec_is_installed(node: Node) -> None:
    assert (await node.install(profile())).state == ProfileState.INSTALLED
    assert json.loads(node.file("web").read_text()) == {"defaultAction": "SCMP_ACT_ERRNO"}


async def test_two_thousand_syscalls_in_as_many_entries_are_installed(node: Node) -> None:
    known = sorted(syscall_names("SCMP_ARCH_X86_64").values())
    names = [known[n % len(known)] if n < len(known) else f"no_such_call_{n}" for n in range(2000)]
    entry = await node.install(profile(syscalls=[allow(name)[0] for name in names]))
    assert entry.state == ProfileState.INSTALLED
    written = json.loads(node.file("web").read_text())["syscalls"]
    assert [one["names"][0] for one in written] == names


@pytest.mark.parametrize(
    ("name", "file"),
    [
        pytest.param("web.json", "web", id="with-suffix"),
        pytest.param("n" * 250, "n" * 250, id="longest"),
        pytest.param("a.b.json.c", "a.b.json.c", id="suffix-inside"),
    ],
)
async def test_name_and_file(node: Node, name: str, file: str) -> None:
    assert (await node.install(profile(name))).state == ProfileState.INSTALLED
    assert node.file(file).is_file()


async def test_the_sixteenth_base_is_one_too_many(node: Node) -> None:
    put(node.profiles, *(profile(f"p{n}", base=f"p{n + 1}") for n in range(1, 16)), profile("p16"))
    assert (await node.install(profile("p1", base="p2"))).state == ProfileState.INSTALLED
    entry = await node.install(profile("p0", base="p1"))
    assert entry.state == ProfileState.ERROR
    assert "more than 15 base profiles" in entry.message
    assert not node.file("p0").exists()


@pytest.mark.parametrize("errno_ret", [-1, 4096, "NO_SUCH_ERROR"])
async def test_errno_out_of_range_is_an_error(node: Node, errno_ret: Any) -> None:
    bad = [Syscall(names=["read"], action="SCMP_ACT_ERRNO", errno_ret=errno_ret)]
    entry = await node.install(profile(syscalls=bad))
    assert entry.state == ProfileState.ERROR
    assert "syscalls[0].errnoRet" in entry.message


@pytest.mark.parametrize("name", ["..", "../../etc/cron.d/x", "/etc/passwd", "a\0b", ".spo-tmp-1", "ö"])
async def test_hostile_name_reaches_no_file(node: Node, name: str) -> None:
    # The API refuses such names; what slips through must not get out of the directory either.
    entry = await node.install(profile(name))
    found = [path for path in node.root.rglob("*") if path.is_file()]
    assert entry.state == ProfileState.ERROR or all(path.parent == node.root / NS for path in found)
    assert not list(node.root.parent.glob("x*"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", DISK, "tmpfs", str(place)), check=True)
    yield place
    subprocess.run(("umount", str(place)), check=True)


def remount(disk: Path, mode: str) -> None:
    subprocess.run(("mount", "-o", f"remount,{mode}", str(disk)), check=True)


@pytest.mark.root
async def test_full_disk_keeps_the_last_good_file_and_recovers(disk: Path) -> None:
    node = Node(disk)
    async with node.running():
        await node.install(profile())
        good = node.file("web").read_bytes()
        filler = disk / "filler"
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        filler.write_bytes(b"x" * free)
        with pytest.raises(CannotSaveProfileError, match="No space left on device"):
            await node.install(profile(action="SCMP_ACT_LOG", generation=2))
        entry = node.reporter.state(profile_key(NS, "web"))
        assert entry is not None
        assert (entry.state, entry.generation) == (ProfileState.ERROR, 2)
        assert node.file("web").read_bytes() == good
        assert [path.name for path in (disk / NS).iterdir()] == ["web.json"]

        put(node.profiles, released(profile("web")))  # a full disk does not hold up deletion
        await node.reconciler.reconcile(Request(NS, "web"))
        assert not node.file("web").exists()

        filler.unlink()
        entry = await node.install(profile(action="SCMP_ACT_LOG", generation=3))
        assert entry.state == ProfileState.INSTALLED


@pytest.mark.root
async def test_read_only_disk_is_an_error_until_it_is_writable_again(disk: Path) -> None:
    node = Node(disk)
    async with node.running():
        await node.install(profile())
        remount(disk, "ro")
        try:
            with pytest.raises(CannotSaveProfileError, match="Read-only file system"):
                await node.install(profile(action="SCMP_ACT_LOG", generation=2))
            assert "SCMP_ACT_ERRNO" in node.file("web").read_text()
        finally:
            remount(disk, "rw")
        assert (await node.install(profile(action="SCMP_ACT_LOG", generation=2))).state == "Installed"
