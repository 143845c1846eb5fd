"""Start a command that waits for a sign before it becomes the program: so that nothing of it is missed."""

import os
import pwd
import resource
import shutil
import signal
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NoReturn, Self

from spo.cli.inheritance import restore_signals
from spo.errors import SpoError

_START: Final = b"\x01"
_ERRNO_BYTES: Final = 4
_ID_MAX: Final = 2**32 - 2
"""The number above means: none."""


class CommandError(SpoError):
    """The command cannot be executed."""

    def __init__(self, command: str, reason: str) -> None:
        super().__init__(command, reason)
        self.command = command
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.command or repr('')}: {self.reason}"


@dataclass(frozen=True, slots=True)
class User:
    """Who the command runs as."""

    uid: int
    gid: int
    name: str

    @classmethod
    def behind_sudo(cls, env: Mapping[str, str]) -> Self | None:
        """Who called sudo; None without sudo, or when root did."""
        try:
            uid, gid = int(env["SUDO_UID"]), int(env["SUDO_GID"])
        except (KeyError, ValueError):
            return None
        valid = 0 < uid <= _ID_MAX and 0 <= gid <= _ID_MAX
        return cls(uid, gid, env.get("SUDO_USER", "")) if valid else None

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """``env`` as this user expects it: without what sudo has put in."""
        changed = {name: value for name, value in env.items() if not name.startswith("SUDO_")}
        try:
            home = pwd.getpwuid(self.uid).pw_dir
        except KeyError:
            home = "/"
        return changed | {"HOME": home, "USER": self.name, "LOGNAME": self.name}


class HeldProcess:
    """A child that is there, and executes its command only when it is released."""

    def __init__(self, command: str, pid: int, gate: int, report: int) -> None:
        self.pid = pid
        self._command = command
        self._gate = gate
        self._report = report

    @classmethod
    def start(
        cls,
        arguments: Sequence[str],
        env: Mapping[str, str],
        user: User | None = None,
        mask: Iterable[int] = (),
    ) -> Self:
        """Make the child.

        Args:
            arguments: the command first.
            env: its variables.
            user: whom it runs as; None: as ourselves.
            mask: the signals it finds blocked.

        Raises:
            CommandError: there is no such command, or it may not be executed.
        """
        path = _executable(arguments[0], env)
        # Ignored, it would take away how the child ended.
        on_child = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        gate_read, gate_write = os.pipe()
        report_read, report_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(gate_write)
            os.close(report_read)
            signal.signal(signal.SIGCHLD, on_child or signal.SIG_DFL)
            _become(path, arguments, env, user, mask, gate_read, report_write)
        os.close(gate_read)
        os.close(report_write)
        return cls(arguments[0], pid, gate_write, report_read)

    def release(self) -> None:
        """Let the child execute its command, and wait until it has, or a signal has ended it.

        Raises:
            CommandError: it could not; the child has ended.
        """
        with suppress(BrokenPipeError):
            os.write(self._gate, _START)
        os.close(self._gate)
        failure = os.read(self._report, _ERRNO_BYTES)
        os.close(self._report)
        if failure:
            os.waitpid(self.pid, 0)
            raise CommandError(self._command, os.strerror(int.from_bytes(failure, "little")))

    def discard(self) -> None:
        """End the child without executing anything."""
        os.close(self._gate)
        os.close(self._report)
        os.waitpid(self.pid, 0)


def end_like(status: int) -> NoReturn:
    """End this process as a child ended: with its exit code, or by its signal.

    Args:
        status: what ``os.waitpid`` gave.
    """
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        # The core dump, if any, is the program's; ours would replace it.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 128 - code)


def _executable(command: str, env: Mapping[str, str]) -> str:
    path = shutil.which(command, path=env.get("PATH", os.defpath))
    if path is not None:
        return path
    if "/" not in command:
        raise CommandError(command, "command not found")
    if os.path.isdir(command):  # noqa: PTH112 - a name as typed, not a path of ours
        raise CommandError(command, "is a directory")
    raise CommandError(command, "not executable" if os.path.exists(command) else "no such file")  # noqa: PTH110 - as above


def _become(
    path: str,
    arguments: Sequence[str],
    env: Mapping[str, str],
    user: User | None,
    mask: Iterable[int],
    gate: int,
    report: int,
) -> NoReturn:
    """In the child: change user, wait for the sign, execute."""
    try:
        restore_signals()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if user is not None:
            os.initgroups(user.name, user.gid) if user.name else os.setgroups([])
            os.setgid(user.gid)
            os.setuid(user.uid)
        if os.read(gate, 1) == _START:
            os.execve(path, [*arguments], env)  # noqa: S606 - to execute it is what the user asks for
    except OSError as error:
        os.write(report, (error.errno or 0).to_bytes(_ERRNO_BYTES, "little"))
    finally:
        os._exit(1)
