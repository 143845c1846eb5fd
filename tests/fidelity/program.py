"""What the suite knows of a program: how to start it, what to do with it, what it must print."""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

SCRIPTS = Path(__file__).parent / "programs"
TIMEOUT_S = 60.0
"""For one execution; the slowest takes a few seconds under strace."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one execution happens."""

    folder: Path
    """Empty at first; the working directory, HOME and TMPDIR of the program."""
    port: int
    """A TCP port of the loopback that was free a moment ago."""

    def fill(self, text: str) -> str:
        """Replace ``{dir}``, ``{port}`` and ``{scripts}``."""
        known = {"{dir}": str(self.folder), "{port}": str(self.port), "{scripts}": str(SCRIPTS)}
        for word, value in known.items():
            text = text.replace(word, value)
        return text


class Process(Protocol):
    """A started program, as far as a driver needs it."""

    pid: int
    place: Place

    def running(self) -> bool:
        """Whether the program itself still runs."""


@dataclass(frozen=True, slots=True)
class Program:
    """One row of the table."""

    name: str
    does: str
    command: tuple[str, ...]
    """Looked up in PATH; words may hold ``{dir}``, ``{port}`` and ``{scripts}``."""
    expected: str
    """Exactly what it prints, or, if it serves, what its clients were told."""
    prepare: Callable[[Place], None] = lambda _: None
    """Make its inputs."""
    refused: Callable[[], str] = lambda: ""
    """Why this machine does not let anybody run it; empty if it does."""
    drive: Callable[[Process], str] | None = None
    """For a program that serves: be its client, make it stop, return what was served."""


class NotReadyError(AssertionError):
    """A server did not do in time what was asked of it."""


def eventually(what: str, condition: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
    """Wait for a condition of the outer world.

    Raises:
        NotReadyError: it did not become true in time.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise NotReadyError(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.01)


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    """Whether somebody listens on a port of the loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
