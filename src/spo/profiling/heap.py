"""What memory is used for: all objects by their type, or what was allocated in a while by line."""

import gc
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from spo.profiling.pprof import Frame, Header, Sample, ValueType, encode

MAX_OBJECTS: Final = 2_000_000
"""That are looked at; each takes up to 80 bytes while this goes on."""
MAX_FRAMES: Final = 4
"""Of one allocation. Allocating takes 10 times as long with one, 20 times with four, 30 times with eight."""
MAX_PLACES: Final = 20_000
"""Different stacks that a profile tells apart: those with the most memory."""

_TYPES: Final = (ValueType("inuse_objects", "count"), ValueType("inuse_space", "bytes"))
_STATM: Final = Path("/proc/self/statm")
_REST: Final = Frame("(not Python objects: the interpreter, libraries, memory that is kept for later)")
_UNVISITED: Final = Frame("(objects that were not looked at)")
_CENSUS: Final = (
    "All Python objects, by type; what the garbage collector does not follow, such as str and bytes, below a "
    "type that holds it. Where they were allocated is not known: ask with ?seconds=N for that."
)
_TRACED: Final = (
    "Memory that Python has allocated in this time and still holds, by the line that allocated it. What was "
    "there before and what libraries allocate themselves is left out."
)
_OTHER: Final = Frame("(other stacks)")

_Counts = dict[tuple[str, str], list[int]]
"""(type, type of the holder or nothing) -> number, bytes."""


def census() -> bytes:
    """All objects that there are, by type: takes some tenths of a second, in which others get to work too."""
    begun_ns = time.time_ns()
    counts: _Counts = {}
    visited = 0
    names: dict[type, str] = {}
    for kind, holder, size in _objects():
        visited += 1
        key = (_name(kind, names), "" if holder is None else _name(holder, names))
        found = counts.get(key)
        if found is None:
            found = counts[key] = [0, 0]
        found[0] += 1
        found[1] += size
        if visited == MAX_OBJECTS:
            break
    samples = [
        Sample((Frame(name), Frame(holder)) if holder else (Frame(name),), found)
        for (name, holder), found in counts.items()
    ]
    rest = _resident_bytes() - sum(found[1] for found in counts.values())
    if rest > 0:
        samples.append(Sample((_UNVISITED if visited == MAX_OBJECTS else _REST,), (0, rest)))
    return encode(_header(_CENSUS, begun_ns), samples)


def _objects() -> Iterator[tuple[type, type | None, int]]:
    """Type, type of the holder if the collector does not know the object itself, and bytes of each object."""
    tracked = gc.get_objects()
    seen: set[int] = set()
    for one in tracked:
        if one is tracked or one is seen:
            continue
        holder = type(one)
        yield holder, None, sys.getsizeof(one, 0)
        waiting = gc.get_referents(one)
        while waiting:
            held = waiting.pop()
            if gc.is_tracked(held) or id(held) in seen:
                continue
            seen.add(id(held))
            yield type(held), holder, sys.getsizeof(held, 0)
            waiting += gc.get_referents(held)


def _name(kind: type, names: dict[type, str]) -> str:
    name = names.get(kind)
    if name is None:
        name = names[kind] = f"{kind.__module__}.{kind.__qualname__}"
    return name


def _resident_bytes() -> int:
    """Memory of the process; 0 where that cannot be read."""
    try:
        return int(_STATM.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


class AllocationTrace:
    """Notes from now on where memory is allocated, which makes a process some times slower."""

    def __init__(self) -> None:
        import tracemalloc  # noqa: PLC0415 - 2 MB that nothing else needs

        self._begun_ns, self._begun_clock_ns = time.time_ns(), time.monotonic_ns()
        self._tracemalloc = tracemalloc
        tracemalloc.start(MAX_FRAMES)

    def stop(self) -> bytes:
        """End; the profile for ``go tool pprof``."""
        snapshot = self._tracemalloc.take_snapshot()
        self._tracemalloc.stop()
        duration_ns = time.monotonic_ns() - self._begun_clock_ns
        own = self._tracemalloc.Filter(False, self._tracemalloc.__file__)
        found = snapshot.filter_traces((own,)).statistics("traceback")  # the most memory first
        samples = [
            Sample(
                [_place(frame.filename, frame.lineno) for frame in reversed(one.traceback)],
                (one.count, one.size),
            )
            for one in found[:MAX_PLACES]
        ]
        if rest := found[MAX_PLACES:]:
            samples.append(Sample((_OTHER,), (sum(one.count for one in rest), sum(one.size for one in rest))))
        return encode(_header(_TRACED, self._begun_ns, duration_ns), samples)

    def abandon(self) -> None:
        """End without a profile."""
        self._tracemalloc.stop()


def _place(file: str, line: int) -> Frame:
    """Named after the end of the path: tracemalloc knows no functions."""
    return Frame(f"{'/'.join(file.split('/')[-3:])}:{line}", file, line)


def _header(comment: str, time_ns: int, duration_ns: int = 0) -> Header:
    return Header(
        sample_types=_TYPES,
        program=sys.executable,
        comment=comment,
        period_type=_TYPES[1],
        period=1,
        time_ns=time_ns,
        duration_ns=duration_ns,
    )
