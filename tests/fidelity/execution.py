"""Run a program once, alone or watched: a child waits on a pipe until every watcher is attached, then execs.

with Execution(command, place, log) as execution:     # the child exists and waits
    execution.attach_strace(path)                     # optional
    recorder.add_process(execution.pid)               # optional
    execution.release()
    status = execution.wait()                         # all descendants are gone, too
"""

import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fidelity.program import TIMEOUT_S, NotReadyError, Place, eventually

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)


def environment(place: Place) -> dict[str, str]:
    """The whole environment of a program: nothing of the machine or the user gets in."""
    folder = str(place.folder)
    return {"PATH": PATH, "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8", "TZ": "UTC"}


class Strace:
    """strace, attached to a process and what it starts from now on."""

    def __init__(self, pid: int, log: Path) -> None:
        self._pid = pid
        self._log = log

    def __enter__(self) -> Self:
        options = ("-f", "-n", "--quiet=attach", "-s0", "-o", str(self._log))
        self._process = subprocess.Popen(("strace", *options, "-p", str(self._pid)), stdin=subprocess.DEVNULL)
        eventually("strace attaches", lambda: _tracer(self._pid) == self._process.pid)
        return self

    def follows(self, call: bytes) -> None:
        """Wait until a call of the process is in the log: being attached is not yet following."""
        eventually("strace follows", lambda: self._log.exists() and call in self._log.read_bytes())

    def wait(self) -> None:
        """Wait until everything it traces has ended, and the log is complete."""
        self._process.wait(timeout=TIMEOUT_S)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait()


class Execution:
    """One execution of a program.

    Between this process and the program stands a supervisor: it adopts what the program leaves behind
    and ends when the last descendant has ended, so a recording is read when nothing can be added to it.
    """

    def __init__(self, command: Sequence[str], place: Place) -> None:
        executable = shutil.which(command[0], path=PATH)
        if executable is None:
            raise FileNotFoundError(f"{command[0]} is not installed; `make fidelity` installs it")
        self._argv = [executable, *command[1:]]
        self.place = place
        self.pid = 0
        self._strace: Strace | None = None
        self._status: int | None = None

    def __enter__(self) -> Self:
        gate_read, self._gate = os.pipe()
        told_read, told_write = os.pipe()
        self._supervisor = os.fork()
        if self._supervisor == 0:
            os.close(self._gate)
            os.close(told_read)
            _supervise(self._argv, self.place, gate_read, told_write)
        os.close(gate_read)
        os.close(told_write)
        self._told = told_read
        self.pid = int(os.read(told_read, 16))
        return self

    def attach_strace(self, log: Path) -> None:
        """Let strace follow the program from before its execve; returns when it does."""
        self._strace = Strace(self.pid, log).__enter__()
        os.write(self._gate, b"1")
        self._strace.follows(b"write(")

    def release(self) -> None:
        """Let the program start."""
        os.write(self._gate, b"0")

    def running(self) -> bool:
        """Whether the program itself still runs."""
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
        return state != "Z"

    def wait(self, timeout_s: float = TIMEOUT_S) -> int:
        """Wait for the program and all its descendants.

        Returns:
            the exit status of the program; negative: the signal that ended it.

        Raises:
            NotReadyError: it did not end in time.
        """
        deadline = time.monotonic() + timeout_s
        while self._status is None:
            done, status = os.waitpid(self._supervisor, os.WNOHANG)
            if done:
                self._status = _signed(int(os.read(self._told, 16) or b"-1"))
                assert status == 0
            elif time.monotonic() > deadline:
                raise NotReadyError(f"{self._argv[0]} did not end within {timeout_s:g} s")
            else:
                time.sleep(0.005)
        if self._strace is not None:
            self._strace.wait()
        return self._status

    def output(self) -> str:
        """What the program printed."""
        return (self.place.folder.parent / "stdout").read_text(errors="replace")

    def complaints(self) -> str:
        """What it printed on the second channel."""
        return (self.place.folder.parent / "stderr").read_text(errors="replace")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is None:
            _kill_descendants(self._supervisor)
            os.waitpid(self._supervisor, 0)
        if self._strace is not None:
            self._strace.__exit__(kind, error, trace)
        os.close(self._gate)
        os.close(self._told)


def _supervise(argv: Sequence[str], place: Place, gate: int, told: int) -> None:
    """The life of the supervisor; does not return."""
    try:
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        program = os.fork()
        if program == 0:
            _become(argv, place, gate)
        os.close(gate)
        os.write(told, f"{program:16d}".encode())
        result = 0
        while True:
            try:
                pid, status = os.wait()
            except ChildProcessError:
                break
            if pid == program:
                result = status
        os.write(told, f"{result:16d}".encode())
    finally:
        os._exit(0)


def _become(argv: Sequence[str], place: Place, gate: int) -> None:
    """Wait for the watchers, then be the program; does not return."""
    try:
        os.chdir(place.folder)
        for name, descriptor in (("stdout", 1), ("stderr", 2)):
            target = os.open(place.folder.parent / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            os.dup2(target, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.setsid()
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        while os.read(gate, 1) == b"1":
            os.write(2, b"")
        os.execve(argv[0], argv, environment(place))
    finally:
        os._exit(127)


def _signed(status: int) -> int:
    return os.waitstatus_to_exitcode(status) if status >= 0 else -1


def _tracer(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("TracerPid:"):
            return int(line.split()[1])
    return 0


def _kill_descendants(pid: int) -> None:
    """End what a supervisor still waits for; it ends by itself then."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return
    for child in children:
        _kill_descendants(int(child))
        try:
            os.kill(int(child), signal.SIGKILL)
        except ProcessLookupError:
            continue
