"""Record syscalls in the kernel: by mount namespace for containers, by tree of processes for commands."""

import ctypes
import mmap
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self

from spo.bpf import kernel_btf
from spo.bpf.errors import BpfCallError, SelfTestError
from spo.bpf.layout import (
    IDENTIFIED_AT_FIRST_EXEC,
    TREE_KEY,
    Identification,
    Process,
    Recording,
    State,
)
from spo.bpf.libbpf import Libbpf, SampleFunction
from spo.bpf.observation import Observation
from spo.bpf.programs import SYS_ENTER, SYS_ENTER_RAW, LoadedPrograms, PinnedPrograms, layout_hash, unpin

PIN_ROOT: Final = Path("/sys/fs/bpf/security-profiles-operator")
"""Each version of the object has its own directory below."""


class Namespace(NamedTuple):
    """A mount namespace that was seen."""

    key: int
    """The kernel's number for it, which is never used again."""
    inode: int
    """What ``/proc/PID/ns/mnt`` shows; used again as soon as the namespace ends."""
    ignored: bool
    """It was rejected: nothing more is recorded."""
    late: bool
    """It was there before the recorder: its start was not seen."""


class IdentificationEvent(NamedTuple):
    """Who lives in a namespace: sent at its first call and again at its first exec; the later wins."""

    key: int
    inode: int
    pid: int
    """In the initial PID namespace."""
    comm: str
    exec: bool
    """Whether this is the one of the first exec."""
    cgroups: tuple[str, ...]
    """Names of the task's cgroup and its ancestors, the leaf first, at most 6."""


class Losses(NamedTuple):
    """What could not be recorded since the object was loaded; all zero: the recording is complete."""

    map_full: int
    """Calls that found no room for the bitmap of their namespace."""
    ring_full: int
    """Namespaces that could not be announced."""
    process_map_full: int
    """Processes whose phase may be wrong."""
    unknown_numbers: int
    """Calls with a number of 1024 or more; no kernel has such."""


class _Programs(Protocol):
    """What a recorder needs of loaded or pinned programs."""

    @property
    def map_fds(self) -> dict[str, int]: ...
    def attach(self) -> None: ...
    def detach(self) -> None: ...
    def pin(self, directory: Path) -> None: ...
    def close(self) -> None: ...


def pin_directory(root: Path = PIN_ROOT) -> Path:
    """Where this version pins."""
    return root / layout_hash()


class Recorder:
    """One BPF object: loaded by this process, or taken over from its pins. Use it in ``with``."""

    def __init__(self, library: Libbpf, programs: _Programs) -> None:
        """Wrap programs that are loaded; callers use :meth:`load` or :meth:`adopt`."""
        self._library = library
        self._programs = programs
        self._pinned_at: Path | None = None
        self._memory = mmap.mmap(programs.map_fds[".bss"], mmap.ALLOCATIONGRANULARITY)
        self._state = State.from_buffer(self._memory)
        self._events: list[IdentificationEvent] = []
        self._on_sample = SampleFunction(self._take_sample)
        self._ring: int = library.call(
            "ring_buffer__new",
            "open the ring buffer",
            programs.map_fds["identifications"],
            self._on_sample,
            None,
            None,
        )

    @classmethod
    def load(cls, *, btf: Path | None = None, sizes: Mapping[str, int] | None = None) -> Self:
        """Load the object; nothing is recorded before :meth:`attach`.

        Args:
            btf: a BTF file or a directory in BTFHub layout, for kernels that do not describe their types.
            sizes: of the maps ``recordings``, ``processes`` (entries), ``identifications`` (bytes, a power of
                2 of pages), where not the usual ones: 4096, 16384, 1 MiB.

        Raises:
            RecorderError: no root, no BTF, no libbpf, or a kernel that refuses the programs.
        """
        found = kernel_btf.find(btf)
        library = Libbpf.load()
        if found is not None:
            programs = LoadedPrograms.load(library, btf=found, sys_enter=SYS_ENTER_RAW, sizes=sizes)
            return cls._of(library, programs)
        try:
            programs = LoadedPrograms.load(library, btf=None, sys_enter=SYS_ENTER, sizes=sizes)
        except BpfCallError:
            # Some kernels have BTF and refuse programs that use it; the other program needs it only now.
            programs = LoadedPrograms.load(library, btf=None, sys_enter=SYS_ENTER_RAW, sizes=sizes)
        return cls._of(library, programs)

    @classmethod
    def adopt(cls, directory: Path) -> Self:
        """Take over what an earlier process of the same version has pinned and left attached.

        Raises:
            PinsError: there is nothing complete.
        """
        library = Libbpf.load()
        recorder = cls._of(library, PinnedPrograms(library, directory))
        recorder._pinned_at = directory
        return recorder

    @classmethod
    def _of(cls, library: Libbpf, programs: _Programs) -> Self:
        try:
            return cls(library, programs)
        except BaseException:
            programs.close()
            raise

    def attach(self) -> None:
        """Let the programs see every syscall of the machine, and check that they do.

        Raises:
            SelfTestError: our own call is not seen.
            BpfCallError: the kernel refused.
        """
        # No local name for the state: a traceback would keep it, and the mapped memory, beyond close().
        self._state.ready = 0
        self._state.probe_pid = os.getpid()
        self._forget_processes()
        self._forget_caches()
        self._programs.attach()
        # Not before: who started meanwhile was not seen from its beginning, and counts as late.
        self._state.attached_at = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        os.getppid()
        if not self._state.ready:
            self._programs.detach()
            raise SelfTestError

    def detach(self) -> None:
        """Stop recording; what was seen stays readable. A syscall costs nothing more."""
        self.unpin()
        self._programs.detach()

    def add_process(self, pid: int, *, running: bool = False) -> None:
        """Record this process and all that descend from it from now on.

        Args:
            pid: of the process, in the initial PID namespace.
            running: True: its calls count at once. False: from its next execve on.

        Raises:
            BpfCallError: the map of processes is full.
        """
        process = Process(program_key=TREE_KEY if running else 0, in_tree=1)
        self._library.update(self._programs.map_fds["processes"], ctypes.c_uint32(pid), process)
        self._state.record_tree = 1
        self._forget_caches()

    def tree(self) -> Observation:
        """What the added processes and their descendants did."""
        return self.read(TREE_KEY)

    def tree_processes(self) -> list[int]:
        """The added processes and their descendants that have not ended, by process id."""
        fd = self._programs.map_fds["processes"]
        found = []
        for key in self._library.keys(fd, ctypes.c_uint32):
            value = Process()
            if self._library.lookup(fd, ctypes.c_uint32(key), value) and value.in_tree:
                found.append(key)
        return found

    def record_namespaces(self, enabled: bool) -> None:
        """Record every mount namespace but the host's and our own, or none."""
        self._state.record_namespaces = int(enabled)
        self._forget_caches()

    def namespaces(self) -> list[Namespace]:
        """Every namespace that was seen and not forgotten."""
        keys = self._library.keys(self._programs.map_fds["recordings"], ctypes.c_uint64)
        found = [self.namespace(key) for key in keys if key != TREE_KEY]
        return [namespace for namespace in found if namespace is not None]

    def namespace(self, key: int) -> Namespace | None:
        """One of them; ``None``: it was never seen, or was forgotten."""
        value = self._recording(key)
        if value is None:
            return None
        return Namespace(key, value.inode, bool(value.ignored), bool(value.late))

    def read(self, key: int) -> Observation:
        """What was seen in a namespace; nothing when it is not known."""
        value = self._recording(key)
        return Observation.EMPTY if value is None else value.observation()

    def reset(self, key: int) -> None:
        """Forget what was seen in a namespace, and go on recording it."""
        self._change(key, ignored=False)

    def reject(self, key: int) -> None:
        """Forget what was seen in a namespace, and record nothing more of it."""
        self._change(key, ignored=True)

    def forget(self, key: int) -> None:
        """Give the memory of a namespace back; if it still lives it comes again as a new one."""
        self._library.delete(self._programs.map_fds["recordings"], ctypes.c_uint64(key))
        self._forget_caches()

    def events(self, timeout_ms: int = 0) -> list[IdentificationEvent]:
        """What the kernel has announced since the last call; waits at most ``timeout_ms`` for the first.

        Raises:
            BpfCallError: the ring buffer cannot be read.
        """
        try:
            self._library.call("ring_buffer__poll", "read the ring buffer", self._ring, timeout_ms)
        except BpfCallError as error:
            if error.reason != os.strerror(4):  # a signal ended the wait
                raise
        events, self._events = self._events, []
        return events

    def event_fd(self) -> int:
        """Readable when :meth:`events` has something; for selectors."""
        fd: int = self._library.call("ring_buffer__epoll_fd", "find the ring buffer", self._ring)
        return fd

    def losses(self) -> Losses:
        """What could not be recorded."""
        state = self._state
        return Losses(
            state.lost_recordings, state.lost_identifications, state.lost_processes, state.unknown_numbers
        )

    def pin(self, directory: Path) -> None:
        """Keep recording in the kernel when this process ends; :meth:`adopt` takes over.

        Raises:
            PinsError: ``directory`` is not below a bpf file system.
        """
        self._programs.pin(directory)
        self._pinned_at = directory

    def unpin(self) -> None:
        """End with this process again."""
        if self._pinned_at is not None:
            unpin(self._pinned_at)
            self._pinned_at = None

    def close(self) -> None:
        """Give everything back; what is pinned goes on."""
        if self._ring:
            self._library.free("ring_buffer__free", self._ring)
            self._ring = 0
            del self._state
            self._memory.close()
        self._programs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _forget_caches(self) -> None:
        self._state.generation += 1

    def _forget_processes(self) -> None:
        """Numbers of processes that ended while nothing was attached may belong to others now."""
        fd = self._programs.map_fds["processes"]
        for key in self._library.keys(fd, ctypes.c_uint32):
            self._library.delete(fd, ctypes.c_uint32(key))

    def _recording(self, key: int) -> Recording | None:
        value = Recording()
        if not self._library.lookup(self._programs.map_fds["recordings"], ctypes.c_uint64(key), value):
            return None
        return value

    def _change(self, key: int, *, ignored: bool) -> None:
        known = self._recording(key)
        if known is None:
            return
        fresh = Recording(inode=known.inode, ignored=ignored, late=known.late, exec_seen=known.exec_seen)
        self._library.update(self._programs.map_fds["recordings"], ctypes.c_uint64(key), fresh)
        # After the bitmap is empty: who fills a cache from here on has set its bit in the new one.
        self._forget_caches()

    def _take_sample(self, _context: int | None, data: int, size: int) -> int:
        if size >= ctypes.sizeof(Identification):
            sample = Identification.from_address(data)
            self._events.append(
                IdentificationEvent(
                    key=sample.key,
                    inode=sample.inode,
                    pid=sample.pid,
                    comm=_text(sample.comm),
                    exec=sample.kind == IDENTIFIED_AT_FIRST_EXEC,
                    cgroups=tuple(_text(name.value) for name in sample.cgroups[: sample.cgroup_names]),
                )
            )
        return 0


def _text(raw: bytes) -> str:
    """Names come from pods: whatever bytes they hold, the result is text."""
    return raw.decode("utf-8", "backslashreplace")
