"""What the daemon claims to have on this node, kept on the node itself.

The node status at the API server says the same and is asked first. This copy is for the case that both the
object of a profile and the node status vanish while the daemon is down, as when everything is reinstalled:
without it nobody would know that a file is ours and may go.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from spo.errors import SpoError
from spo.host.atomic_file import opened_directory, read_file, replace_file


class CannotKeepClaimsError(SpoError):
    """The file could not be written; it says what it said before."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot keep claims: {self.path}: {self.reason}"


class _Claims(msgspec.Struct):
    claims: list[str]


class ClaimsFile:
    """A list of keys ``<Kind>/<namespace>/<name>``; no file while it is empty.

    Its name holds the operator's namespace: two operators share the directories of a node. All calls block
    on the disk; call them in a thread.
    """

    def __init__(self, root: Path, operator_namespace: str) -> None:
        """Take the directory of the profiles' directories; a name with a dot in front is no namespace."""
        self._root = root
        self._name = f".claims-{operator_namespace}.json"

    def read(self) -> tuple[str, ...]:
        """The keys; none if there is no such file or it is not one of ours."""
        try:
            with opened_directory(self._root, follow=True) as root:
                content = read_file(self._name, root)
            return tuple(msgspec.json.decode(content, type=_Claims).claims) if content else ()
        except (OSError, msgspec.DecodeError):
            return ()

    def write(self, claims: Iterable[str]) -> None:
        """Keep exactly these keys.

        Not durable at once: the disk may be slow, profiles would wait for it, and this is the second copy.

        Raises:
            CannotKeepClaimsError: the file system refuses.
        """
        keys = sorted(claims)
        try:
            with opened_directory(self._root, follow=True) as root:
                if keys:
                    replace_file(self._name, msgspec.json.encode(_Claims(keys)), root, durable=False)
                    return
                with suppress(FileNotFoundError):
                    os.unlink(self._name, dir_fd=root)
        except OSError as error:
            raise CannotKeepClaimsError(self._root / self._name, error.strerror or str(error)) from error
