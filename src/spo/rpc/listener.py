"""A listening unix socket in a directory that only its owner can change."""

import contextlib
import fcntl
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from spo.names import ROOTLESS_UID
from spo.rpc.errors import RpcError

SOCKET_MODE: Final = 0o660
DIRECTORY_MODE: Final = 0o750
_MAX_PATH_BYTES: Final = 107  # sockaddr_un.sun_path, less the final zero
_BACKLOG: Final = 16


class SocketPlaceError(RpcError):
    """The socket cannot be made where it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketPlace:
    """Where a socket lies and who may use it."""

    path: Path
    uid: int = 0
    """Owner of the socket and its directory."""
    gid: int = ROOTLESS_UID
    """The group that may connect: mode 0660 below a directory of mode 0750."""


class Listener:
    """Context manager: the directory, a lock, and a non-blocking listening socket.

    The lock tells a socket that a killed process left behind, which is replaced, from one that is served.

    Raises:
        SocketPlaceError: the path is too long, something of somebody else is in the way, or another
            process serves the socket.
    """

    def __init__(self, place: SocketPlace) -> None:
        self._place = place
        self._lock = -1
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)

    def __enter__(self) -> Self:
        path = self._place.path
        try:
            if len(os.fsencode(path)) + len(".new") > _MAX_PATH_BYTES:
                raise SocketPlaceError(f"socket path {path} is too long: the kernel takes 107 bytes")
            self._prepare_directory()
            self._take_lock()
            self._bind()
        except OSError as error:
            self._close()
            raise SocketPlaceError(f"cannot listen on {path}: {error}") from error
        except SocketPlaceError:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._place.path.unlink(missing_ok=True)  # ours: we hold the lock
        self._close()

    def _close(self) -> None:
        self.socket.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _prepare_directory(self) -> None:
        folder, place = self._place.path.parent, self._place
        folder.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            owner = os.fstat(opened).st_uid
            if owner != place.uid:
                raise SocketPlaceError(
                    f"directory {folder} belongs to uid {owner}, which could replace the socket in it; "
                    f"remove it, or give it to uid {place.uid}"
                )
            os.fchown(opened, place.uid, place.gid)
            os.fchmod(opened, DIRECTORY_MODE)
        finally:
            os.close(opened)

    def _take_lock(self) -> None:
        path = self._place.path.with_name(self._place.path.name + ".lock")
        self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SocketPlaceError(
                f"another process serves {self._place.path}; stop it first, one per node is enough"
            ) from error

    def _bind(self) -> None:
        """Nobody can connect before owner and mode are right: the final name appears last."""
        path = self._place.path
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise SocketPlaceError(f"{path} is not a socket; remove it")
        new = path.with_name(path.name + ".new")
        new.unlink(missing_ok=True)
        self.socket.bind(str(new))
        os.chown(new, self._place.uid, self._place.gid, follow_symlinks=False)
        new.chmod(SOCKET_MODE)
        self.socket.listen(_BACKLOG)
        new.rename(path)
