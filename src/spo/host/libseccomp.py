"""Try out profiles with libseccomp, the library by which container runtimes make the kernel's filter."""

import ctypes
import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Final, Protocol, Self

from msgspec import structs

from spo.api.seccomp_profile import Action, Arg, Operator, SeccompProfileSpec, Syscall
from spo.errors import SpoError, TerminalError

SONAME: Final = "libseccomp.so.2"
MAX_INSTRUCTIONS: Final = 4096
"""BPF_MAXINSNS of linux/bpf_common.h: the kernel takes no longer filter."""
INSTRUCTION_BYTES: Final = 8
"""sizeof(struct sock_filter)"""
UNKNOWN_SYSCALL: Final = -1
"""__NR_SCMP_ERROR of seccomp.h"""

# SCMP_ACT_* and SCMP_CMP_* of seccomp.h; the low 16 bits of an action are its errno.
_ACTIONS: Final[dict[str, int]] = {
    Action.KILL: 0,
    Action.KILL_THREAD: 0,
    Action.KILL_PROCESS: 0x80000000,
    Action.TRAP: 0x00030000,
    Action.ERRNO: 0x00050000,
    Action.TRACE: 0x7FF00000,
    Action.LOG: 0x7FFC0000,
    Action.ALLOW: 0x7FFF0000,
    Action.NOTIFY: 0x7FC00000,
}
_OPERATORS: Final[dict[str, int]] = {
    Operator.NE: 1,
    Operator.LT: 2,
    Operator.LE: 3,
    Operator.EQ: 4,
    Operator.GE: 5,
    Operator.GT: 6,
    Operator.MASKED_EQ: 7,
}
_ACTIONS_WITH_ERRNO: Final = frozenset({Action.ERRNO, Action.TRACE})


class LibseccompMissingError(SpoError):
    """The library is not installed."""

    def __str__(self) -> str:
        return f"{SONAME} not found; install libseccomp (Debian: libseccomp2)"


class FilterBuildError(TerminalError):
    """libseccomp, or the kernel, would refuse the filter of a profile, and with it every container."""

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(part, reason)
        self.part = part
        self.reason = reason

    def __str__(self) -> str:
        return f"no seccomp filter can be built: {self.part}: {self.reason}"


class _Condition(ctypes.Structure):
    """``struct scmp_arg_cmp``."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


class _Function(Protocol):
    def __call__(self, *args: Any) -> int: ...


class Libseccomp:
    """The functions of the library that are used here."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._init = _typed(library, "seccomp_init", ctypes.c_void_p, ctypes.c_uint32)
        self._release = _typed(library, "seccomp_release", None, ctypes.c_void_p)
        self._arch_native = _typed(library, "seccomp_arch_native", ctypes.c_uint32)
        self._arch_resolve_name = _typed(
            library, "seccomp_arch_resolve_name", ctypes.c_uint32, ctypes.c_char_p
        )
        self._arch_add = _typed(library, "seccomp_arch_add", ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32)
        self._resolve_name_arch = _typed(
            library, "seccomp_syscall_resolve_name_arch", ctypes.c_int, ctypes.c_uint32, ctypes.c_char_p
        )
        self._rule_add_array = _typed(
            library,
            "seccomp_rule_add_array",
            ctypes.c_int,
            *(ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p),
        )
        self._export_bpf = _typed(library, "seccomp_export_bpf", ctypes.c_int, ctypes.c_void_p, ctypes.c_int)

    @classmethod
    def load(cls) -> Self:
        """Find the installed library.

        Raises:
            LibseccompMissingError: there is none.
        """
        try:
            return cls(ctypes.CDLL(SONAME))
        except OSError as error:
            raise LibseccompMissingError from error

    def architecture(self, word: str) -> int | None:
        """Token of ``SCMP_ARCH_...``; ``None`` if the library does not know it."""
        if word == "SCMP_ARCH_NATIVE":
            return self._arch_native()
        token = self._arch_resolve_name(word.removeprefix("SCMP_ARCH_").lower().encode())
        return token or None

    def syscall_number(self, name: str, architecture: int) -> int | None:
        """Number of a syscall, negative if it has none there; ``None`` if the library knows no such name."""
        number = self._resolve_name_arch(architecture, name.encode())
        return None if number == UNKNOWN_SYSCALL else number

    @contextmanager
    def filter(self, default_action: int) -> Iterator[int]:
        """A new filter; released at the end."""
        context = self._init(default_action)
        if not context:
            raise FilterBuildError("defaultAction", "refused by libseccomp")
        try:
            yield context
        finally:
            self._release(context)

    def add_architecture(self, context: int, token: int) -> int:
        """Return 0 or an errno."""
        return -self._arch_add(context, token)

    def add_rule(self, context: int, action: int, number: int, conditions: list[Arg]) -> int:
        """Return 0 or an errno."""
        array = (_Condition * len(conditions))(*(_condition(arg) for arg in conditions))
        return -self._rule_add_array(context, action, number, len(conditions), array)

    def export(self, context: int) -> bytes:
        """The filter as the kernel takes it, ``struct sock_filter`` after ``struct sock_filter``.

        One that is longer than the kernel takes is cut, but still longer than that.
        """
        # A pipe holds 16 pages: more than the longest filter, and a write beyond that ends early.
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            result = self._export_bpf(context, writer)
            if result < 0:
                raise FilterBuildError("filter", os.strerror(-result))
            return os.read(reader, (MAX_INSTRUCTIONS + 1) * INSTRUCTION_BYTES)
        finally:
            os.close(reader)
            os.close(writer)


@cache
def libseccomp() -> Libseccomp:
    """The library, loaded at the first call."""
    return Libseccomp.load()


def check_filter(spec: SeccompProfileSpec) -> None:
    """Build the filter of a validated profile as runc does, and throw it away.

    As in runc, rules that repeat the default action, and syscalls and architectures that this libseccomp
    does not know, are left out.

    Raises:
        FilterBuildError: a container with this profile could not start.
        LibseccompMissingError: nothing can be tried out on this node.
    """
    build_filter(spec)


def build_filter(spec: SeccompProfileSpec, newer_syscalls: Mapping[str, int] | None = None) -> bytes:
    """The filter that :func:`check_filter` tries out, for seccomp(2).

    Args:
        spec: a validated profile.
        newer_syscalls: numbers on this machine of syscalls that this libseccomp may not know yet. It takes
            them only if the profile has no second architecture; otherwise they are left out.

    Returns:
        ``struct sock_filter`` after ``struct sock_filter``.

    Raises:
        FilterBuildError: libseccomp or the kernel would refuse the filter.
        LibseccompMissingError: there is no libseccomp.
    """
    library = libseccomp()
    default = _action(spec.default_action, None)
    with library.filter(default) as context:
        for word in spec.architectures:
            token = library.architecture(word)
            failure = library.add_architecture(context, token) if token else 0
            if failure not in {0, errno.EEXIST}:
                raise FilterBuildError(word, f"does not go with this machine ({os.strerror(failure)})")
        rules = _Rules(library, context, default, newer_syscalls or {})
        for index, entry in enumerate(_without_repetitions(spec.syscalls)):
            rules.add(entry, f"syscalls[{index}]")
        program = library.export(context)
    if len(program) > MAX_INSTRUCTIONS * INSTRUCTION_BYTES:
        raise FilterBuildError(
            "syscalls", f"the filter has more than the {MAX_INSTRUCTIONS} instructions that the kernel takes"
        )
    return program


def _without_repetitions(entries: Sequence[Syscall]) -> Iterator[Syscall]:
    """The entries in their places, without unconditional rules that were there before.

    They change nothing, but libseccomp takes longer for each one.
    """
    seen: set[tuple[str, str, str]] = set()
    for entry in entries:
        if entry.args:
            yield entry
            continue
        rules = {name: (name, entry.action, str(entry.errno_ret)) for name in entry.names}
        yield structs.replace(entry, names=[name for name, rule in rules.items() if rule not in seen])
        seen.update(rules.values())


class _Rules:
    """Adds the entries of a profile to a filter."""

    def __init__(self, library: Libseccomp, context: int, default: int, newer: Mapping[str, int]) -> None:
        self._library = library
        self._context = context
        self._default = default
        self._newer = newer
        self._native = library.architecture("SCMP_ARCH_NATIVE") or 0

    def add(self, entry: Syscall, field: str) -> None:
        """Add the rules of one entry.

        Raises:
            FilterBuildError: libseccomp refuses one.
        """
        action = _action(entry.action, entry.errno_ret)
        if action == self._default:
            return
        for name in entry.names:
            known = self._library.syscall_number(name, self._native)
            number = self._newer.get(name) if known is None else known
            if number is None:
                continue
            for conditions in _alternatives(entry.args):
                failure = self._library.add_rule(self._context, action, number, conditions)
                if failure and known is not None:
                    raise FilterBuildError(f"{field}, {name}", os.strerror(failure))


def _alternatives(args: list[Arg]) -> list[list[Arg]]:
    """All conditions together; or, if two look at one argument, each alone, any of which then suffices."""
    if len({arg.index for arg in args}) < len(args):
        return [[arg] for arg in args]
    return [args]


def _action(word: str, errno_ret: int | str | None) -> int:
    if word not in _ACTIONS_WITH_ERRNO:
        return _ACTIONS[word]
    return _ACTIONS[word] | (errno.EPERM if errno_ret in {None, ""} else int(errno_ret or 0))


def _condition(arg: Arg) -> _Condition:
    return _Condition(arg.index, _OPERATORS[arg.op], arg.value, arg.value_two)


def _typed(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> _Function:
    function = library[name]
    function.restype = result
    function.argtypes = arguments
    return function
