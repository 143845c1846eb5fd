"""Load a seccomp filter and become another program, with no call of the interpreter in between.

A profile holds what a program does, not what Python does: after the filter is loaded there may be nothing
but execve(2). So everything is prepared before, both functions are called through ``ctypes.PyDLL``, which
does not touch the lock of the interpreter, and the garbage collector is off.
"""

import ctypes
import gc
import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from spo.cli.errors import ExitStatus
from spo.cli.inheritance import restore_signals
from spo.errors import SpoError
from spo.host.libseccomp import INSTRUCTION_BYTES

# linux/prctl.h, linux/seccomp.h, asm/unistd.h
PR_SET_NO_NEW_PRIVS: Final = 38
SECCOMP_SET_MODE_FILTER: Final = 1
SYS_SECCOMP: Final[Mapping[str, int]] = {"x86_64": 317, "aarch64": 277}
FILTER_FLAGS: Final[Mapping[str, int]] = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
}
_NO_FILE: Final = b""


class ConfinementError(SpoError):
    """The filter could not be loaded; nothing was started."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"the seccomp filter cannot be loaded: {self.problem}"


class _Program(ctypes.Structure):
    """``struct sock_fprog`` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def exec_confined(
    filter_program: bytes,
    path: str,
    arguments: Sequence[str],
    variables: Mapping[str, str],
    flags: Sequence[str] = (),
) -> NoReturn:
    """Become ``path`` under a filter, with no_new_privs.

    Args:
        filter_program: ``struct sock_filter`` after ``struct sock_filter``.
        path: the executable, already found.
        arguments: with the name of the program first.
        variables: of the environment.
        flags: words of the profile; those that need a listener are left out.

    Raises:
        ConfinementError: the kernel refused the filter.
    """
    number = SYS_SECCOMP.get(platform.machine())
    if number is None:
        raise ConfinementError(f"not supported on {platform.machine()}")
    library = ctypes.PyDLL(None, use_errno=True)
    syscall, execve = library.syscall, library.execve
    program = _Program(len(filter_program) // INSTRUCTION_BYTES, filter_program)
    load = (
        ctypes.c_long(number),
        ctypes.c_long(SECCOMP_SET_MODE_FILTER),
        ctypes.c_ulong(sum(FILTER_FLAGS.get(flag, 0) for flag in set(flags))),
        ctypes.byref(program),
    )
    start = (
        ctypes.c_char_p(os.fsencode(path)),
        _strings([os.fsencode(argument) for argument in arguments]),
        _strings([os.fsencode(f"{name}={value}") for name, value in variables.items()]),
    )
    if library.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise ConfinementError(f"no_new_privs: {os.strerror(ctypes.get_errno())}")
    restore_signals()
    gc.disable()
    execve(_NO_FILE, start[1], start[2])  # fails; the first call of a function prepares things
    if syscall(*load) == 0:
        execve(*start)
        _failed_under_the_filter(path, ctypes.get_errno())
    raise ConfinementError(os.strerror(ctypes.get_errno()))


def _failed_under_the_filter(path: str, number: int) -> NoReturn:
    """Nothing that the filter may refuse but these two calls."""
    os.write(2, f"Unable to run: {path}: execve under the filter: {os.strerror(number)}\n".encode())
    os._exit(ExitStatus.NOT_EXECUTABLE)


def _strings(items: Sequence[bytes]) -> Any:
    """``char *const []`` with the null at its end."""
    return (ctypes.c_char_p * (len(items) + 1))(*items, None)
