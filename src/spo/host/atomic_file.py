"""Replace files so that readers, also after a crash, see the old or the new content, never a part of it."""

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

TEMP_PREFIX: Final = ".spo-tmp-"
"""Begins the names of all our temporary files; never of a file that anybody reads."""
FILE_MODE: Final = 0o644
_OPEN_DIR: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a FIFO in the place of a file must not hang us.
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def opened_directory(
    path: str | os.PathLike[str], *, dir_fd: int | None = None, follow: bool = False
) -> Iterator[int]:
    """A directory as a descriptor; a symbolic link in its place is refused unless ``follow``."""
    flags = _OPEN_DIR if follow else _OPEN_DIR | os.O_NOFOLLOW
    descriptor = os.open(path, flags, dir_fd=dir_fd)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_file(name: str, dir_fd: int) -> bytes | None:
    """Content of a regular file with the mode we give; ``None`` for everything else, or nothing."""
    try:
        descriptor = os.open(name, _READ, dir_fd=dir_fd)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode) or stat.S_IMODE(mode) != FILE_MODE:
            return None
        return file.read()


def replace_file(
    name: str, content: bytes, dir_fd: int, *, mode: int = FILE_MODE, durable: bool = True
) -> None:
    """Put a file of this content and mode in the place of what has the name now, be it a symbolic link.

    Args:
        durable: wait until it is on the disk; otherwise a loss of power may take it away again.

    Raises:
        OSError: it was not possible; what was there is still there.
    """
    descriptor, temporary = _create_locked(dir_fd)
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            remaining = memoryview(content)
            while remaining:
                remaining = remaining[file.write(remaining) or 0 :]
            os.fchmod(descriptor, mode)  # not at open: the umask does not matter here
            if durable:
                os.fsync(descriptor)
            os.rename(temporary, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=dir_fd)
        raise
    if durable:
        os.fsync(dir_fd)


def _create_locked(dir_fd: int) -> tuple[int, str]:
    """A new temporary file, locked, which tells remove_stale_files that somebody works on it."""
    while True:
        name = TEMP_PREFIX + secrets.token_hex(8)
        descriptor = os.open(name, _CREATE, 0o600, dir_fd=dir_fd)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            os.close(descriptor)
            os.unlink(name, dir_fd=dir_fd)
            raise
        if os.fstat(descriptor).st_nlink:
            return descriptor, name
        os.close(descriptor)  # taken for stale between the two calls


def remove_stale_files(dir_fd: int) -> int:
    """Remove temporary files that a killed process has left; return how many.

    A file that another living process writes is locked and stays.
    """
    removed = 0
    with os.scandir(dir_fd) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(TEMP_PREFIX)]
    for name in names:
        removed += _remove_if_stale(name, dir_fd)
    return removed


def _remove_if_stale(name: str, dir_fd: int) -> bool:
    try:
        descriptor = os.open(name, _READ, dir_fd=dir_fd)
    except OSError:
        return False  # gone, or not a file of ours
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        os.unlink(name, dir_fd=dir_fd)
    except (BlockingIOError, FileNotFoundError):
        return False
    finally:
        os.close(descriptor)
    return True
