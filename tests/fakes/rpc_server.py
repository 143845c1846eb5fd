"""A server of a tiny protocol, driven by hand or by a thread, and what its tests share."""

import contextlib
import os
import selectors
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Any

import msgspec

from spo.rpc.listener import Listener, SocketPlace
from spo.rpc.protocol import CallFailedError, Failure, Protocol
from spo.rpc.server import Limits, Peer, Server


class Echo(msgspec.Struct, tag="echo"):
    text: str


class Follow(msgspec.Struct, tag="follow"):
    """Subscribe."""


class Echoed(msgspec.Struct, tag="echoed"):
    text: str


class Tick(msgspec.Struct, tag="tick"):
    """An event."""

    count: int


ECHO = Protocol("echo", 7, Echo | Follow, Echoed | Tick | Failure)


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket name: the kernel takes 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="spo-rpc-"))
    yield folder
    shutil.rmtree(folder)


def place(folder: Path, name: str = "echo.sock") -> SocketPlace:
    return SocketPlace(path=folder / "probes" / name, uid=os.getuid(), gid=os.getgid())


class Now:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


class EchoServer:
    """Answers Echo, publishes Tick; "fail" is a failure."""

    def __init__(
        self,
        where: SocketPlace,
        *,
        limits: Limits | None = None,
        allowed_uids: Container[int] | None = None,
        protocol: Protocol = ECHO,
    ) -> None:
        self.now = Now()
        self.handled: list[Any] = []
        self.selector = selectors.DefaultSelector()
        self.listener = Listener(where)
        self.listener.__enter__()
        self.path = where.path
        self.server = Server(
            self.listener.socket,
            protocol,
            self.handle,
            self.selector,
            allowed_uids=allowed_uids if allowed_uids is not None else {os.getuid()},
            limits=limits,
            clock=self.now,
        )

    def handle(self, peer: Peer, request: Echo | Follow) -> msgspec.Struct:
        self.handled.append(request)
        if isinstance(request, Follow):
            peer.subscribed = True
            return Echoed("following")
        if request.text == "fail":
            raise CallFailedError("it did not work", "why")
        return Echoed(request.text)

    def pump(self, rounds: int = 20) -> None:
        """Do all that can be done now."""
        for _ in range(rounds):
            self.turn(0)

    def turn(self, timeout_s: float) -> None:
        for key, events in self.selector.select(timeout_s):
            key.data(events)
        self.server.tick()
        self.server.flush()

    def close(self) -> None:
        self.server.close()
        self.listener.__exit__(None, None, None)
        self.selector.close()

    @contextlib.contextmanager
    def in_thread(self) -> Iterator[Callable[[Callable[[], None]], None]]:
        """Serve from a thread; yields a function that has the thread call another."""
        todo: list[Callable[[], None]] = []
        ours, theirs = socket.socketpair()
        over = threading.Event()

        def wake(_events: int) -> None:
            theirs.recv(1)
            while todo:
                todo.pop(0)()

        self.selector.register(theirs, selectors.EVENT_READ, wake)

        def serve() -> None:
            while not over.is_set():
                self.turn(1.0)

        def do(action: Callable[[], None]) -> None:
            todo.append(action)
            ours.send(b"x")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield do
        finally:
            over.set()
            do(lambda: None)
            thread.join()
            ours.close()
            self.selector.unregister(theirs)
            theirs.close()


class RawPeer:
    """A client that can misbehave; never waits."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(str(path))
        self.socket.setblocking(False)

    def send(self, data: bytes) -> int:
        return self.socket.send(data)

    def received(self) -> bytes:
        """What has arrived so far."""
        pieces = []
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while piece := self.socket.recv(1 << 16):
                pieces.append(piece)
        return b"".join(pieces)

    @property
    def closed(self) -> bool:
        """Whether the server has closed the connection; drops what was not read."""
        try:
            while self.socket.recv(1 << 16):
                pass
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True
        return True

    def close(self) -> None:
        self.socket.close()
