"""What a recorder has seen: numbers of syscalls by class and phase. Pure, and cheap to import."""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import ClassVar, Final

MAX_SYSCALLS: Final = 1024
"""Numbers of one class: bits of a bitmap. x32 counts without its bit 30, as the bitmap does."""


class SyscallClass(IntEnum):
    """Which table the number of a syscall belongs to."""

    NATIVE = 0
    """The 64-bit calls of the machine."""
    COMPAT = 1
    """32-bit calls: x86 on x86-64, arm on aarch64."""
    X32 = 2
    """x32 on x86-64."""


class Phase(IntEnum):
    """When a task made a syscall, seen from the container runtime."""

    RUNTIME = 0
    """Before the runtime loaded the container's filter; such calls need no rule."""
    RUNTIME_FILTERED = 1
    """Under the filter, by the runtime itself: before the task's first exec inside the container."""
    PROGRAM = 2
    """After that exec: the program that is recorded."""


class Observation:
    """Syscalls by class and phase. Immutable; ``|`` gives the union of two."""

    __slots__ = ("_seen",)

    EMPTY: ClassVar["Observation"]
    """Nothing was seen."""

    def __init__(self, seen: Mapping[tuple[SyscallClass, Phase], Iterable[int]]) -> None:
        """Take the numbers of each (class, phase); what is absent was not seen.

        Raises:
            ValueError: a number is not in 0..1023.
        """
        self._seen: Final = {key: frozenset(numbers) for key, numbers in seen.items() if numbers}
        for numbers in self._seen.values():
            if min(numbers) < 0 or max(numbers) >= MAX_SYSCALLS:
                raise ValueError(f"syscall numbers must be in 0..{MAX_SYSCALLS - 1}: {sorted(numbers)}")

    @classmethod
    def from_bitmaps(cls, bitmaps: Mapping[tuple[SyscallClass, Phase], bytes]) -> "Observation":
        """Read bitmaps of up to 128 bytes: number *n* is bit *n* % 8 of byte *n* // 8."""
        return cls(
            {
                key: [
                    index * 8 + bit
                    for index, byte in enumerate(bitmap)
                    if byte
                    for bit in range(8)
                    if byte >> bit & 1
                ]
                for key, bitmap in bitmaps.items()
            }
        )

    def numbers(self, syscall_class: SyscallClass, phase: Phase) -> frozenset[int]:
        """The syscalls of one class in one phase, each 0..1023."""
        return self._seen.get((syscall_class, phase), frozenset())

    def as_program(self) -> "Observation":
        """The same calls, all as those of the program: in a namespace that the program itself has made."""
        seen: dict[tuple[SyscallClass, Phase], frozenset[int]] = {}
        for (syscall_class, _), numbers in self._seen.items():
            key = (syscall_class, Phase.PROGRAM)
            seen[key] = seen.get(key, frozenset()) | numbers
        return Observation(seen)

    def __or__(self, other: object) -> "Observation":
        if not isinstance(other, Observation):
            return NotImplemented
        keys = self._seen.keys() | other._seen.keys()
        return Observation({key: self.numbers(*key) | other.numbers(*key) for key in keys})

    def __eq__(self, other: object) -> bool:
        return self._seen == other._seen if isinstance(other, Observation) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self._seen.items()))

    def __bool__(self) -> bool:
        return bool(self._seen)

    def __repr__(self) -> str:
        parts = (f"{c.name}/{p.name}: {sorted(numbers)}" for (c, p), numbers in sorted(self._seen.items()))
        return f"Observation({', '.join(parts)})"


Observation.EMPTY = Observation({})
