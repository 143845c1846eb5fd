"""Pure: the file in which an OCI hook leaves what it has recorded of one container.

It is the profile that container runtimes read. Our own hook adds two keys, which runtimes ignore: the
container, for several may be told to use one name, and the syscalls that only the runtime made.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from spo.api.seccomp_profile import Action, Architecture, SeccompProfileSpec
from spo.bpf.observation import MAX_SYSCALLS, Observation, Phase, SyscallClass
from spo.errors import SpoError
from spo.profiles.oci import OciProfile, render
from spo.profiles.syscall_tables import syscall_names
from spo.recording.profile import ARCHITECTURES, X32_BIT, Machine

_REFUSING: Final = frozenset(
    {Action.ERRNO, Action.KILL, Action.KILL_PROCESS, Action.KILL_THREAD, Action.TRAP}
)
_SHOWN: Final = 100


class HookContentError(SpoError):
    """A file is not what a hook leaves."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return self.problem


class HookFile(OciProfile, rename="camel", omit_defaults=True, kw_only=True):
    """The file."""

    container_id: str = ""
    """The container that was recorded; empty: the hook does not say."""
    runtime_base: list[str] = msgspec.field(default_factory=list)
    """Syscalls that only the container runtime made; empty: the hook does not tell them apart."""


class Recorded(NamedTuple):
    """What a hook has recorded."""

    container_id: str
    """Empty if the hook does not say."""
    observation: Observation
    unknown: tuple[str, ...]
    """Names that no architecture of this machine has, sorted."""


def render_recording(spec: SeccompProfileSpec, container_id: str, runtime_base: Iterable[str]) -> bytes:
    """The file of our own hook.

    Args:
        spec: the profile, with the syscalls of ``runtime_base`` that the program has not made, too.

    Raises:
        InvalidProfileError: an errnoRet is no number.
    """
    profile = msgspec.json.decode(render(spec), type=HookFile)
    complete = msgspec.structs.replace(
        profile, container_id=container_id, runtime_base=sorted(frozenset(runtime_base))
    )
    return msgspec.json.encode(complete)


def parse_recording(content: bytes, machine: Machine) -> Recorded:
    """Read a file, of our own hook or of oci-seccomp-bpf-hook.

    Args:
        machine: on which it was recorded.

    Raises:
        HookContentError: it is no profile, or one that no hook makes; the message names the field.
    """
    try:
        file = msgspec.json.decode(content, type=HookFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HookContentError(f"is no profile: {error}") from error
    if file.default_action not in _REFUSING:
        shown = file.default_action[:_SHOWN]
        raise HookContentError(f"defaultAction: {shown!r} refuses nothing; a recording has {Action.ERRNO}")
    base = frozenset(file.runtime_base)
    names = _allowed(file)
    kinds = _kinds(file.architectures, machine)
    seen: dict[tuple[SyscallClass, Phase], list[int]] = {}
    unknown = set(names)
    for kind, architecture in kinds.items():
        numbers = _numbers(kind, architecture)
        of_program = names - base
        seen[kind, Phase.PROGRAM] = [numbers[name] for name in of_program if name in numbers]
        if kind is SyscallClass.NATIVE:
            seen[kind, Phase.RUNTIME_FILTERED] = [numbers[name] for name in names & base if name in numbers]
        unknown -= numbers.keys()
    return Recorded(file.container_id, Observation(seen), tuple(sorted(unknown)))


def _allowed(file: HookFile) -> frozenset[str]:
    names: set[str] = set()
    for index, rule in enumerate(file.syscalls):
        if rule.action != Action.ALLOW or rule.args:
            field = "args" if rule.args else "action"
            raise HookContentError(f"syscalls[{index}].{field}: a recording only allows, without conditions")
        names.update(rule.names)
    return frozenset(names)


def _kinds(architectures: list[str], machine: Machine) -> Mapping[SyscallClass, Architecture]:
    known = ARCHITECTURES[machine]
    foreign = [one for one in architectures if one not in known.values()]
    if foreign:
        raise HookContentError(f"architectures: {foreign[0][:_SHOWN]!r} is none of this machine, {machine}")
    if not architectures:
        return {SyscallClass.NATIVE: known[SyscallClass.NATIVE]}
    return {kind: one for kind, one in known.items() if one in architectures}


def _numbers(kind: SyscallClass, architecture: Architecture) -> dict[str, int]:
    """Name -> number as bitmaps count it."""
    bit = X32_BIT if kind is SyscallClass.X32 else 0
    numbers = {name: number & ~bit for number, name in syscall_names(architecture).items()}
    return {name: number for name, number in numbers.items() if 0 <= number < MAX_SYSCALLS}
