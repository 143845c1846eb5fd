"""Files in which OCI hooks leave what they have recorded: written by root, collected by the daemon.

Names come from annotations of pods, and other writers may be at work in the directory: nothing is followed,
nothing is overwritten, and what is not a small regular file of root is left alone.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from spo.errors import SpoError
from spo.host.atomic_file import opened_directory
from spo.names import ROOTLESS_UID

DIRECTORY_MODE: Final = 0o770
FILE_MODE: Final = 0o640
MAX_BYTES: Final = 1024 * 1024
LEFTOVER_S: Final = 3600.0
"""After this time nobody comes for a file any more."""
_ENDING: Final = ".json"
_MAX_NAME: Final = 240
"""Characters; with what is added to the name of an unfinished file it stays below NAME_MAX."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,249}\.json")
_UNFINISHED: Final = ".unfinished"
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class HookFileError(SpoError):
    """A file cannot be written or taken."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, problem)
        self.name = name
        self.problem = problem

    def __str__(self) -> str:
        return f"recording {self.name}: {self.problem}"


def is_file_name(name: str) -> bool:
    """Whether a recording may have this name: a base name in plain letters that ends in .json."""
    return _NAME.fullmatch(name) is not None


def name_when_taken(name: str, container_id: str) -> str:
    """The name of a container's recording if another container already has the wanted one."""
    end = f".{container_id}{_ENDING}"
    return name.removesuffix(_ENDING)[: _MAX_NAME - len(end)] + end


def below(host_root: Path, directory: Path) -> Path:
    """An absolute directory of the node, seen from here."""
    return host_root / directory.relative_to("/")


class HookFiles:
    """One directory of recordings. All calls block."""

    def __init__(self, directory: Path, *, writer_uid: int = 0) -> None:
        """Take the directory.

        Args:
            directory: root:65535 0770.
            writer_uid: whose files are taken; hooks run as root.
        """
        self._directory = directory
        self._writer_uid = writer_uid

    def make_directory(self) -> None:
        """Make the directory, for root and the daemon only.

        Raises:
            HookFileError: it cannot be made, or something else is there.
        """
        try:
            self._directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            with opened_directory(self._directory) as directory:
                os.fchown(directory, -1, ROOTLESS_UID)
                os.fchmod(directory, DIRECTORY_MODE)
        except OSError as error:
            raise HookFileError(str(self._directory), f"no directory: {error.strerror}") from error

    def write(self, name: str, content: bytes) -> None:
        """Leave a recording; readers see all of it or nothing.

        Raises:
            HookFileError: the name is taken or not allowed, or the disk is full; nothing is left.
        """
        if not is_file_name(name):
            raise HookFileError(repr(name), "is not a name like web-nginx-1700000000.json")
        unfinished = f".{name[:_MAX_NAME]}{_UNFINISHED}"
        try:
            with opened_directory(self._directory) as directory:
                descriptor = os.open(unfinished, _CREATE, FILE_MODE, dir_fd=directory)
                try:
                    with os.fdopen(descriptor, "wb") as file:
                        file.write(content)
                        file.flush()
                        os.fchown(descriptor, -1, ROOTLESS_UID)
                        os.fchmod(descriptor, FILE_MODE)
                        os.fsync(descriptor)
                    # Unlike a rename, a link does not replace what has the name.
                    os.link(unfinished, name, src_dir_fd=directory, dst_dir_fd=directory)
                finally:
                    os.unlink(unfinished, dir_fd=directory)
        except OSError as error:
            raise HookFileError(name, error.strerror or str(error)) from error

    def read(self, name: str) -> bytes | None:
        """The content of a recording; None: there is none yet.

        Raises:
            HookFileError: what has the name is not a recording.
        """
        if not is_file_name(name):
            raise HookFileError(repr(name), "is not the name of a recording")
        try:
            with opened_directory(self._directory) as directory:
                descriptor = os.open(name, _READ, dir_fd=directory)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise HookFileError(name, error.strerror or str(error)) from error
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != self._writer_uid or found.st_nlink != 1:
                raise HookFileError(name, "is not a file that a hook has written")
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise HookFileError(name, f"is larger than {MAX_BYTES} bytes")
        return content

    def has(self, name: str) -> bool:
        """Whether something has the name, be it a recording or not."""
        try:
            with opened_directory(self._directory) as directory:
                os.lstat(name, dir_fd=directory)
        except OSError:
            return False
        return True

    def remove(self, name: str) -> None:
        """Take a recording away; it may be gone already.

        Raises:
            HookFileError: it may not be removed.
        """
        if not is_file_name(name):
            raise HookFileError(repr(name), "is not the name of a recording")
        try:
            with opened_directory(self._directory) as directory, suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)
        except OSError as error:
            raise HookFileError(name, error.strerror or str(error)) from error

    def remove_leftovers(self, now_s: float) -> list[str]:
        """Remove files that nobody came for; ``now_s`` is the time of day in seconds. Returns their names."""
        removed = []
        with suppress(OSError), opened_directory(self._directory) as directory:
            for name, found in list(_regular_files(directory)):
                if now_s - found.st_mtime > LEFTOVER_S:
                    with suppress(OSError):
                        os.unlink(name, dir_fd=directory)
                        removed.append(name)
        return removed


def _regular_files(directory: int) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(directory) as entries:
        for entry in entries:
            with suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(found.st_mode):
                    yield entry.name, found
