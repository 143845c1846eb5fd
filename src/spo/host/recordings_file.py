"""What the daemon needs to go on with recordings after a restart, kept on the node."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from spo.errors import SpoError
from spo.host.atomic_file import opened_directory, read_file, remove_stale_files, replace_file
from spo.names import RECORDINGS_DIR

DIRECTORY_MODE: Final = 0o700


class CannotKeepRecordingsError(SpoError):
    """The file could not be written; it says what it said before."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot keep recordings: {self.path}: {self.reason}"


class RecordingsFile:
    """One file in a directory of mode 0700; neither is there while there is nothing to keep.

    Its name holds the operator's namespace: two operators share the directories of a node. All calls block
    on the disk; call them in a thread.
    """

    def __init__(self, root: Path, operator_namespace: str, recorder: str = "bpf") -> None:
        """Take the directory of the profiles' directories; a name with a dot in front is no namespace."""
        self._root = root
        self._name = f"{recorder}-{operator_namespace}.json"

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._root / RECORDINGS_DIR / self._name

    def read(self) -> bytes | None:
        """What was kept; ``None`` if nothing was. Also removes what a killed process left unfinished."""
        try:
            with (
                opened_directory(self._root, follow=True) as root,
                opened_directory(RECORDINGS_DIR, dir_fd=root) as folder,
            ):
                remove_stale_files(folder)
                return read_file(self._name, folder)
        except OSError:
            return None

    def write(self, content: bytes) -> None:
        """Keep exactly this, durable when the call returns; nothing removes file and directory.

        Raises:
            CannotKeepRecordingsError: the file system refuses.
        """
        try:
            with opened_directory(self._root, follow=True) as root:
                if not content:
                    self._remove(root)
                    return
                with suppress(FileExistsError):
                    os.mkdir(RECORDINGS_DIR, DIRECTORY_MODE, dir_fd=root)
                with opened_directory(RECORDINGS_DIR, dir_fd=root) as folder:
                    replace_file(self._name, content, folder)
        except OSError as error:
            raise CannotKeepRecordingsError(self.path, error.strerror or str(error)) from error

    def _remove(self, root: int) -> None:
        with suppress(FileNotFoundError):
            with opened_directory(RECORDINGS_DIR, dir_fd=root) as folder, suppress(FileNotFoundError):
                os.unlink(self._name, dir_fd=folder)
            with suppress(OSError):  # another operator may keep something there
                os.rmdir(RECORDINGS_DIR, dir_fd=root)
