"""What the asyncio and the blocking client have in common. Pure but for the look at the peer."""

import socket
from collections.abc import Container
from pathlib import Path
from typing import Any

from spo.rpc.errors import RpcError
from spo.rpc.frames import FrameReader
from spo.rpc.peer import credentials
from spo.rpc.protocol import GREETING, MessageError, Protocol, Refused, RefusedError, decode


class ConnectionLostError(RpcError):
    """The server is not there, or went away: connect again."""


class Incoming:
    """Takes the bytes of a server, gives ``(number, message)`` pairs after its greeting."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._decoder = protocol.answer_decoder()
        self._reader = FrameReader()
        self.greeted = False

    def feed(self, data: bytes) -> None:
        """Take what was received.

        Raises:
            ConnectionLostError: ``data`` is empty: the server closed the connection.
        """
        if not data:
            raise ConnectionLostError(f"{self._protocol.service} closed the connection")
        self._reader.feed(data)

    def greeting(self) -> bool:
        """Whether the server's first frame has arrived, and is a Hello of our version.

        Raises:
            RefusedError: it says that, and why, it does not serve us.
            FrameError, MessageError: it is not a server of ours.
        """
        content = self._reader.next()
        if content is None:
            return False
        first = decode(GREETING, content)
        self._refuse(first)
        problem = self._protocol.problem_with(first)
        if problem is not None:
            raise RefusedError(problem)
        self.greeted = True
        return True

    def next(self) -> tuple[int, Any] | None:
        """The next message; ``None`` until it has arrived as a whole.

        Raises:
            RefusedError: the server ended the connection and said why.
            FrameError, MessageError: the server does not keep to the protocol.
        """
        content = self._reader.next()
        if content is None:
            return None
        try:
            number, body = decode(self._decoder, content)
        except MessageError:
            self._refuse(decode(GREETING, content))
            raise
        return number, body

    def _refuse(self, first: object) -> None:
        if isinstance(first, Refused):
            raise RefusedError(f"{self._protocol.service} refused us: {first.message}")


def check_server(connection: socket.socket, path: Path, allowed_uids: Container[int]) -> None:
    """Make sure that whoever listens on ``path`` is who should.

    Raises:
        RefusedError: it is another user.
    """
    uid = credentials(connection).uid
    if uid not in allowed_uids:
        raise RefusedError(f"{path} is served by uid {uid}, who is not trusted; see who made that file")
