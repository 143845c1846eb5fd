"""What the recorder process expects of a kernel: the same for this machine's and for the fake one."""

import ctypes
import multiprocessing
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

import pytest

from spo.bpf.errors import PinsError
from spo.bpf.observation import Observation, Phase, SyscallClass
from spo.bpf.recorder import IdentificationEvent, Losses, Namespace
from spo.probes.bpf_recorder.kernel import BpfKernel, Kernel, KernelRecorder
from tests.fakes.recorder import FakeKernel

pytestmark = pytest.mark.root

CLONE_NEWNS = 0x20000
GETSID, GETPGID, GETPRIORITY = 124, 121, 140
CALLS: dict[int, Callable[[], object]] = {
    GETSID: lambda: os.getsid(0),
    GETPGID: lambda: os.getpgid(0),
    GETPRIORITY: lambda: os.getpriority(os.PRIO_PROCESS, 0),
}


class World(Protocol):
    """A kernel and a namespace in it whose task does as told."""

    kernel: Kernel

    @property
    def inode(self) -> int: ...
    def namespace(self) -> None: ...
    def call(self, number: int) -> None: ...
    def close(self) -> None: ...


class FakeWorld:
    """Key 1 of the fake kernel."""

    inode = 4_000_000_001

    def __init__(self) -> None:
        self.kernel = FakeKernel()

    def namespace(self) -> None:
        self._calls(0)

    def call(self, number: int) -> None:
        self._calls(number)

    def _calls(self, number: int) -> None:
        if self.kernel.recorders and self.kernel.pinned is not None:
            self.kernel.pinned.container_calls(1, (number,), cgroups=("leaf", "parent"))

    def close(self) -> None:
        for recorder in self.kernel.recorders:
            recorder.close()


def obey(commands: Connection) -> None:
    """A task in a mount namespace of its own."""
    os.closerange(3, commands.fileno())  # also what keeps the recorder of the parent attached
    os.closerange(commands.fileno() + 1, 1000)
    while (number := commands.recv()) is not None:
        if number == 0:
            assert ctypes.CDLL(None).unshare(CLONE_NEWNS) == 0
        else:
            CALLS[number]()
        commands.send(None)


class RealWorld:
    """A child process and this machine's kernel, pinning in a bpf file system of its own."""

    def __init__(self, pins: Path) -> None:
        self.kernel = BpfKernel(pins / "root", None)
        self._ours, theirs = multiprocessing.Pipe()
        self._child = multiprocessing.get_context("fork").Process(target=obey, args=(theirs,))

    @property
    def inode(self) -> int:
        return Path(f"/proc/{self._child.pid}/ns/mnt").stat().st_ino

    def namespace(self) -> None:
        self._child.start()
        self.call(0)

    def call(self, number: int) -> None:
        self._ours.send(number)
        self._ours.recv()

    def close(self) -> None:
        self.kernel.remove_pins()
        if self._child.pid is not None:
            self._ours.send(None)
            self._child.join()


@pytest.fixture
def pins(tmp_path: Path) -> Iterator[Path]:
    """A bpf file system for this test alone."""
    subprocess.run(("mount", "-t", "bpf", "bpf", tmp_path), check=True)
    yield tmp_path
    subprocess.run(("umount", "-l", tmp_path), check=True)


@pytest.fixture(params=["fake", "real"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made: World = FakeWorld() if request.param == "fake" else RealWorld(request.getfixturevalue("pins"))
    yield made
    made.close()


@pytest.fixture
def recorder(world: World) -> Iterator[KernelRecorder]:
    started = world.kernel.start()
    world.namespace()
    yield started
    started.close()


def event_of(world: World, recorder: KernelRecorder) -> IdentificationEvent:
    """The event of our namespace: other processes of this machine may make some, too."""
    while select.select([recorder.event_fd()], [], [], 5.0)[0]:
        for event in recorder.events(0):
            if event.inode == world.inode:
                return event
    raise AssertionError("no event of ours")


def namespace_of(recorder: KernelRecorder, key: int) -> Namespace | None:
    return next((found for found in recorder.namespaces() if found.key == key), None)


def numbers(observation: Observation) -> set[int]:
    return {number for phase in Phase for number in observation.numbers(SyscallClass.NATIVE, phase)} & {
        *CALLS
    }


def eventually(condition: Callable[[], bool]) -> bool:
    deadline_s = time.monotonic() + 5
    while time.monotonic() < deadline_s:
        if condition():
            return True
    return False


def test_new_namespace_is_announced_and_recorded(world: World, recorder: KernelRecorder) -> None:
    event = event_of(world, recorder)
    assert event.cgroups
    assert not event.exec
    assert namespace_of(recorder, event.key) == Namespace(event.key, event.inode, False, False)
    world.call(GETSID)
    world.call(GETPGID)
    assert numbers(recorder.read(event.key)) == {GETSID, GETPGID}
    assert recorder.losses() == Losses(0, 0, 0, 0)


def test_reset_goes_on_and_reject_does_not(world: World, recorder: KernelRecorder) -> None:
    key = event_of(world, recorder).key
    world.call(GETSID)
    recorder.reset(key)
    assert numbers(recorder.read(key)) == set()
    world.call(GETSID)
    assert numbers(recorder.read(key)) == {GETSID}
    recorder.reject(key)
    world.call(GETPGID)
    assert numbers(recorder.read(key)) == set()
    found = namespace_of(recorder, key)
    assert found is not None
    assert found.ignored


def test_forgotten_namespace_comes_again(world: World, recorder: KernelRecorder) -> None:
    key = event_of(world, recorder).key
    recorder.reject(key)
    recorder.forget(key)
    assert namespace_of(recorder, key) is None
    world.call(GETPRIORITY)
    assert event_of(world, recorder).key == key
    assert numbers(recorder.read(key)) == {GETPRIORITY}


def test_unknown_key_does_no_harm(recorder: KernelRecorder) -> None:
    for act in (recorder.reset, recorder.reject, recorder.forget):
        act(123_456_789_000)
    assert recorder.read(123_456_789_000) == Observation.EMPTY
    assert namespace_of(recorder, 123_456_789_000) is None


def test_pins_go_on_without_us(world: World, recorder: KernelRecorder) -> None:
    key = event_of(world, recorder).key
    world.call(GETSID)
    recorder.close()
    world.call(GETPGID)
    adopted = world.kernel.adopt()
    world.call(GETPRIORITY)
    assert numbers(adopted.read(key)) == {GETSID, GETPGID, GETPRIORITY}
    adopted.detach()
    adopted.close()
    assert not world.kernel.remove_pins()


def test_event_waits_for_who_adopts(world: World, recorder: KernelRecorder) -> None:
    world.call(GETSID)
    recorder.close()
    adopted = world.kernel.adopt()
    key = event_of(world, adopted).key
    assert numbers(adopted.read(key)) == {GETSID}
    adopted.close()


def test_removed_pins_cannot_be_adopted(world: World, recorder: KernelRecorder) -> None:
    assert world.kernel.remove_pins()
    recorder.close()
    assert not world.kernel.remove_pins()
    with pytest.raises(PinsError, match="cannot be taken over"):
        world.kernel.adopt()


def test_after_detach_nothing_is_recorded(world: World, recorder: KernelRecorder) -> None:
    key = event_of(world, recorder).key
    recorder.detach()

    def unseen() -> bool:
        recorder.reset(key)
        world.call(GETSID)
        return numbers(recorder.read(key)) == set()

    # A bpf file system lets go of a link when all CPUs have moved on, some milliseconds after the unlink.
    assert eventually(unseen)
    with pytest.raises(PinsError):
        world.kernel.adopt()


def test_self_test_passes_and_leaves_nothing(world: World) -> None:
    world.kernel.self_test()
    assert not world.kernel.remove_pins()
    assert world.kernel.remove_other_pins() == []


def test_pins_of_other_versions_are_removed_and_nothing_else(pins: Path) -> None:
    kernel = BpfKernel(pins / "root", None)
    started = kernel.start()
    own = next((pins / "root").iterdir())
    for name in ("0123456789ab", "not-ours"):
        (pins / "root" / name).mkdir()
    assert kernel.remove_other_pins() == ["0123456789ab"]
    assert sorted(path.name for path in (pins / "root").iterdir()) == sorted(["not-ours", own.name])
    started.detach()
    started.close()


def test_directory_that_is_no_bpf_file_system_is_named(tmp_path: Path) -> None:
    with pytest.raises(PinsError, match="is it below a bpf file system"):
        BpfKernel(tmp_path, None).start()
