"""Who is at the other end of a unix socket."""

import socket
import struct
from dataclasses import dataclass

_UCRED = struct.Struct("=iII")  # struct ucred: pid, uid, gid


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the kernel noted when the peer connected, or began to listen."""

    pid: int
    """0: the process is in a pid namespace that we do not see."""
    uid: int
    gid: int


def credentials(connection: socket.socket) -> Credentials:
    """SO_PEERCRED of a connected unix socket."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return Credentials(*_UCRED.unpack(raw))
