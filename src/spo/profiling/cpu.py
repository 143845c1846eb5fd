"""Where the process spends CPU time: a look at a thread whenever it has used another 10 ms of it.

Timers that run with CPU time send ``SIGPROF`` and ``SIGVTALRM``, so a process that sleeps is not woken.
"""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Final

from spo.profiling.pprof import Frame, Header, Sample, ValueType, encode
from spo.profiling.thread_timers import ThreadTimers, cpu_times

PERIOD_NS: Final = 10_000_000
DISCOVERY_NS: Final = 100_000_000
"""CPU time of the process after which new threads are looked for."""
MAX_FRAMES: Final = 64
"""Of one stack; the outermost are left out."""
MAX_STACKS: Final = 10_000
"""Different ones; what comes after them is counted together."""

_OTHER: Final = Frame("(other stacks)")
_UNSEEN: Final = Frame("(not seen: less than 10 ms of a thread, threads that have ended, native threads)")
_COMMENT: Final = (
    "CPU time of the process, user and system, by Python line. What native code uses counts for the line "
    "that called it. The profiler's own time is left out."
)
_TYPES: Final = (ValueType("samples", "count"), ValueType("cpu", "nanoseconds"))

_Stack = tuple[tuple[CodeType, int], ...]
"""Code and line, the innermost first."""


class CpuProfiler:
    """Takes one profile at a time; signals reach the main thread only, where this must be made."""

    def __init__(self) -> None:
        """Handle the signals from now on, which end a process otherwise; costs nothing until they come."""
        self._lock = threading.Lock()
        self._is_looking = self._is_changing = False
        self._stacks: dict[_Stack, list[int]] | None = None
        self._timers = ThreadTimers(PERIOD_NS, DISCOVERY_NS)
        self._other = [0, 0]
        self._used_ns: dict[int, int] = {}
        self._own_ns = 0
        self._begun_ns = self._begun_cpu_ns = self._begun_clock_ns = 0
        for number in (signal.SIGPROF, signal.SIGVTALRM):
            signal.signal(number, self._signalled)
            # A system call of a library that does not expect to be interrupted goes on.
            signal.siginterrupt(number, False)

    @property
    def is_running(self) -> bool:
        """Whether a profile is being taken."""
        return self._stacks is not None

    def start(self) -> None:
        """Begin; in any thread, and only if nothing :attr:`is_running`."""
        with self._unwatched():
            self._other, self._own_ns = [0, 0], 0
            threads = cpu_times()
            self._used_ns = {ident: used_ns for ident, (_, used_ns) in threads.items()}
            self._begun_ns, self._begun_clock_ns = time.time_ns(), time.monotonic_ns()
            self._begun_cpu_ns = time.process_time_ns()
            self._stacks = {}
            self._timers.follow(native_id for native_id, _ in threads.values())

    def stop(self) -> bytes:
        """End; the profile for ``go tool pprof``."""
        with self._unwatched():
            self._timers.follow(())
            stacks, self._stacks = self._stacks or {}, None
            total_ns = time.process_time_ns() - self._begun_cpu_ns - self._own_ns
        header = Header(
            sample_types=_TYPES,
            program=sys.executable,
            comment=_COMMENT,
            period_type=_TYPES[1],
            period=PERIOD_NS,
            time_ns=self._begun_ns,
            duration_ns=time.monotonic_ns() - self._begun_clock_ns,
        )
        modules = _module_names()
        samples = [Sample(_named(stack, modules), values) for stack, values in stacks.items()]
        if self._other[0]:
            samples.append(Sample((_OTHER,), self._other))
        seen_ns = sum(sample.values[1] for sample in samples)
        if total_ns > seen_ns:
            samples.append(Sample((_UNSEEN,), (0, total_ns - seen_ns)))
        return encode(header, samples)

    @contextmanager
    def _unwatched(self) -> Iterator[None]:
        """No look is under way, and none begins: in the main thread it would wait for itself."""
        self._is_changing = True
        with self._lock:
            yield
        self._is_changing = False

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        """Handler of the signals, in the main thread, between two of its instructions."""
        if self._is_looking or self._is_changing:
            return  # the first: a signal within the handler of another one
        self._is_looking = True
        try:
            with self._lock:
                if self._stacks is not None:  # else the signal was under way when the profile ended
                    self._look(self._stacks, number, frame)
        finally:
            self._is_looking = False

    def _look(self, stacks: dict[_Stack, list[int]], number: int, frame: FrameType | None) -> None:
        begun_ns = time.thread_time_ns()
        me = threading.get_ident()
        threads = cpu_times()
        if number == signal.SIGPROF:
            self._spent(stacks, me, begun_ns, frame)
        else:
            frames = sys._current_frames()  # the one way to see other threads
            for ident in threads.keys() - {me}:
                self._spent(stacks, ident, threads[ident][1], frames.get(ident))
        self._timers.follow(native_id for native_id, _ in threads.values())
        own_ns = time.thread_time_ns() - begun_ns
        self._own_ns += own_ns
        self._used_ns[me] = self._used_ns.get(me, 0) + own_ns

    def _spent(
        self, stacks: dict[_Stack, list[int]], ident: int, used_ns: int, place: FrameType | None
    ) -> None:
        """What a thread has used since it was seen last, if that is why there was a signal."""
        spent_ns = used_ns - self._used_ns.get(ident, 0)
        if spent_ns < 0:
            self._used_ns[ident] = 0  # another thread than the one that was called so
        elif spent_ns >= PERIOD_NS and place is not None:
            self._used_ns[ident] = used_ns
            self._count(stacks, _stack(place), spent_ns)

    def _count(self, stacks: dict[_Stack, list[int]], stack: _Stack, spent_ns: int) -> None:
        values = stacks.get(stack)
        if values is None:
            values = self._other
            if len(stacks) < MAX_STACKS:
                values = stacks[stack] = [0, 0]
        values[0] += 1
        values[1] += spent_ns


def _stack(frame: FrameType | None) -> _Stack:
    found: list[tuple[CodeType, int]] = []
    while frame is not None and len(found) < MAX_FRAMES:
        found.append((frame.f_code, frame.f_lineno or 0))
        frame = frame.f_back
    return tuple(found)


def _named(stack: _Stack, modules: dict[str, str]) -> tuple[Frame, ...]:
    return tuple(
        Frame(f"{modules.get(code.co_filename, '')}.{code.co_qualname}".lstrip("."), code.co_filename, line)
        for code, line in stack
    )


def _module_names() -> dict[str, str]:
    """File -> module, of all that are imported."""
    found = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str):
            found[file] = name
    return found
