"""What two watchers of one execution saw, side by side. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from spo.bpf.observation import Observation, Phase, SyscallClass
from tests.fidelity.strace_log import Call, StraceLog, name_of


@dataclass(frozen=True, slots=True)
class Comparison:
    """The calls of one execution."""

    log: StraceLog
    recorded: frozenset[Call]

    @property
    def missing(self) -> frozenset[Call]:
        """Seen by strace, not recorded, and really begun by the kernel."""
        return frozenset(call for call in self._unrecorded if not self.log.never_returned(call))

    @property
    def of_the_tracer(self) -> frozenset[Call]:
        """Seen by strace only: it held the process before the kernel began the call, until it was killed."""
        return self._unrecorded - self.missing

    @property
    def extra(self) -> frozenset[Call]:
        """Recorded, not seen by strace."""
        return self.recorded - self.log.calls

    @property
    def _unrecorded(self) -> frozenset[Call]:
        return self.log.calls - self.recorded


def calls_of(observation: Observation, phase: Phase = Phase.PROGRAM) -> frozenset[Call]:
    """What was recorded in a phase, all classes."""
    return frozenset(
        (syscall_class, number)
        for syscall_class in SyscallClass
        for number in observation.numbers(syscall_class, phase)
    )


def names_of(calls: Iterable[Call]) -> list[str]:
    """Sorted names, for people."""
    return sorted(name_of(call) for call in calls)
