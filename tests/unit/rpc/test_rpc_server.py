"""One server, driven by hand: no thread, no waiting."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.rpc.frames import FrameReader, frame
from spo.rpc.protocol import HELLO, Hello, message
from spo.rpc.server import Limits
from tests.fakes.rpc_server import ECHO, Echo, EchoServer, Follow, RawPeer, Tick, place, short_folder

LIMITS = Limits(peers=3, silence_s=5, unread_s=30, unsent_answers_bytes=2000, unsent_bytes=400_000)


@pytest.fixture
def server() -> Iterator[EchoServer]:
    with short_folder() as folder:
        made = EchoServer(place(folder), limits=LIMITS)
        yield made
        made.close()


@pytest.fixture
def connect(server: EchoServer) -> Iterator["Connect"]:
    made = Connect(server.path)
    yield made
    for peer in made.peers:
        peer.close()


class Connect:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.peers: list[RawPeer] = []

    def __call__(self, first: bytes = b"") -> RawPeer:
        peer = RawPeer(self.path)
        self.peers.append(peer)
        if first:
            peer.send(first)
        return peer


def messages(data: bytes) -> list[object]:
    reader = FrameReader()
    reader.feed(data)
    return [msgspec.msgpack.decode(content) for content in iter(reader.next, None)]


def works(server: EchoServer, peer: RawPeer, text: str = "hello") -> bool:
    """Whether a call of this peer, which has greeted, is answered."""
    peer.send(message(5, Echo(text)))
    server.pump()
    return messages(peer.received())[-1:] == [[5, {"type": "echoed", "text": text}]]


def refusal(peer: RawPeer) -> str:
    last = messages(peer.received())[-1]
    assert isinstance(last, dict)
    assert last["type"] == "refused"
    assert last["version"] == 7
    return str(last["message"])


def test_greets_and_answers(server: EchoServer, connect: Connect) -> None:
    peer = connect(ECHO.hello() + message(1, Echo("a")) + message(2, Echo("fail")))
    server.pump()
    assert messages(peer.received()) == [
        {"type": "hello", "service": "echo", "version": 7},
        [1, {"type": "echoed", "text": "a"}],
        [2, {"type": "failure", "message": "it did not work", "reason": "why"}],
    ]


def test_bytes_may_come_one_at_a_time(server: EchoServer, connect: Connect) -> None:
    peer = connect()
    for byte in ECHO.hello() + message(1, Echo("slow")):
        peer.send(bytes((byte,)))
        server.pump(2)
    assert messages(peer.received())[-1] == [1, {"type": "echoed", "text": "slow"}]


def test_nothing_is_sent_before_flush(server: EchoServer, connect: Connect) -> None:
    peer = connect(ECHO.hello() + message(1, Echo("a")))
    for _ in range(3):
        for key, events in server.selector.select(0):
            key.data(events)
    assert server.handled == [Echo("a")]
    assert peer.received() == b""
    server.server.flush()
    assert len(messages(peer.received())) == 2


@pytest.mark.parametrize(
    ("hello", "reason"),
    [
        pytest.param(Hello("echo", 6), "echo speaks protocol version 7, the peer 6", id="version"),
        pytest.param(Hello("other", 7), "this is the service echo, not 'other'", id="service"),
    ],
)
def test_other_version_is_told_why(server: EchoServer, connect: Connect, hello: Hello, reason: str) -> None:
    peer = connect(frame(msgspec.msgpack.encode(hello)) + message(1, Echo("a")))
    server.pump()
    assert refusal(peer).startswith(reason)
    assert peer.closed
    assert server.handled == []


@pytest.mark.parametrize(
    ("garbage", "reason"),
    [
        pytest.param((2 << 20).to_bytes(4, "big"), "a frame of 2097152 bytes", id="two-mebibytes"),
        pytest.param(b"\x00\x00\x00\x00", "a frame of 0 bytes", id="empty-frame"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", "a frame of 1195725856 bytes", id="http"),
        pytest.param(frame(b"\xc1\xc1"), "not a message of this protocol", id="not-msgpack"),
        pytest.param(message(1, Tick(1)), "not a message of this protocol", id="not-a-request"),
    ],
)
@pytest.mark.parametrize("greeted", [True, False])
def test_garbage_ends_the_connection_only(
    server: EchoServer, connect: Connect, garbage: bytes, reason: str, greeted: bool
) -> None:
    good = connect(ECHO.hello())
    bad = connect((ECHO.hello() if greeted else b"") + garbage)
    server.pump()
    assert refusal(bad).startswith(reason)
    assert bad.closed
    assert works(server, good)


@given(st.lists(st.binary(max_size=200), max_size=4), st.booleans())
def test_arbitrary_bytes_leave_the_server_working(pieces: list[bytes], greeted: bool) -> None:
    with short_folder() as folder:
        server = EchoServer(place(folder))
        bad, good = RawPeer(server.path), RawPeer(server.path)
        good.send(ECHO.hello())
        bad.send(ECHO.hello() if greeted else b"\x00")
        for piece in pieces:
            try:
                bad.send(piece)
            except BrokenPipeError:
                break
            server.pump(2)
        assert works(server, good)
        bad.close()
        good.close()
        server.close()


def test_half_a_frame_stalls_nobody_and_ends(server: EchoServer, connect: Connect) -> None:
    slow = connect(ECHO.hello() + message(1, Echo("x" * 100))[:50])
    good = connect(ECHO.hello())
    server.pump()
    assert works(server, good)
    server.now.s += 4.9
    slow.send(b"y")  # a drop now and then buys no time
    server.pump()
    assert not slow.closed
    server.now.s += 0.2
    assert server.server.next_deadline_s() is not None
    server.pump()
    assert slow.closed
    assert works(server, good)


def test_peer_must_greet_in_time(server: EchoServer, connect: Connect) -> None:
    peer = connect()
    server.pump()
    server.now.s += 5
    server.pump()
    assert peer.closed


def test_quiet_peer_may_stay(server: EchoServer, connect: Connect) -> None:
    peer = connect(ECHO.hello())
    server.pump()
    assert server.server.next_deadline_s() is None
    server.now.s += 1e6
    assert works(server, peer)


def test_number_of_peers_is_bounded(server: EchoServer, connect: Connect) -> None:
    peers = [connect(ECHO.hello()) for _ in range(3)]
    server.pump()
    extra = connect()
    server.pump()
    assert refusal(extra) == "echo serves 3 already"
    assert extra.closed
    peers[0].close()
    server.pump()
    again = connect(ECHO.hello())
    server.pump()
    assert works(server, again)


def test_unknown_user_is_told_and_closed() -> None:
    with short_folder() as folder:
        server = EchoServer(place(folder), allowed_uids={4711})
        peer = RawPeer(server.path)
        server.pump()
        assert "may not use echo" in refusal(peer)
        assert peer.closed
        assert server.server.peers == 0
        peer.close()
        server.close()


def test_peer_that_reads_nothing_waits_and_is_closed(server: EchoServer, connect: Connect) -> None:
    greedy = connect(ECHO.hello())
    good = connect(ECHO.hello())
    server.pump()
    call = message(1, Echo("x" * 10_000))
    sent = 0
    for _ in range(500):
        try:
            sent += greedy.send(call)
        except BlockingIOError:
            break
        server.pump(1)
    assert len(server.handled) < sent // len(call)  # the rest waits where it was
    assert works(server, good)
    print(
        server.server._peers.values(),
        [
            (p.paused, len(p.out), p.send_deadline_s, p.frame_deadline_s, p.reader.waiting_bytes)
            for p in server.server._peers.values()
        ],
        server.now.s,
    )
    server.now.s += 30
    server.pump()
    assert greedy.closed


def test_waiting_calls_are_answered_when_the_peer_reads(server: EchoServer, connect: Connect) -> None:
    peer = connect(ECHO.hello())
    server.pump()
    for number in range(40):
        peer.send(message(number, Echo("x" * 1000)))
    data = b""
    for _ in range(200):
        server.turn(0)
        data += peer.received()
    assert [body[0] for body in messages(data)[1:] if isinstance(body, list)] == list(range(40))
    server.now.s += 100
    assert works(server, peer)


def test_events_reach_subscribers_only(server: EchoServer, connect: Connect) -> None:
    follower, other = connect(ECHO.hello() + message(1, Follow())), connect(ECHO.hello())
    server.pump()
    follower.received(), other.received()
    server.server.publish(Tick(1))
    server.pump()
    assert messages(follower.received()) == [[0, {"type": "tick", "count": 1}]]
    assert other.received() == b""


def test_subscriber_that_does_not_read_is_closed(server: EchoServer, connect: Connect) -> None:
    follower = connect(ECHO.hello() + message(1, Follow()))
    server.pump()
    for count in range(50_000):
        server.server.publish(Tick(count))
    server.pump()
    assert follower.closed
    assert server.server.peers == 0


def test_hello_must_come_first(server: EchoServer, connect: Connect) -> None:
    peer = connect(message(1, Echo("a")))
    server.pump()
    assert peer.closed
    assert server.handled == []


def test_greeting_is_read_by_any_version() -> None:
    assert (
        HELLO.decode(msgspec.msgpack.encode({"type": "hello", "service": "x", "version": 99})).version == 99
    )
