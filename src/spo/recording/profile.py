"""From an observation to a profile that holds what the program did, and nothing else."""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, Literal

from spo.api.meta import ObjectMeta
from spo.api.seccomp_profile import Action, Architecture, SeccompProfile, SeccompProfileSpec, Syscall
from spo.bpf.observation import Observation, Phase, SyscallClass
from spo.names import RUNTIME_BASE_ANNOTATION, SYSCALLS_BY_ARCHITECTURE_ANNOTATION
from spo.profiles import syscall_tables
from spo.recording.annotations import compact

Machine = Literal["x86_64", "aarch64"]
"""What ``uname -m`` says about the node."""

X32_BIT: Final = 0x40000000
"""__X32_SYSCALL_BIT of asm/unistd.h: part of the number in the table, not in the bitmap."""

ARCHITECTURES: Final[Mapping[Machine, Mapping[SyscallClass, Architecture]]] = MappingProxyType(
    {
        "x86_64": {
            SyscallClass.NATIVE: Architecture.X86_64,
            SyscallClass.COMPAT: Architecture.X86,
            SyscallClass.X32: Architecture.X32,
        },
        "aarch64": {SyscallClass.NATIVE: Architecture.AARCH64, SyscallClass.COMPAT: Architecture.ARM},
    }
)


def syscall_names(
    observation: Observation, machine: Machine, phase: Phase = Phase.PROGRAM
) -> dict[Architecture, frozenset[str]]:
    """Name the syscalls of one phase.

    Returns:
        The architectures that were seen, native first. Numbers without a name are left out, see
        :func:`unknown_numbers`.
    """
    return {
        architecture: frozenset(name for name in names.values() if name is not None)
        for architecture, names in _named(observation, machine, phase)
    }


def unknown_numbers(
    observation: Observation, machine: Machine, phase: Phase = Phase.PROGRAM
) -> dict[Architecture, frozenset[int]]:
    """Numbers that were seen and have no name: syscalls newer than the tables, or calls of nothing."""
    found = {
        architecture: frozenset(number for number, name in names.items() if name is None)
        for architecture, names in _named(observation, machine, phase)
    }
    return {architecture: numbers for architecture, numbers in found.items() if numbers}


def spec_of(
    observation: Observation,
    machine: Machine,
    *,
    base: Iterable[str] = (),
    default_action: Action = Action.ERRNO,
) -> SeccompProfileSpec:
    """Allow what the program did, and the syscalls of ``base``.

    Returns:
        One rule with the names of all classes, sorted; ``architectures`` has exactly the classes that were
        seen, and the native one with a base, for the container runtime makes native calls.
    """
    seen = syscall_names(observation, machine)
    base = frozenset(base)
    names = base.union(*seen.values())
    native = ARCHITECTURES[machine][SyscallClass.NATIVE]
    architectures = [*seen] if native in seen or not base else [native, *seen]
    return SeccompProfileSpec(
        default_action=default_action,
        architectures=[str(architecture) for architecture in architectures],
        syscalls=[Syscall(names=sorted(names), action=Action.ALLOW)] if names else [],
    )


def annotations_of(observation: Observation, machine: Machine, *, base: Iterable[str] = ()) -> dict[str, str]:
    """What the rules do not show: names per class if there are several; what only the runtime needs."""
    seen = syscall_names(observation, machine)
    annotations = {}
    if len(seen) > 1:
        by_architecture = {str(architecture): sorted(names) for architecture, names in seen.items()}
        annotations[SYSCALLS_BY_ARCHITECTURE_ANNOTATION] = compact(by_architecture)
    added = sorted(frozenset(base).difference(*seen.values()))
    if added:
        annotations[RUNTIME_BASE_ANNOTATION] = compact(added)
    return annotations


def profile_of(
    name: str,
    observation: Observation,
    machine: Machine,
    *,
    base: Iterable[str] = (),
    default_action: Action = Action.ERRNO,
) -> SeccompProfile:
    """The recorded profile as an object of this name, with its annotations."""
    base = frozenset(base)
    return SeccompProfile(
        metadata=ObjectMeta(name=name, annotations=annotations_of(observation, machine, base=base)),
        spec=spec_of(observation, machine, base=base, default_action=default_action),
    )


def warnings_of(observation: Observation, machine: Machine) -> tuple[str, ...]:
    """What somebody who uses the recorded profile should know."""
    return tuple(_warnings(observation, machine))


def _warnings(observation: Observation, machine: Machine) -> Iterator[str]:
    seen = syscall_names(observation, machine)
    if not seen:
        yield "no syscall was recorded: the profile refuses everything"
    if any("io_uring_setup" in names for names in seen.values()):
        yield (
            "io_uring_setup is allowed: what a program does through io_uring makes no syscalls, so it is "
            "neither recorded nor refused"
        )
    for architecture, numbers in unknown_numbers(observation, machine).items():
        shown = ", ".join(str(number) for number in sorted(numbers))
        yield f"syscalls of {architecture} without a known name are not in the profile: {shown}"


def _named(
    observation: Observation, machine: Machine, phase: Phase
) -> Iterator[tuple[Architecture, dict[int, str | None]]]:
    """The classes that were seen, with the name of every number; only their tables are loaded."""
    for kind, architecture in ARCHITECTURES[machine].items():
        numbers = observation.numbers(kind, phase)
        if numbers:
            table = syscall_tables.syscall_names(architecture)
            bit = X32_BIT if kind is SyscallClass.X32 else 0
            yield architecture, {number: table.get(number | bit) for number in numbers}
