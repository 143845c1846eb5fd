"""The client of the daemon: asyncio."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Container
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec

from spo.rpc.connection import ConnectionLostError, Incoming, check_server
from spo.rpc.errors import RpcError
from spo.rpc.protocol import EVENT, CallFailedError, Failure, MessageError, Protocol, message

ROOT_ONLY: Final = frozenset({0})
_CHUNK_BYTES: Final = 1 << 16
_MAX_EVENTS: Final = 10_000
_FIRST_PAUSE_S: Final = 0.5
_PAUSE_FACTOR: Final = 1.5
_LAST_PAUSE_S: Final = 10.0

AnswerT = TypeVar("AnswerT", bound=msgspec.Struct)


class Client:
    """One connection; made by :meth:`connect` or :func:`connect_with_retry`, closed by ``async with``.

    After any error but CallFailedError the connection is of no more use: connect again.
    """

    def __init__(self, connection: socket.socket, incoming: Incoming) -> None:
        self._connection = connection
        self._incoming = incoming
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._events: asyncio.Queue[Any] = asyncio.Queue()
        self._last_number = EVENT
        self._sending = asyncio.Lock()
        self._lost: RpcError | None = None
        self._receiving = asyncio.create_task(self._receive())

    @classmethod
    async def connect(
        cls,
        path: Path,
        protocol: Protocol,
        *,
        timeout_s: float = 5.0,
        server_uids: Container[int] = ROOT_ONLY,
    ) -> Self:
        """Connect and exchange versions.

        Raises:
            ConnectionLostError: nobody listens, or does not greet within ``timeout_s``.
            RefusedError: the server does not serve us, or is not who we trust; the message says why.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        incoming = Incoming(protocol)
        try:
            async with asyncio.timeout(timeout_s):
                await _greet(connection, path, protocol, incoming, server_uids)
        except TimeoutError as error:
            connection.close()
            raise ConnectionLostError(f"{path} does not answer within {timeout_s:g} s") from error
        except OSError as error:
            connection.close()
            raise ConnectionLostError(f"cannot connect to {path}: {error}") from error
        except BaseException:
            connection.close()
            raise
        return cls(connection, incoming)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def call(
        self, request: msgspec.Struct, answer: type[AnswerT], *, timeout_s: float = 30.0
    ) -> AnswerT:
        """Send ``request`` and wait for an answer of type ``answer``. Calls may overlap.

        Raises:
            CallFailedError: the server could not do it; the connection goes on.
            MessageError: the answer is of another type.
            RpcError: the connection is lost.
        """
        if self._lost is not None:
            raise self._lost
        self._last_number += 1
        number = self._last_number
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._calls[number] = future
        try:
            async with asyncio.timeout(timeout_s):
                await self._send(message(number, request))
                got = await future
        except TimeoutError as error:
            raise self._lose(ConnectionLostError(f"no answer within {timeout_s:g} s")) from error
        finally:
            self._calls.pop(number, None)
        if isinstance(got, Failure):
            raise CallFailedError(got.message, got.reason)
        if not isinstance(got, answer):
            raise MessageError(f"the answer is {type(got).__name__}, not {answer.__name__}")
        return got

    async def events(self) -> AsyncIterator[Any]:
        """What the server sends on its own, until the connection is lost.

        Raises:
            RpcError: it is lost; events that came before are given out first.
        """
        while True:
            event = await self._events.get()
            if isinstance(event, RpcError):
                self._events.put_nowait(event)  # for whoever asks next
                raise event
            yield event

    async def close(self) -> None:
        """Close the connection; calls under way and :meth:`events` end with ConnectionLostError."""
        self._receiving.cancel()
        await asyncio.wait((self._receiving,))
        self._lose(ConnectionLostError("the connection was closed by this process"))
        self._connection.close()

    async def _send(self, data: bytes) -> None:
        async with self._sending:
            try:
                await asyncio.get_running_loop().sock_sendall(self._connection, data)
            except OSError:
                # What the server had to say comes first: the receiving task meets the end as well.
                await asyncio.wait((self._receiving,))
            except asyncio.CancelledError:
                # Part of a frame may be sent; whatever followed would be read as the rest of it.
                self._lose(ConnectionLostError("a call was given up while it was being sent"))
                raise

    async def _receive(self) -> None:
        """Hand out what arrives, until the connection ends."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                while (received := self._incoming.next()) is not None:
                    self._deliver(*received)
                self._incoming.feed(await loop.sock_recv(self._connection, _CHUNK_BYTES))
        except OSError as error:
            self._lose(ConnectionLostError(f"connection lost: {error}"))
        except RpcError as error:
            self._lose(error)

    def _deliver(self, number: int, body: Any) -> None:
        if number != EVENT:
            future = self._calls.get(number)
            if future is not None and not future.done():
                future.set_result(body)
        elif self._events.qsize() < _MAX_EVENTS:
            self._events.put_nowait(body)
        else:
            raise ConnectionLostError(f"{_MAX_EVENTS} events were not taken: connect again")

    def _lose(self, error: RpcError) -> RpcError:
        """Note the end once; wake everybody who waits."""
        if self._lost is None:
            self._lost = error
            self._receiving.cancel()
            self._events.put_nowait(error)
            for future in self._calls.values():
                if not future.done():
                    future.set_exception(error)
        return self._lost


async def _greet(
    connection: socket.socket, path: Path, protocol: Protocol, incoming: Incoming, uids: Container[int]
) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, str(path))
    check_server(connection, path, uids)
    with contextlib.suppress(OSError):  # a server that refuses us has closed already; read why
        await loop.sock_sendall(connection, protocol.hello())
    while not incoming.greeting():
        incoming.feed(await loop.sock_recv(connection, _CHUNK_BYTES))


async def connect_with_retry(
    path: Path,
    protocol: Protocol,
    *,
    failed: Callable[[RpcError, float], None],
    server_uids: Container[int] = ROOT_ONLY,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Client:
    """Connect, again and again until it works: pauses of 0.5 s, growing to 10 s.

    Args:
        failed: called after each failure with the error and the pause, in seconds, that follows.
    """
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return await Client.connect(path, protocol, server_uids=server_uids)
        except RpcError as error:
            failed(error, pause_s)
        await sleep(pause_s)
        pause_s = min(pause_s * _PAUSE_FACTOR, _LAST_PAUSE_S)
