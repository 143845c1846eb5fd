"""Run programs of the catalogue: watched by strace and the recorder, recorded only, or under a profile."""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from spo.bpf.observation import Observation
from spo.bpf.recorder import Recorder
from tests.fidelity.comparison import Comparison, calls_of
from tests.fidelity.execution import Execution
from tests.fidelity.program import Place, Program, free_port
from tests.fidelity.strace_log import parse


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an execution ended."""

    status: int
    """Exit status; negative: a signal."""
    output: str
    """What a program printed, or what the clients of a server were told."""
    complaints: str
    """What it printed on the second channel; shown when something failed."""

    def require(self, program: Program, when: str) -> None:
        """Raise unless it is what the catalogue says."""
        context = f"{when}: status {self.status}, {self.complaints[-2000:]}"
        assert self.output == program.expected, context
        assert self.status == 0, context


@contextmanager
def place() -> Iterator[Place]:
    """A fresh place, gone afterwards; readable by the users that servers change to."""
    with tempfile.TemporaryDirectory(prefix="spo-fidelity-") as name:
        folder = Path(name) / "run"
        folder.mkdir()
        folder.parent.chmod(0o755)
        yield Place(folder, free_port())


def prepared(program: Program, where: Place) -> list[str]:
    """Make the inputs; the command with its words filled in."""
    program.prepare(where)
    return [where.fill(word) for word in program.command]


def watch(program: Program, recorder: Recorder) -> tuple[Comparison, Observation, Outcome]:
    """One execution under both watchers."""
    with place() as where:
        log = where.folder.parent / "strace"
        command = prepared(program, where)
        with Execution(command, where) as execution:
            execution.attach_strace(log)
            observation, outcome = _recorded(program, execution, recorder)
        with log.open() as lines:
            seen = parse(lines, execution.pid)
    return Comparison(seen, calls_of(observation)), observation, outcome


def record(program: Program, recorder: Recorder) -> tuple[Observation, Outcome]:
    """One execution without strace: the timing is that of every day."""
    with place() as where, Execution(prepared(program, where), where) as execution:
        return _recorded(program, execution, recorder)


def rerun(program: Program, confined: Sequence[str]) -> Outcome:
    """One execution with ``confined`` before the command, which runs it under a profile."""
    with place() as where, Execution([*confined, *prepared(program, where)], where) as execution:
        execution.release()
        return _finished(program, execution)


def spoc() -> str:
    """The command under test: of this environment, or installed.

    Raises:
        FileNotFoundError: it is not there.
    """
    found = shutil.which("spoc", path=str(Path(sys.executable).parent)) or shutil.which("spoc")
    if found is None:
        raise FileNotFoundError("spoc is not installed; `make setup` installs it")
    return found


def _finished(program: Program, execution: Execution) -> Outcome:
    """Be the client of a server, and wait for the end."""
    told = program.drive(execution) if program.drive else None
    status = execution.wait()
    return Outcome(status, execution.output() if told is None else told, execution.complaints())


def _recorded(program: Program, execution: Execution, recorder: Recorder) -> tuple[Observation, Outcome]:
    recorder.attach()
    try:
        recorder.add_process(execution.pid)
        execution.release()
        outcome = _finished(program, execution)
        return recorder.tree(), outcome
    finally:
        recorder.detach()
