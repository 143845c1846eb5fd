"""Notice what others do to profile files, by inotify."""

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from spo.host.atomic_file import TEMP_PREFIX

# linux/inotify.h
IN_ATTRIB: Final = 0x4
IN_CLOSE_WRITE: Final = 0x8
IN_MOVED_FROM: Final = 0x40
IN_MOVED_TO: Final = 0x80
IN_CREATE: Final = 0x100
IN_DELETE: Final = 0x200
IN_Q_OVERFLOW: Final = 0x4000
IN_IGNORED: Final = 0x8000
IN_ONLYDIR: Final = 0x1000000
IN_DONT_FOLLOW: Final = 0x2000000
IN_ISDIR: Final = 0x40000000

_GONE: Final = IN_DELETE | IN_MOVED_FROM
_APPEARED: Final = IN_CREATE | IN_MOVED_TO
# IN_CREATE in a namespace: a directory, a socket or a link is never closed after writing.
_OF_FILES: Final = IN_ATTRIB | IN_CLOSE_WRITE | _GONE | _APPEARED | IN_ONLYDIR | IN_DONT_FOLLOW
_OF_ROOT: Final = IN_ATTRIB | _GONE | _APPEARED | IN_ONLYDIR
_HEADER: Final = struct.Struct("iIII")
_BUFFER_BYTES: Final = 64 * 1024

Listener = Callable[[str | None, str | None], None]
"""Called with (namespace, file name); without the name: any file of the namespace; without both: any file."""


class DirWatch:
    """Tells which files below ``<root>/<namespace>/`` may have changed, whoever changed them.

    It only says where to look: what is there may be different again by then.
    """

    def __init__(self, root: Path, listener: Listener) -> None:
        self._root = root
        self._listener = listener
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
        self._descriptor = -1
        self._root_watch = -1
        self._namespaces: dict[int, str] = {}

    async def run(self) -> None:
        """Watch until cancelled.

        Raises:
            OSError: the directory cannot be watched.
        """
        self._descriptor = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        loop = asyncio.get_running_loop()
        try:
            self._root_watch = self._add(self._root, _OF_ROOT)
            for entry in self._root.iterdir():
                self._watch_namespace(entry.name)
            # What changed before the watch was there has left no event.
            self._listener(None, None)
            loop.add_reader(self._descriptor, self._read)
            await loop.create_future()
        finally:
            loop.remove_reader(self._descriptor)
            os.close(self._descriptor)

    def _read(self) -> None:
        try:
            events = os.read(self._descriptor, _BUFFER_BYTES)
        except BlockingIOError:
            return
        told: dict[tuple[str | None, str | None], None] = {}
        for watch, mask, name in _parsed(events):
            told.update(dict.fromkeys(self._affected(watch, mask, name)))
        for namespace, file in told:
            self._listener(namespace, file)

    def _affected(self, watch: int, mask: int, name: str) -> Iterator[tuple[str | None, str | None]]:
        if mask & IN_Q_OVERFLOW:
            yield None, None
        elif mask & IN_IGNORED:
            self._namespaces.pop(watch, None)
        elif watch == self._root_watch:
            if name and not name.startswith("."):  # a namespace; ours with a dot are files
                if mask & _APPEARED:
                    self._watch_namespace(name)
                yield name, None
        elif (namespace := self._namespaces.get(watch)) and name and not name.startswith(TEMP_PREFIX):
            yield namespace, name

    def _watch_namespace(self, name: str) -> None:
        try:
            watch = self._add(self._root / name, _OF_FILES)
        except OSError:
            return  # gone again, or no directory: nothing of ours is in it
        self._namespaces[watch] = name

    def _add(self, path: Path, mask: int) -> int:
        return self._checked(self._libc.inotify_add_watch(self._descriptor, os.fsencode(path), mask))

    def _checked(self, result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(self._root))
        return result


def _parsed(events: bytes) -> Iterator[tuple[int, int, str]]:
    """(watch, mask, name) of each event."""
    offset = 0
    while offset < len(events):
        watch, mask, _, length = _HEADER.unpack_from(events, offset)
        offset += _HEADER.size
        yield watch, mask, os.fsdecode(events[offset : offset + length].rstrip(b"\0"))
        offset += length
