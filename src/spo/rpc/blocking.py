"""A client without an event loop, for commands and small processes."""

import contextlib
import socket
from collections import deque
from collections.abc import Container
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec

from spo.rpc.connection import ConnectionLostError, Incoming, check_server
from spo.rpc.protocol import EVENT, CallFailedError, Failure, MessageError, Protocol, message

_CHUNK_BYTES: Final = 1 << 16

AnswerT = TypeVar("AnswerT", bound=msgspec.Struct)


class BlockingClient:
    """One connection, one call at a time. Context manager.

    Args:
        timeout_s: for each wait.
        server_uids: who may serve ``path``.

    Raises:
        ConnectionLostError: nobody listens, or answers in time.
        RefusedError: the server does not serve us, or is not who we trust.
    """

    def __init__(
        self,
        path: Path,
        protocol: Protocol,
        *,
        timeout_s: float = 5.0,
        server_uids: Container[int] = frozenset({0}),
    ) -> None:
        self._incoming = Incoming(protocol)
        self._events: deque[Any] = deque()
        self._last_number = EVENT
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._connection.settimeout(timeout_s)
        try:
            self._connection.connect(str(path))
            check_server(self._connection, path, server_uids)
            with contextlib.suppress(OSError):  # a server that refuses us has closed already; read why
                self._connection.sendall(protocol.hello())
            while not self._incoming.greeting():
                self._incoming.feed(self._connection.recv(_CHUNK_BYTES))
        except OSError as error:
            self._connection.close()
            raise ConnectionLostError(f"cannot connect to {path}: {error}") from error
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def call(self, request: msgspec.Struct, answer: type[AnswerT]) -> AnswerT:
        """Send ``request`` and wait for an answer of type ``answer``.

        Raises:
            CallFailedError: the server could not do it; the connection goes on.
            MessageError: the answer is of another type.
            RpcError: the connection is lost.
        """
        self._last_number += 1
        with contextlib.suppress(OSError):  # the reason, if there is one, is still to be read
            self._connection.sendall(message(self._last_number, request))
        while True:
            number, got = self._receive()
            if number == self._last_number:
                break
            self._events.append(got)
        if isinstance(got, Failure):
            raise CallFailedError(got.message, got.reason)
        if not isinstance(got, answer):
            raise MessageError(f"the answer is {type(got).__name__}, not {answer.__name__}")
        return got

    def next_event(self) -> Any:
        """Wait for the next thing that the server sends on its own.

        Raises:
            ConnectionLostError: the connection is lost, or nothing came in time.
        """
        return self._events.popleft() if self._events else self._receive()[1]

    def _receive(self) -> tuple[int, Any]:
        try:
            while (received := self._incoming.next()) is None:
                self._incoming.feed(self._connection.recv(_CHUNK_BYTES))
        except OSError as error:
            raise ConnectionLostError(f"connection lost: {error}") from error
        return received
