"""The connection to the daemon, in a loop that must not wait for it."""

import contextlib
import selectors
import socket
from collections import deque
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any, Final

import msgspec

from spo import klog
from spo.rpc.connection import ConnectionLostError, Incoming, check_server
from spo.rpc.errors import RpcError
from spo.rpc.protocol import EVENT, Failure, Protocol, message

log = klog.get("log-enricher")

_CHUNK_BYTES: Final = 1 << 16
_FIRST_PAUSE_S: Final = 0.5
_PAUSE_FACTOR: Final = 1.5
_LAST_PAUSE_S: Final = 10.0
ANSWER_S: Final = 30.0

Done = Callable[[Any], None]
"""Called with the answer to a call. Never called if the connection is lost."""


class DaemonLink:
    """Connects, again and again, and carries calls; several may be under way.

    Callbacks are registered in ``selector`` as ``spo.rpc.server.Ready``.

    Args:
        changed: called with True when calls can be made, with False when all calls under way are lost.
        event: called with what the daemon says by itself; ``None``: it must not.
        server_uids: who may serve ``path``.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        path: Path,
        protocol: Protocol,
        selector: selectors.BaseSelector,
        changed: Callable[[bool], None],
        *,
        server_uids: Container[int],
        clock: Callable[[], float],
        event: Done | None = None,
    ) -> None:
        self._event = event
        self._path = path
        self._protocol = protocol
        self._selector = selector
        self._changed = changed
        self._server_uids = server_uids
        self._clock = clock
        self._socket: socket.socket | None = None
        self._incoming = Incoming(protocol)
        self._out = bytearray()
        self._calls: deque[tuple[int, Done]] = deque()
        self._last_number = EVENT
        self._pause_s = _FIRST_PAUSE_S
        self._deadline_s = clock()
        self._complaint = ""

    @property
    def is_ready(self) -> bool:
        """Whether a call can be made."""
        return self._socket is not None and self._incoming.greeted

    def call(self, request: msgspec.Struct, done: Done) -> None:
        """Send a request. Only when :attr:`is_ready`."""
        self._last_number += 1
        self._calls.append((self._last_number, done))
        if len(self._calls) == 1:
            self._deadline_s = self._clock() + ANSWER_S
        self._out += message(self._last_number, request)
        self._send()

    def next_deadline_s(self) -> float | None:
        """When :meth:`tick` must be called at the latest; ``None``: no need."""
        idle = self.is_ready and not self._calls
        return None if idle else self._deadline_s

    def tick(self) -> None:
        """Connect when it is time; give a daemon up that does not answer."""
        deadline_s = self.next_deadline_s()
        if deadline_s is None or self._clock() < deadline_s:
            return
        if self._socket is None:
            self._connect()
        else:
            self._lose(ConnectionLostError(f"{self._path} does not answer"))

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = None

    def _connect(self) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            connection.connect(str(self._path))
            check_server(connection, self._path, self._server_uids)
        except (OSError, RpcError) as error:
            connection.close()
            self._again(f"cannot connect to {self._path}: {error}")
            return
        self._socket = connection
        self._incoming = Incoming(self._protocol)
        self._out = bytearray(self._protocol.hello())
        self._deadline_s = self._clock() + ANSWER_S
        self._selector.register(connection, selectors.EVENT_READ, self._ready)
        self._send()

    def _ready(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._send()
        if events & selectors.EVENT_READ and self._socket is not None:
            try:
                with contextlib.suppress(BlockingIOError):
                    self._incoming.feed(self._socket.recv(_CHUNK_BYTES))
                self._take()
            except (OSError, RpcError) as error:
                self._lose(error)

    def _take(self) -> None:
        if not self._incoming.greeted:
            if not self._incoming.greeting():
                return
            self._pause_s, self._complaint = _FIRST_PAUSE_S, ""
            log.info("Connected to the daemon", socket=str(self._path))
            self._changed(True)
        while self._socket is not None and (received := self._incoming.next()) is not None:
            number, answer = received
            if number == EVENT and self._event is not None:
                self._event(answer)
                continue
            if not self._calls or number != self._calls[0][0]:
                raise ConnectionLostError(f"an answer to no call: {type(answer).__name__}")
            _, done = self._calls.popleft()
            self._deadline_s = self._clock() + ANSWER_S
            if isinstance(answer, Failure):
                raise ConnectionLostError(f"the daemon cannot do what it is asked: {answer.message}")
            done(answer)

    def _send(self) -> None:
        if self._socket is None:
            return
        try:
            with contextlib.suppress(BlockingIOError):
                while self._out:
                    del self._out[: self._socket.send(memoryview(self._out)[:_CHUNK_BYTES])]
        except OSError:
            return  # why is to be read: the socket is ready for that now
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
        if self._selector.get_key(self._socket).events != events:
            self._selector.modify(self._socket, events, self._ready)

    def _lose(self, error: Exception) -> None:
        was_ready = self.is_ready
        self.close()
        self._calls.clear()
        self._out.clear()
        self._again(str(error))
        if was_ready:
            self._changed(False)

    def _again(self, problem: str) -> None:
        """Try again after a pause; complain once about one problem."""
        self._deadline_s = self._clock() + self._pause_s
        self._pause_s = min(self._pause_s * _PAUSE_FACTOR, _LAST_PAUSE_S)
        if problem != self._complaint:
            self._complaint = problem
            log.warning("Cannot talk to the daemon, trying again", problem=problem)
