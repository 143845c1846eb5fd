"""The profile files of this node, below the kubelet's seccomp root.

Written for a directory in which others may have made things: nothing outside it is ever reached, and what
lies in the place of a file or a directory of ours is replaced or refused, not followed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from spo.errors import SpoError, TerminalError
from spo.host.atomic_file import opened_directory, read_file, remove_stale_files, replace_file
from spo.profiles.paths import SUFFIX, ProfileKey, parse_localhost_profile

DIRECTORY_MODE: Final = 0o744
"""Others need no access: the container runtime reads as root."""


class ForeignPathError(TerminalError):
    """A path is not the path of a profile file."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path!r} is not operator/<namespace>/<name>.json"


class SeccompDirError(SpoError):
    """The file system refused something; a subclass says what."""

    what = "cannot use operator directory"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.what}: {self.path}: {self.reason}"


class CannotCreateDirectoryError(SeccompDirError):
    """The directory for the profiles of a namespace could not be made."""

    what = "cannot create operator directory"


class CannotSaveProfileError(SeccompDirError):
    """A file could not be written; what was there before still is."""

    what = "cannot save profile"


class CannotRemoveProfileError(SeccompDirError):
    """A file could not be removed."""

    what = "cannot remove profile"


class SeccompDir:
    """The files ``operator/<namespace>/<name>.json``, one writer of each at a time.

    All calls block on the disk; call them in a thread.
    """

    def __init__(self, root: Path) -> None:
        """Take the directory that is ``operator`` in the paths; it may be a symbolic link, made by root."""
        self._root = root
        self._left: dict[str, _Identity] = {}

    def write(self, path: str, content: bytes) -> bool:
        """Make a file have this content, mode 0644, durable when the call returns.

        Returns:
            False if it had it already.

        Raises:
            ForeignPathError, CannotCreateDirectoryError, CannotSaveProfileError
        """
        key = _key(path)
        with _naming(CannotSaveProfileError, path), opened_directory(self._root, follow=True) as root:
            self._make_directory(key.namespace, root)
            with opened_directory(key.namespace, dir_fd=root) as directory:
                name = key.name + SUFFIX
                if self._has(path, name, directory, content):
                    return False
                replace_file(name, content, directory)
                self._has(path, name, directory, content)
        return True

    def read(self, path: str) -> bytes | None:
        """What a file says; ``None`` if there is none, or if it is not as we write files.

        Raises:
            ForeignPathError
        """
        key = _key(path)
        try:
            with (
                opened_directory(self._root, follow=True) as root,
                opened_directory(key.namespace, dir_fd=root) as directory,
            ):
                return read_file(key.name + SUFFIX, directory)
        except OSError:
            return None

    def is_as_left(self, path: str) -> bool:
        """Whether nobody has touched a file since :meth:`write` returned; also ``False`` if that is unknown.

        Raises:
            ForeignPathError
        """
        key = _key(path)
        known = self._left.get(path)
        return known is not None and known == _identity(self._root / key.namespace / (key.name + SUFFIX))

    def remove(self, path: str) -> bool:
        """Remove a file; the directory of its namespace stays.

        Returns:
            False if there was none.

        Raises:
            ForeignPathError, CannotRemoveProfileError
        """
        key = _key(path)
        self._left.pop(path, None)
        try:
            with (
                _naming(CannotRemoveProfileError, path),
                opened_directory(self._root, follow=True) as root,
                opened_directory(key.namespace, dir_fd=root) as directory,
            ):
                os.unlink(key.name + SUFFIX, dir_fd=directory)
                os.fsync(directory)
        except FileNotFoundError:
            return False
        return True

    def remove_stale_temp_files(self) -> int:
        """Remove what writers that were killed have left, not what a living one works on; return how many.

        Raises:
            SeccompDirError: the directory cannot be read.
        """
        removed = 0
        with _naming(SeccompDirError, str(self._root)), opened_directory(self._root, follow=True) as root:
            removed += remove_stale_files(root)
            with os.scandir(root) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
            for name in names:
                with opened_directory(name, dir_fd=root) as directory:
                    removed += remove_stale_files(directory)
        return removed

    def _has(self, path: str, name: str, directory: int, content: bytes) -> bool:
        """Whether the file has the content; if so, remember what else it is."""
        # In this order: who changes the file after the first call makes another one of it.
        identity = _identity(name, directory)
        if read_file(name, directory) != content:
            self._left.pop(path, None)
            return False
        if identity is not None:
            self._left[path] = identity
        return True

    def _make_directory(self, name: str, root: int) -> None:
        try:
            os.mkdir(name, DIRECTORY_MODE, dir_fd=root)
        except FileExistsError:
            return
        except OSError as error:
            raise CannotCreateDirectoryError(f"{self._root}/{name}", _reason(error)) from error
        # Again, for the umask. Only this process and root can have replaced what mkdir has just made.
        os.chmod(name, DIRECTORY_MODE, dir_fd=root)
        os.fsync(root)


_Identity = tuple[int, int, int]
"""Device, inode, and the time of the last change of content or mode."""


def _identity(file: str | Path, dir_fd: int | None = None) -> _Identity | None:
    try:
        found = os.stat(file, dir_fd=dir_fd, follow_symlinks=False)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns


def _key(path: str) -> ProfileKey:
    key = parse_localhost_profile(path)
    if key is None:
        raise ForeignPathError(path)
    return key


def _reason(error: OSError) -> str:
    # O_NOFOLLOW together with O_DIRECTORY answers ENOTDIR for a symbolic link.
    if isinstance(error, NotADirectoryError):
        return "its directory is a symbolic link or a file; remove it"
    return error.strerror or str(error)


@contextmanager
def _naming(kind: type[SeccompDirError], path: str) -> Iterator[None]:
    """Turn errors of the file system into ours. Absence passes: only writing is surprised by it."""
    try:
        yield
    except FileNotFoundError as error:
        if kind is CannotRemoveProfileError:
            raise
        raise kind(path, _reason(error)) from error
    except OSError as error:
        raise kind(path, _reason(error)) from error
