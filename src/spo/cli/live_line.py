"""The line that shows a recording on a terminal: time, distinct syscalls, the last new one."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TextIO

from spo.bpf.observation import Observation

_CLEAR: Final = "\r\x1b[K"


class LiveLine:
    """Rewrites one line of stderr; silent when that is no terminal."""

    def __init__(
        self,
        names: Callable[[Observation], frozenset[str]],
        stream: TextIO = sys.stderr,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._names = names
        self._stream = stream
        self._clock = clock
        self._started = clock()
        self._seen: frozenset[str] = frozenset()
        self._last = ""
        self._shown = False

    def update(self, observation: Observation) -> None:
        """Show what was seen so far."""
        if not self._stream.isatty():
            return
        names = self._names(observation)
        new = names - self._seen
        if new:
            self._seen, self._last = names, max(new)
        seconds = self._clock() - self._started
        last = f", last new: {self._last}" if self._last else ""
        self._shown = self._write(f"{_CLEAR}recording {seconds:.0f} s, {len(names)} syscalls{last}")

    def end(self) -> None:
        """Take the line away."""
        if self._shown:
            self._write(_CLEAR)
            self._shown = False

    def _write(self, text: str) -> bool:
        """A terminal that has gone does not end a recording."""
        with suppress(OSError):
            self._stream.write(text)
            self._stream.flush()
            return True
        return False
