"""Checks of a profile that its CRD schema cannot make, or that must hold for what slipped past it."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from spo.api.seccomp_profile import Action, Architecture, Arg, Flag, Operator, SeccompProfileSpec, Syscall
from spo.names import LISTENER_DIR
from spo.profiles.errno_ret import InvalidProfileError, errno_number
from spo.profiles.filter_size import check_size
from spo.profiles.syscall_tables import all_syscall_names

__all__ = ["InvalidProfileError", "unknown_syscalls", "validate"]

ACTIONS: Final = frozenset(str(word) for word in Action)
ARCHITECTURES: Final = frozenset(str(word) for word in Architecture)
OPERATORS: Final = frozenset(str(word) for word in Operator)
FLAGS: Final = frozenset(str(word) for word in Flag)
ACTIONS_WITH_ERRNO: Final = frozenset({Action.ERRNO, Action.TRACE})
MAX_ARGS: Final = 6
"""Arguments a syscall has, and conditions an entry may have."""
MAX_VALUE: Final = 2**63 - 1
"""The API's integers are int64."""
MAX_NAMES_SHOWN: Final = 10
_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,128}")
_SOCKET_NAME: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.-]+")


def validate(spec: SeccompProfileSpec, *, strict_syscalls: bool = False) -> tuple[str, ...]:
    """Check a profile, after its base profiles were merged into it.

    Args:
        strict_syscalls: refuse syscalls that no architecture has, instead of a warning.

    Returns:
        Warnings for the status: the profile can be installed, but may not do what its author meant.

    Raises:
        InvalidProfileError: no filter can be made of it, or it would be a danger.
    """
    check_size(spec)
    _check_word("defaultAction", spec.default_action, ACTIONS)
    for index, architecture in enumerate(spec.architectures):
        _check_word(f"architectures[{index}]", architecture, ARCHITECTURES)
    for index, flag in enumerate(spec.flags):
        _check_word(f"flags[{index}]", flag, FLAGS)
    for index, entry in enumerate(spec.syscalls):
        _check_entry(f"syscalls[{index}]", entry)
    _check_listener(spec)
    if strict_syscalls and (unknown := unknown_syscalls(spec)):
        raise InvalidProfileError(
            "syscalls",
            f"no architecture has {_shown(unknown)}; correct the names, or set strictSyscalls: false in spod",
        )
    return tuple(_warnings(spec))


def unknown_syscalls(spec: SeccompProfileSpec) -> tuple[str, ...]:
    """Names that are a syscall on no architecture, sorted: container runtimes ignore them."""
    known = all_syscall_names()
    return tuple(sorted({name for entry in spec.syscalls for name in entry.names} - known))


def _check_word(field: str, word: str, words: frozenset[str]) -> None:
    if word not in words:
        raise InvalidProfileError(field, f"{word!r} is not one of {', '.join(sorted(words))}")


def _check_entry(field: str, entry: Syscall) -> None:
    _check_word(f"{field}.action", entry.action, ACTIONS)
    for name in entry.names:
        if not _NAME.fullmatch(name):
            raise InvalidProfileError(f"{field}.names", f"{name!r} cannot be the name of a syscall")
    errno_ret = errno_number(entry.errno_ret, f"{field}.errnoRet")
    if errno_ret is not None and entry.action not in ACTIONS_WITH_ERRNO:
        raise InvalidProfileError(
            f"{field}.errnoRet", f"{entry.action} returns no error; only SCMP_ACT_ERRNO and SCMP_ACT_TRACE do"
        )
    if len(entry.args) > MAX_ARGS:
        raise InvalidProfileError(f"{field}.args", f"{len(entry.args)} conditions; at most {MAX_ARGS} may be")
    for index, arg in enumerate(entry.args):
        _check_arg(f"{field}.args[{index}]", arg)


def _check_arg(field: str, arg: Arg) -> None:
    if not 0 <= arg.index < MAX_ARGS:
        raise InvalidProfileError(f"{field}.index", f"{arg.index} is not between 0 and {MAX_ARGS - 1}")
    for name, value in (("value", arg.value), ("valueTwo", arg.value_two)):
        if not 0 <= value <= MAX_VALUE:
            raise InvalidProfileError(f"{field}.{name}", f"{value} is not between 0 and {MAX_VALUE}")
    _check_word(f"{field}.op", arg.op, OPERATORS)


def _check_listener(spec: SeccompProfileSpec) -> None:
    path = spec.listener_path
    if path:
        directory, _, socket = path.rpartition("/")
        if directory != LISTENER_DIR or not _SOCKET_NAME.fullmatch(socket):
            raise InvalidProfileError("listenerPath", f"{path!r} is not a socket directly in {LISTENER_DIR}")
    elif Action.NOTIFY in _used_actions(spec):
        raise InvalidProfileError(
            "listenerPath", f"{Action.NOTIFY} needs a listener; name its socket in {LISTENER_DIR}"
        )


def _used_actions(spec: SeccompProfileSpec) -> set[str]:
    return {spec.default_action, *(entry.action for entry in spec.syscalls)}


def _warnings(spec: SeccompProfileSpec) -> Iterator[str]:
    unknown = unknown_syscalls(spec)
    if unknown:
        yield f"unknown syscalls, ignored by container runtimes: {_shown(unknown)}"
    if Architecture.NATIVE in spec.architectures:
        yield f"runc refuses {Architecture.NATIVE}; leave it out, the node's own architecture always counts"
    if spec.default_action == Action.NOTIFY:
        yield f"runc refuses {Action.NOTIFY} as defaultAction"
    for entry in spec.syscalls:
        if entry.action == Action.NOTIFY and "write" in entry.names:
            yield f"runc refuses {Action.NOTIFY} for write, which it needs itself to pass on the listener"
    for index, entry in enumerate(spec.syscalls):
        if not entry.names:
            yield f"syscalls[{index}] names no syscall"
    ambiguous = _ambiguous_names(spec)
    if ambiguous:
        yield f"several unconditional actions, of which one wins, for: {_shown(ambiguous)}"


def _ambiguous_names(spec: SeccompProfileSpec) -> list[str]:
    actions: dict[str, set[tuple[str, int | None]]] = {}
    for entry in spec.syscalls:
        if not entry.args:
            action = (entry.action, errno_number(entry.errno_ret, "errnoRet"))
            for name in entry.names:
                actions.setdefault(name, set()).add(action)
    return sorted(name for name, found in actions.items() if len(found) > 1)


def _shown(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMES_SHOWN
    return ", ".join(names[:MAX_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
