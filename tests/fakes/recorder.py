"""A kernel in which containers make syscalls when a test says so; passes the tests of the real one."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from spo.bpf.errors import BpfCallError, PinsError, RecorderError
from spo.bpf.observation import Observation, Phase, SyscallClass
from spo.bpf.recorder import IdentificationEvent, Losses, Namespace


@dataclass
class _Entry:
    inode: int
    late: bool
    ignored: bool = False
    seen: set[tuple[SyscallClass, Phase, int]] = field(default_factory=set)


class FakeRecorder:
    """Implements spo.probes.bpf_recorder.kernel.KernelRecorder."""

    def __init__(self) -> None:
        self.entries: dict[int, _Entry] = {}
        self.queue: list[IdentificationEvent] = []
        self.lost = Losses(0, 0, 0, 0)
        self.attached = False
        self.enabled = False
        self.pinned: Path | None = None
        self.open = True
        self.forgotten: list[int] = []
        self.fail_detach = False
        self._readable, self._wake = os.pipe()

    def attach(self) -> None:
        self.attached = True

    def detach(self) -> None:
        if self.fail_detach:
            raise BpfCallError("detach", "no")
        self.attached = False
        self.pinned = None

    def record_namespaces(self, enabled: bool) -> None:
        self.enabled = enabled

    def namespaces(self) -> list[Namespace]:
        return [Namespace(key, e.inode, e.ignored, e.late) for key, e in self.entries.items()]

    def namespace(self, key: int) -> Namespace | None:
        return next((found for found in self.namespaces() if found.key == key), None)

    def read(self, key: int) -> Observation:
        if key not in self.entries:
            return Observation.EMPTY
        seen: dict[tuple[SyscallClass, Phase], set[int]] = {}
        for cls, phase, number in self.entries[key].seen:
            seen.setdefault((cls, phase), set()).add(number)
        return Observation(seen)

    def reset(self, key: int) -> None:
        if key in self.entries:
            self.entries[key].seen.clear()
            self.entries[key].ignored = False

    def reject(self, key: int) -> None:
        if key in self.entries:
            self.entries[key].seen.clear()
            self.entries[key].ignored = True

    def forget(self, key: int) -> None:
        self.entries.pop(key, None)
        self.forgotten.append(key)

    def events(self, timeout_ms: int = 0) -> list[IdentificationEvent]:
        events, self.queue = self.queue, []
        if events:
            os.read(self._readable, 65536)
        return events

    def event_fd(self) -> int:
        return self._readable

    def losses(self) -> Losses:
        return self.lost

    def pin(self, directory: Path) -> None:
        self.pinned = directory

    def close(self) -> None:
        if self.open:
            os.close(self._readable)
            os.close(self._wake)
        self.open = False

    # What a test does in the place of containers.

    def container_calls(
        self,
        key: int,
        numbers: Iterable[int] = (),
        *,
        inode: int = 0,
        cgroups: tuple[str, ...] = (),
        first_exec: bool = False,
        late: bool = False,
        phase: Phase = Phase.PROGRAM,
    ) -> None:
        """A task of a namespace makes syscalls; the first ones, and its first exec, announce it."""
        if not (self.attached and self.enabled):
            return
        new = key not in self.entries
        entry = self.entries.setdefault(key, _Entry(inode or key + 4_000_000_000, late))
        if new or first_exec:
            comm = "program" if first_exec else "runc:[1:CHILD]"
            self.queue.append(IdentificationEvent(key, entry.inode, 1000 + key, comm, first_exec, cgroups))
            os.write(self._wake, b"x")
        if not entry.ignored:
            entry.seen |= {(SyscallClass.NATIVE, phase, number) for number in numbers}


class FakeKernel:
    """Implements spo.probes.bpf_recorder.kernel.Kernel; pins survive as long as this object."""

    def __init__(self) -> None:
        self.pinned: FakeRecorder | None = None
        self.others: list[str] = []
        self.refuses: RecorderError | None = None
        self.recorders: list[FakeRecorder] = []

    def start(self) -> FakeRecorder:
        if self.refuses is not None:
            raise self.refuses
        made = FakeRecorder()
        self.recorders.append(made)
        made.record_namespaces(True)
        made.attach()
        made.pin(Path("/pins"))
        self.pinned = made
        return made

    def adopt(self) -> FakeRecorder:
        if self.pinned is None or self.pinned.pinned is None:
            raise PinsError(Path("/pins"), "cannot be taken over: open recordings: No such file")
        adopted = FakeRecorder()
        adopted.__dict__.update(
            {
                name: value
                for name, value in self.pinned.__dict__.items()
                if name not in {"open", "_readable", "_wake"}
            }
        )
        if adopted.queue:
            os.write(adopted._wake, b"x")
        self.pinned = adopted
        self.recorders.append(adopted)
        return adopted

    def remove_pins(self) -> bool:
        found = self.pinned is not None and self.pinned.pinned is not None
        self.pinned = None
        return found

    def remove_other_pins(self) -> list[str]:
        others, self.others = self.others, []
        return others

    def self_test(self) -> None:
        if self.refuses is not None:
            raise self.refuses
