"""Logs of containers, as Podman's monitor writes them: ``<time> <stream> <F|P> <text>`` per line."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from onenode.kubelet.state import parse_time

_FOLLOW_INTERVAL_S: Final = 0.1
_CHUNK_BYTES: Final = 256 * 1024
_PARTS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """What part of a log is wanted."""

    follow: bool = False
    tail_lines: int | None = None
    since_s: float | None = None
    """Seconds since the epoch."""
    timestamps: bool = False
    limit_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    time: bytes
    text: bytes
    complete: bool


def container_log(folder: Path, attempt: int) -> Path:
    """Log file of one run of a container."""
    return folder / f"{attempt}.log"


async def read_log(path: Path, options: LogOptions, ended: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Text of a log file.

    Args:
        path: may not exist (yet): an empty log.
        options: what part.
        ended: whether nothing will be written any more; ends following.
    """
    left = options.limit_bytes
    reader = _Reader(path, options)
    # Asked before reading: what was written before the end is then read for sure.
    over = ended()
    pieces = reader.first()
    while True:
        for piece in pieces:
            cut = piece if left is None else piece[:left]
            if cut:
                yield cut
            if left is not None:
                left -= len(cut)
                if left <= 0:
                    return
        if over or not options.follow:
            return
        await asyncio.sleep(_FOLLOW_INTERVAL_S)
        over = ended()
        pieces = reader.more()


class _Reader:
    """Position in a log file."""

    def __init__(self, path: Path, options: LogOptions) -> None:
        self._path = path
        self._options = options
        self._offset = 0
        self._rest = b""
        self._mid_line = False

    def first(self) -> Iterator[bytes]:
        """What is there, without the lines that are not wanted."""
        tail = self._options.tail_lines
        if tail is None:
            yield from self.more()
            return
        lines: deque[bytes] = deque(maxlen=tail)
        line = b""
        for piece in self.more():
            line += piece
            if line.endswith(b"\n"):
                lines.append(line)
                line = b""
        if line and tail:
            lines.append(line)
        yield from lines

    def more(self) -> Iterator[bytes]:
        """What was written since."""
        try:
            with self._path.open("rb") as stream:
                if stream.seek(0, 2) < self._offset:
                    self._offset, self._rest = 0, b""  # cut by the monitor at its size limit
                stream.seek(self._offset)
                while chunk := stream.read(_CHUNK_BYTES):
                    self._offset += len(chunk)
                    *lines, self._rest = (self._rest + chunk).split(b"\n")
                    yield from self._texts(lines)
        except FileNotFoundError:
            return

    def _texts(self, lines: list[bytes]) -> Iterator[bytes]:
        for line in lines:
            entry = _parse(line)
            if entry is None or not self._wanted(entry):
                continue
            text = entry.text + (b"\n" if entry.complete else b"")
            if self._options.timestamps and not self._mid_line:
                text = entry.time + b" " + text
            self._mid_line = not entry.complete
            yield text

    def _wanted(self, entry: _Entry) -> bool:
        since = self._options.since_s
        return since is None or parse_time(entry.time.decode(errors="replace")) >= since


def _parse(line: bytes) -> _Entry | None:
    parts = line.split(b" ", _PARTS - 1)
    if len(parts) != _PARTS:
        return None
    time, _, kind, text = parts
    return _Entry(time.replace(b"+00:00", b"Z"), text, kind == b"F")


def log_tail(path: Path, *, lines: int, limit_bytes: int) -> str:
    """End of a log, for the termination message of a failed container."""
    reader = _Reader(path, LogOptions(tail_lines=lines))
    return b"".join(reader.first())[-limit_bytes:].decode(errors="replace")
