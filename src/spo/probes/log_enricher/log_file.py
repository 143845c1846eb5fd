"""Following a log file: rotated by renaming or by truncation, absent, unreadable for a while."""

import contextlib
import ctypes
import os
from pathlib import Path
from typing import Final

from spo import klog

log = klog.get("log-enricher")

# linux/inotify.h
_IN_MODIFY: Final = 0x2
_IN_ATTRIB: Final = 0x4
_IN_CREATE: Final = 0x100
_IN_MOVED_TO: Final = 0x80
_EVENTS: Final = _IN_MODIFY | _IN_ATTRIB | _IN_CREATE | _IN_MOVED_TO

MAX_LINE_BYTES: Final = 64 << 10
"""Longer lines are dropped: a record has at most 8,970 bytes."""
_CHUNK_BYTES: Final = 256 << 10
_EVENT_BYTES: Final = 64 << 10
_MAX_ROTATED: Final = 100
"""auditd keeps at most 99 files."""
POLL_S: Final = 1.0
"""How often to look without being told: directories may be absent, or on a file system without events."""


class LogFile:
    """Gives the lines that are written to a path from now on.

    A file that is there at the start is read from its end, one that appears later from its beginning.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._identity = (0, 0)
        self._offset = 0
        self._rest = b""
        self._is_skipping = False
        self._complaint = ""
        self._watch = _DirectoryWatch(path.parent)
        self.too_long = 0
        """Lines that were dropped because of their length."""
        self._open(at_end=True)

    def fileno(self) -> int:
        """Readable when there may be something new."""
        return self._watch.fileno()

    def close(self) -> None:
        """Close everything."""
        self._watch.close()
        self._close()

    def read(self) -> list[bytes]:
        """The next whole lines, without their ends; at most what fits 256 KiB."""
        self._watch.drain()
        if self._descriptor < 0 and not self._open(at_end=False):
            return []
        lines = self._read_lines()
        if lines:
            return lines
        status = os.fstat(self._descriptor)
        if status.st_size < self._offset:
            log.info("The log file was truncated", path=str(self._path))
            self._offset, self._rest, self._is_skipping = 0, b"", False
            return self._read_lines()
        # Only when nothing is left in the old file.
        if _identity_of(self._path) not in (None, self._identity):
            log.info("The log file was replaced", path=str(self._path))
            if self._open_following():
                return self._read_lines()
        return []

    def _open_following(self) -> bool:
        """Open what was written after our file, also if names change meanwhile."""
        ours = self._identity
        self._close()
        for _ in range(_MAX_ROTATED):
            following = self._following(ours)
            expected = _identity_of(following)
            if not self._open(at_end=False, path=following):
                return False
            if self._identity == expected:
                return True
            self._close()
        return False

    def _following(self, ours: tuple[int, int]) -> Path:
        """What was written after our file: it may have been replaced more than once since we looked."""
        newer = self._path
        for number in range(1, _MAX_ROTATED):
            older = self._path.with_name(f"{self._path.name}.{number}")
            identity = _identity_of(older)
            if identity == ours:
                return newer
            if identity is None:
                break
            newer = older
        return self._path

    def _read_lines(self) -> list[bytes]:
        while chunk := os.pread(self._descriptor, _CHUNK_BYTES, self._offset):
            self._offset += len(chunk)
            lines = self._cut(chunk)
            if lines:
                return lines
        return []

    def _cut(self, chunk: bytes) -> list[bytes]:
        *lines, rest = (self._rest + chunk).split(b"\n")
        if self._is_skipping and lines:
            del lines[0]
            self._is_skipping = False
        if self._is_skipping:
            rest = b""
        elif len(rest) > MAX_LINE_BYTES:
            self.too_long += 1
            self._is_skipping, rest = True, b""
        self._rest = rest
        whole = [line for line in lines if len(line) <= MAX_LINE_BYTES]
        self.too_long += len(lines) - len(whole)
        return whole

    def _open(self, *, at_end: bool, path: Path | None = None) -> bool:
        self._watch.start()
        try:
            opened = os.open(path or self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            if error.strerror != self._complaint:
                self._complaint = error.strerror or str(error)
                log.warning(
                    "Cannot read the log file, waiting", path=str(self._path), problem=self._complaint
                )
            return False
        self._complaint = ""
        status = os.fstat(opened)
        identity = (status.st_dev, status.st_ino)
        self._descriptor = opened
        if identity != self._identity or status.st_size < self._offset:
            self._offset, self._rest, self._is_skipping = 0, b"", False
        self._identity = identity
        if at_end:
            self._offset = status.st_size
        return True

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _identity_of(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino)


class _DirectoryWatch:
    """Readable when something in a directory changes."""

    def __init__(self, directory: Path) -> None:
        self._directory = os.fsencode(directory)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def start(self) -> None:
        """Watch, if it is there; doing it again changes nothing, unless it is another directory now."""
        self._libc.inotify_add_watch(self._descriptor, self._directory, _EVENTS)

    def fileno(self) -> int:
        return self._descriptor

    def drain(self) -> None:
        """Forget what was told."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._descriptor, _EVENT_BYTES)

    def close(self) -> None:
        os.close(self._descriptor)
