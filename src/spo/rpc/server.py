"""A server for a handful of peers in a plain ``selectors`` loop: no asyncio, which costs 10 MB."""

import contextlib
import selectors
import socket
import time
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from spo import klog
from spo.rpc.frames import FrameError, FrameReader
from spo.rpc.peer import Credentials, credentials
from spo.rpc.protocol import EVENT, HELLO, CallFailedError, Failure, MessageError, Protocol, decode, message

log = klog.get("rpc")

Ready = Callable[[int], None]
"""What the loop calls when a file descriptor is ready: ``key.data(events)``."""

_CHUNK_BYTES: Final = 1 << 16
_PAUSE_S: Final = 1.0  # after a failing accept; between two complaints


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one peer may take from the others."""

    peers: int = 8
    """Connections at a time; the next one is told so and closed."""
    silence_s: float = 5.0
    """For the first frame, and for the rest of a frame."""
    unread_s: float = 30.0
    """For taking some of what was sent."""
    unsent_answers_bytes: int = 1 << 20
    """A peer that leaves more unread has its next calls wait."""
    unsent_bytes: int = 4 << 20
    """A peer that leaves more unread, events included, is closed."""


class Peer:
    """One connection, as the handler sees it."""

    __slots__ = (
        "connection",
        "frame_deadline_s",
        "greeted",
        "leaving",
        "out",
        "paused",
        "reader",
        "send_deadline_s",
        "subscribed",
        "who",
    )

    def __init__(self, connection: socket.socket, who: Credentials, deadline_s: float) -> None:
        self.connection = connection
        self.who = who
        self.reader = FrameReader()
        self.out = bytearray()
        self.greeted = False
        self.leaving = False
        """To be closed as soon as ``out`` is sent."""
        self.paused = False
        """Calls wait in ``reader`` until some of ``out`` is sent."""
        self.subscribed = False
        """Set by the handler: :meth:`Server.publish` reaches this peer."""
        self.frame_deadline_s: float | None = deadline_s
        self.send_deadline_s: float | None = None

    def push(self, event: msgspec.Struct) -> None:
        """Queue an event for this peer alone."""
        if not self.leaving:
            self.out += message(EVENT, event)


class Server:
    """Speaks one protocol on a listening socket.

    Callbacks are registered in ``selector`` with a :data:`Ready` as data. Answers are sent by
    :meth:`flush` only, so that the caller can store first what they promise.

    Args:
        handle: gives the answer to a request; raises CallFailedError for one that cannot be carried out.
        allowed_uids: peers of other users are told so and closed.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        listener: socket.socket,
        protocol: Protocol,
        handle: Callable[[Peer, Any], msgspec.Struct],
        selector: selectors.BaseSelector,
        *,
        allowed_uids: Container[int],
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listener = listener
        self._protocol = protocol
        self._decoder = protocol.request_decoder()
        self._handle = handle
        self._selector = selector
        self._allowed_uids = allowed_uids
        self._limits = limits or Limits()
        self._clock = clock
        self._peers: dict[int, Peer] = {}
        self._accept_again_s: float | None = None
        self._complain_again_s = 0.0
        selector.register(listener, selectors.EVENT_READ, self._accept)

    @property
    def peers(self) -> int:
        """How many connections there are."""
        return len(self._peers)

    def publish(self, event: msgspec.Struct) -> int:
        """Queue an event for every peer that has subscribed; how many these are."""
        subscribed = [peer for peer in self._peers.values() if peer.subscribed]
        for peer in subscribed:
            peer.push(event)
        return len(subscribed)

    def flush(self) -> None:
        """Send what is queued, as far as the peers take it now; close those that leave too much unread."""
        for peer in list(self._peers.values()):
            self._send_some(peer)
            if len(peer.out) > self._limits.unsent_bytes:
                self._close(peer, "it does not read what it is sent")
            elif peer.connection.fileno() >= 0:
                self._watch(peer)

    def next_deadline_s(self) -> float | None:
        """When :meth:`tick` must be called at the latest; ``None``: no need."""
        times = [self._accept_again_s]
        for peer in self._peers.values():
            times += (peer.frame_deadline_s, peer.send_deadline_s)
        return min((time_s for time_s in times if time_s is not None), default=None)

    def tick(self) -> None:
        """Close the peers whose time is over."""
        now_s = self._clock()
        for peer in list(self._peers.values()):
            for deadline_s in (peer.frame_deadline_s, peer.send_deadline_s):
                if deadline_s is not None and now_s >= deadline_s:
                    self._close(peer, "it keeps us waiting")
        if self._accept_again_s is not None and now_s >= self._accept_again_s:
            self._accept_again_s = None
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        """Close all connections, take no more; the listening socket stays with its owner."""
        for peer in list(self._peers.values()):
            self._close(peer, None)
        self._accept_again_s = None
        with contextlib.suppress(KeyError):  # done before, or after a failing accept
            self._selector.unregister(self._listener)

    def _accept(self, _events: int) -> None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:  # no file descriptor left: the listener would stay ready
            self._selector.unregister(self._listener)
            self._accept_again_s = self._clock() + _PAUSE_S
            log.error("Cannot take a connection", error=error)
            return
        connection.setblocking(False)
        who = credentials(connection)
        if who.uid not in self._allowed_uids:
            self._turn_away(connection, who, f"uid {who.uid} may not use {self._protocol.service}")
        elif len(self._peers) >= self._limits.peers:
            self._turn_away(connection, who, f"{self._protocol.service} serves {len(self._peers)} already")
        else:
            peer = Peer(connection, who, self._clock() + self._limits.silence_s)
            self._peers[connection.fileno()] = peer
            self._selector.register(connection, selectors.EVENT_READ, self._callback(peer))

    def _turn_away(self, connection: socket.socket, who: Credentials, reason: str) -> None:
        with contextlib.suppress(OSError):
            connection.send(self._protocol.refusal(reason))  # fits the empty buffer of a new socket
        connection.close()
        self._complain("Refused a peer", who, reason)

    def _callback(self, peer: Peer) -> Ready:
        def ready(events: int) -> None:
            if events & selectors.EVENT_WRITE:
                self._send_some(peer)
            if events & selectors.EVENT_READ and peer.connection.fileno() >= 0:
                self._receive(peer)
            if peer.connection.fileno() >= 0:
                self._work(peer)

        return ready

    def _receive(self, peer: Peer) -> None:
        try:
            data = peer.connection.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            peer.reader.feed(data)
        else:
            self._close(peer, None)

    def _work(self, peer: Peer) -> None:
        """Answer the calls that have arrived, while the peer takes the answers."""
        peer.paused = False
        before = peer.reader.waiting_bytes
        try:
            while not peer.leaving:
                if len(peer.out) > self._limits.unsent_answers_bytes:
                    peer.paused = True
                    break
                content = peer.reader.next()
                if content is None:
                    break
                self._take(peer, content)
        except (FrameError, MessageError) as error:
            self._end(peer, str(error))
        waiting = peer.reader.waiting_bytes
        if peer.paused or (peer.greeted and not waiting):
            peer.frame_deadline_s = None
        elif peer.greeted and (peer.frame_deadline_s is None or waiting < before):
            peer.frame_deadline_s = self._clock() + self._limits.silence_s
        self._expect_reading(peer, progress=False)

    def _expect_reading(self, peer: Peer, *, progress: bool) -> None:
        if not (peer.out or peer.paused):
            peer.send_deadline_s = None
        elif progress or peer.send_deadline_s is None:
            peer.send_deadline_s = self._clock() + self._limits.unread_s

    def _take(self, peer: Peer, content: bytes) -> None:
        if peer.greeted:
            number, request = decode(self._decoder, content)
            try:
                answer = self._handle(peer, request)
            except CallFailedError as error:
                answer = Failure(error.message, error.reason)
            peer.out += message(number, answer)
            return
        problem = self._protocol.problem_with(decode(HELLO, content))
        if problem is not None:
            self._end(peer, problem)
            return
        peer.greeted = True
        peer.out += self._protocol.hello()

    def _end(self, peer: Peer, reason: str) -> None:
        peer.out += self._protocol.refusal(reason)
        peer.leaving = True
        self._complain("Ended a connection", peer.who, reason)

    def _send_some(self, peer: Peer) -> None:
        if peer.out:
            try:
                sent = peer.connection.send(memoryview(peer.out)[:_CHUNK_BYTES])
            except BlockingIOError:
                sent = 0
            except OSError:
                self._close(peer, None)
                return
            del peer.out[:sent]
            self._expect_reading(peer, progress=sent > 0)
        if peer.leaving and not peer.out:
            self._close(peer, None)

    def _watch(self, peer: Peer) -> None:
        """Wait for what can go on: reading stops while calls wait, so that a peer cannot fill our memory."""
        events = 0 if peer.paused or peer.leaving else selectors.EVENT_READ
        if peer.out or peer.paused:
            events |= selectors.EVENT_WRITE
        key = self._selector.get_key(peer.connection)
        if key.events != events:
            self._selector.modify(peer.connection, events, key.data)

    def _close(self, peer: Peer, reason: str | None) -> None:
        if peer.connection.fileno() < 0:
            return
        self._selector.unregister(peer.connection)
        del self._peers[peer.connection.fileno()]
        peer.connection.close()
        peer.leaving = True
        if reason is not None:
            self._complain("Closed a connection", peer.who, reason)

    def _complain(self, what: str, who: Credentials, reason: str) -> None:
        """Log, at most once a second: a peer must not be able to fill the log."""
        if self._clock() >= self._complain_again_s:
            self._complain_again_s = self._clock() + _PAUSE_S
            log.warning(what, pid=who.pid, reason=reason, uid=who.uid)
