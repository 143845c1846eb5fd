"""The table of the suite: collected while the tests run, written to bench/FIDELITY.md by `make fidelity`."""

import datetime
import os
import platform
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.fidelity.comparison import Comparison, names_of
from tests.fidelity.strace_log import Call

HEADER = """\
# Fidelity

Written by `make fidelity`. For each program strace and the recorder watch the **same** execution, from the
program's own execve on. *missing*: distinct syscalls that strace saw and the recorder did not; *extra*: the
other way round. 32-bit calls count apart from 64-bit calls. Then the program is recorded {recordings} times,
and run again under the union: every other syscall is refused (`SCMP_ACT_ERRNO`). *same* means exit code 0 and
the output that it had without a profile; for a server, the answers that its clients got.
"""
CONTAINER_HEADER = """
## In containers

Podman and runc. Watched, a container starts with a shell that waits until strace is attached and then becomes
the program. Recorded by mount namespace; the profile of the rerun is the union, and what runc does under its
filter.
"""
TRACER_NOTE = (
    "only in strace's log: it holds a process before the kernel looks at the call, "
    "and the process was killed there."
)


@dataclass(slots=True)
class Row:
    """One program."""

    name: str
    does: str
    comparison: Comparison
    recordings: int = 0
    distinct: int = 0
    """Syscalls in the union of all recordings."""
    rerun: str = "not reached"


@dataclass(slots=True)
class Report:
    """All rows, in the order of the tests."""

    rows: list[Row] = field(default_factory=list)
    container_rows: list[Row] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    """Sentences about other tests of the suite."""

    def text(self, machine: str) -> str:
        """The file, with a line about where it was made."""
        recordings = max((row.recordings for row in self.rows), default=0)
        parts = [HEADER.format(recordings=recordings), machine, _table(self.rows), *_notes(self.rows)]
        if self.container_rows:
            parts += [CONTAINER_HEADER, _table(self.container_rows), *_notes(self.container_rows)]
        if self.facts:
            parts += ["\n## Also tested\n", *(f"- {fact}" for fact in self.facts)]
        return "\n".join(parts) + "\n"

    def write(self, path: Path) -> None:
        """Replace the file."""
        path.write_text(self.text(_machine()))


def _table(rows: list[Row]) -> str:
    lines = [
        "| program | what it does | syscalls | missing | extra | union | rerun |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        comparison = row.comparison
        numbers = (
            len(comparison.log.calls),
            _told(comparison.missing),
            _told(comparison.extra),
            row.distinct,
        )
        lines.append(f"| {row.name} | {row.does} | {' | '.join(map(str, numbers))} | {row.rerun} |")
    return "\n".join(lines)


def _told(calls: frozenset[Call]) -> str:
    """A count, with the names if there are any."""
    return f"{len(calls)}: {', '.join(names_of(calls))}" if calls else "0"


def _notes(rows: list[Row]) -> list[str]:
    """Calls that only the tracer made visible, with the reason."""
    return [
        f"\n{row.name}: {', '.join(names_of(row.comparison.of_the_tracer))} {TRACER_NOTE}"
        for row in rows
        if row.comparison.of_the_tracer
    ]


def _machine() -> str:
    """Where and when."""
    strace = subprocess.run(("strace", "-V"), capture_output=True, text=True, check=True).stdout.split("\n")[
        0
    ]
    today = datetime.datetime.now(datetime.UTC).date()
    return f"{today}, Linux {platform.release()} {platform.machine()}, {os.cpu_count()} CPUs, {strace}\n"
