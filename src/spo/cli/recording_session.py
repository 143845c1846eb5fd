"""The three ways to record on a single machine: a command, running processes, a container."""

import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from spo.bpf.observation import Observation
from spo.bpf.recorder import Losses, Recorder
from spo.cli.held_process import CommandError, HeldProcess, User
from spo.errors import SpoError
from spo.recording.identity import container_of, container_of_proc

PROC: Final = Path("/proc")
TICK_S: Final = 0.25
OTHERS_MAX: Final = 1024
"""Namespaces of others that the map, of 4,096, may hold; one that still lives comes again."""
_ENDING: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
_PASSED_ON: Final = _ENDING | {signal.SIGUSR1, signal.SIGUSR2}
_FROM_TERMINAL: Final = 0x80
"""SI_KERNEL: the whole foreground process group has the signal."""

Progress = Callable[[Observation], None]
"""Told what was seen so far, a few times per second."""


class NoSuchProcessError(SpoError):
    """Nothing to record: the process is not there."""

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self.pid = pid

    def __str__(self) -> str:
        return f"--pid {self.pid}: no such process"


@dataclass(frozen=True, slots=True)
class Recorded:
    """What came out of a session."""

    observation: Observation
    losses: Losses
    seconds: float
    notes: tuple[str, ...] = ()
    """What the user must know about the completeness."""
    status: int | None = None
    """How the command ended, as ``os.waitpid`` says; None when none was started."""


def record_command(
    recorder: Recorder,
    arguments: Sequence[str],
    env: Mapping[str, str],
    *,
    user: User | None,
    progress: Progress,
) -> Recorded:
    """Record a command with all its descendants, from its execve until it ends.

    Raises:
        CommandError: it cannot be executed.
    """
    with signals_held() as signals:
        recorder.attach()
        held = HeldProcess.start(arguments, env, user, signals.mask)
        started = time.monotonic()
        try:
            recorder.add_process(held.pid)
            if signal.sigpending() & signals.ending:
                # Ctrl-C that came before there was a child to have it.
                raise KeyboardInterrupt
        except BaseException:
            held.discard()
            raise
        held.release()
        status = _wait_for_child(held.pid, signals, lambda: progress(recorder.tree()))
        seconds = time.monotonic() - started
        recorder.detach()
        signals.drop()
        left = recorder.tree_processes()
        note = f"{len(left)} of its processes still run; what they do from now on is not recorded"
        return Recorded(recorder.tree(), recorder.losses(), seconds, (note,) if left else (), status)


def record_processes(
    recorder: Recorder, pid: int, *, started: Callable[[], None], progress: Progress
) -> Recorded:
    """Record a running process, its threads and its present and future descendants, until it ends or Ctrl-C.

    Args:
        recorder: not attached yet.
        pid: of the process.
        started: told when recording has begun.
        progress: told what was seen so far.

    Raises:
        NoSuchProcessError: it is not there.
    """
    with signals_held() as signals:
        try:
            process = os.pidfd_open(pid)
        except (OSError, OverflowError) as error:
            raise NoSuchProcessError(pid) from error
        try:
            recorder.attach()
            begin = time.monotonic()
            _add_tree(recorder, pid)
            started()
            _wait(signals, lambda: _ended(process), lambda: progress(recorder.tree()))
        finally:
            os.close(process)
        recorder.detach()
        signals.drop()
        return Recorded(
            recorder.tree(),
            recorder.losses(),
            time.monotonic() - begin,
            (f"calls that process {pid} made earlier are missing",),
        )


def record_container(
    recorder: Recorder, container: str, *, started: Callable[[bool], None], progress: Progress
) -> Recorded:
    """Record a container until it ends, or Ctrl-C; one that does not run yet is waited for.

    Args:
        recorder: not attached yet.
        container: its id, or the first digits of it.
        started: told when recording has begun, and whether the container runs already; otherwise its start
            will be seen.
        progress: told what was seen so far.
    """
    watch = _ContainerWatch(recorder, container)
    with signals_held() as signals:
        late = bool(_members(container))
        recorder.attach()
        recorder.record_namespaces(True)
        begin = time.monotonic()
        started(late)
        _wait(signals, watch.has_ended, lambda: progress(watch.observation()))
        recorder.detach()
        signals.drop()
        watch.look()
        notes = ("its start was not recorded: it ran already",) if late else ()
        if not watch.keys:
            notes = (f"no container {container} was seen",)
        return Recorded(watch.observation(), recorder.losses(), time.monotonic() - begin, notes)


class _ContainerWatch:
    """The namespaces of one container: the first is its own, further ones its program has made."""

    def __init__(self, recorder: Recorder, container: str) -> None:
        self.keys: list[int] = []
        self._others: deque[int] = deque()
        self._recorder = recorder
        self._container = container

    def look(self) -> None:
        """Take in what was announced; namespaces of others are not recorded further."""
        for event in self._recorder.events():
            identity = container_of(event.cgroups)
            if identity is not None and identity.container_id.startswith(self._container):
                if event.key not in self.keys:
                    self.keys.append(event.key)
            elif event.exec and event.key not in self.keys:
                self._reject(event.key)

    def _reject(self, key: int) -> None:
        """Also of a machine that starts many others, the map shall have room for ours."""
        self._recorder.reject(key)
        self._others.append(key)
        if len(self._others) > OTHERS_MAX:
            self._recorder.forget(self._others.popleft())

    def has_ended(self) -> bool:
        """It was seen, and no process of it is left."""
        self.look()
        return bool(self.keys) and not _members(self._container)

    def observation(self) -> Observation:
        """All that was seen of it so far."""
        seen = Observation.EMPTY
        for index, key in enumerate(self.keys):
            part = self._recorder.read(key)
            seen |= part if index == 0 else part.as_program()
        return seen


def _members(container: str) -> list[int]:
    """Processes in a cgroup of the container."""
    members = []
    for directory in PROC.iterdir():
        if not directory.name.isdigit():
            continue
        with suppress(OSError):
            identity = container_of_proc((directory / "cgroup").read_text(errors="replace"))
            if identity is not None and identity.container_id.startswith(container):
                members.append(int(directory.name))
    return members


def _add_tree(recorder: Recorder, root: int) -> None:
    """Add a process and its descendants. Repeated until no new one appears, for they fork meanwhile."""
    added: set[int] = set()
    while new := [pid for pid in tree_of(root, dict(_parents()), os.getpid()) if pid not in added]:
        for pid in new:
            recorder.add_process(pid, running=True)
        added.update(new)


def tree_of(root: int, parents: Mapping[int, int], own: int) -> list[int]:
    """A process and its descendants, each after its parent: who forks then is known, and so is the child.

    Args:
        root: always the first.
        parents: of every process.
        own: a process that is left out with its ancestors below ``root``: the recorder, which the recorded
            shell may have started, perhaps through sudo.
    """
    ours = set()
    while own in parents and own not in ours and own != root:
        ours.add(own)
        own = parents[own]
    children: dict[int, list[int]] = {}
    for child, parent in parents.items():
        if child not in ours and child != root:
            children.setdefault(parent, []).append(child)
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def _parents() -> Iterator[tuple[int, int]]:
    """(process, parent) of every process."""
    for directory in PROC.iterdir():
        if directory.name.isdigit():
            with suppress(OSError):
                # The command's name stands in brackets and may hold anything, also brackets.
                fields = (directory / "stat").read_bytes().rpartition(b")")[2].split()
                yield int(directory.name), int(fields[1])


class HeldSignals(NamedTuple):
    """Signals that wait until we ask for them."""

    ending: frozenset[signal.Signals]
    """What ends a recording: not what we were told to ignore, as by nohup."""
    passed_on: frozenset[signal.Signals]
    mask: frozenset[int]
    """What was blocked before."""

    def drop(self) -> None:
        """Forget those that wait: they asked for the end that has come."""
        while signal.sigtimedwait(self.ending, 0) is not None:
            pass


@contextmanager
def signals_held() -> Iterator[HeldSignals]:
    """Take signals one by one where we wait, also from libbpf, whose callbacks would swallow a Ctrl-C."""
    heeded = frozenset(one for one in _PASSED_ON if signal.getsignal(one) is not signal.SIG_IGN)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, heeded | {signal.SIGCHLD})
    try:
        yield HeldSignals(heeded & _ENDING, heeded, frozenset(before))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait_for_child(pid: int, signals: HeldSignals, tick: Callable[[], None]) -> int:
    """Until the child has ended; signals that only we got are passed on. Returns its wait status."""
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        info = signal.sigtimedwait(signals.passed_on | {signal.SIGCHLD}, TICK_S)
        if info is None:
            tick()
        elif info.si_signo != signal.SIGCHLD and info.si_code != _FROM_TERMINAL:
            with suppress(ProcessLookupError):
                os.kill(pid, info.si_signo)


def _wait(signals: HeldSignals, has_ended: Callable[[], bool], tick: Callable[[], None]) -> None:
    """Until it has ended, or the user ends it."""
    while not has_ended():
        info = signal.sigtimedwait(signals.ending, TICK_S)
        if info is not None:
            return
        tick()


def _ended(pidfd: int) -> bool:
    return bool(select.select([pidfd], [], [], 0)[0])


__all__ = [
    "CommandError",
    "HeldSignals",
    "NoSuchProcessError",
    "Progress",
    "Recorded",
    "record_command",
    "record_container",
    "record_processes",
    "signals_held",
    "tree_of",
]
