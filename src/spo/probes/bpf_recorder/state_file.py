"""The file beside the socket that says what the pinned objects are for.

It lies on a file system in memory, as the pins do, and needs to survive the process, not the machine.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

import msgspec

from spo import klog
from spo.probes.bpf_recorder.session import Saved

log = klog.get("bpf-recorder")

_MAX_BYTES: Final = 16 << 20


class StateFile:
    """Written as a whole, or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Saved:
        """What was saved; nothing if there is no file, or none of ours."""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return Saved()
        except OSError as error:
            log.error("Cannot read the state of the last run", error=error)
            return Saved()
        with os.fdopen(fd, "rb") as file:
            content = file.read(_MAX_BYTES)
        try:
            return msgspec.msgpack.decode(content, type=Saved)
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            log.error("Cannot read the state of the last run", error=error, path=str(self._path))
            return Saved()

    def save(self, saved: Saved) -> None:
        """Replace the file; without a recording there is none.

        Raises:
            OSError: the file cannot be written.
        """
        if not saved.recordings:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()
            return
        new = self._path.with_name(self._path.name + ".new")
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(msgspec.msgpack.encode(saved))
        new.rename(self._path)
