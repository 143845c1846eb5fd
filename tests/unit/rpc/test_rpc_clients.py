"""Both clients against the real server, which runs in a thread."""

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from spo.rpc.blocking import BlockingClient
from spo.rpc.client import Client, connect_with_retry
from spo.rpc.connection import ConnectionLostError
from spo.rpc.errors import RpcError
from spo.rpc.frames import FrameError, frame
from spo.rpc.protocol import CallFailedError, Failure, MessageError, Protocol, RefusedError
from tests.fakes.rpc_server import ECHO, Echo, Echoed, EchoServer, Follow, Tick, place, short_folder

NEWER = Protocol("echo", 8, Echo | Follow, Echoed | Tick | Failure)
UIDS = {os.getuid()}
Do = Callable[[Callable[[], None]], None]


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


@pytest.fixture
def server(folder: Path) -> Iterator[EchoServer]:
    made = EchoServer(place(folder))
    yield made
    made.close()


@pytest.fixture
def do(server: EchoServer) -> Iterator[Do]:
    with server.in_thread() as made:
        yield made


async def test_calls_may_overlap(server: EchoServer, do: Do) -> None:
    async with await Client.connect(server.path, ECHO, server_uids=UIDS) as client:
        texts = [f"{n}" * 1000 for n in range(50)]
        got = await asyncio.gather(*(client.call(Echo(text), Echoed) for text in texts))
        assert [answer.text for answer in got] == texts


async def test_failure_leaves_the_connection_open(server: EchoServer, do: Do) -> None:
    async with await Client.connect(server.path, ECHO, server_uids=UIDS) as client:
        with pytest.raises(CallFailedError, match=r"^it did not work$") as caught:
            await client.call(Echo("fail"), Echoed)
        assert caught.value.reason == "why"
        with pytest.raises(MessageError, match="the answer is Echoed, not Tick"):
            await client.call(Echo("x"), Tick)
        assert (await client.call(Echo("x"), Echoed)).text == "x"


async def test_events_come_between_answers(server: EchoServer, do: Do) -> None:
    async with await Client.connect(server.path, ECHO, server_uids=UIDS) as client:
        await client.call(Follow(), Echoed)
        do(lambda: [server.server.publish(Tick(n)) for n in range(3)] and None)
        got = []
        async for event in client.events():
            got.append(event)
            if len(got) == 3:
                break
        assert got == [Tick(0), Tick(1), Tick(2)]


async def test_end_of_the_server_wakes_everybody(server: EchoServer, do: Do) -> None:
    async with await Client.connect(server.path, ECHO, server_uids=UIDS) as client:
        await client.call(Follow(), Echoed)
        do(server.server.close)
        with pytest.raises(ConnectionLostError, match="echo closed the connection"):
            async for _ in client.events():
                pass
        with pytest.raises(ConnectionLostError):
            await client.call(Echo("x"), Echoed)
        with pytest.raises(ConnectionLostError):
            async for _ in client.events():
                pass


async def test_request_too_long_is_told_before_it_is_sent(server: EchoServer, do: Do) -> None:
    async with await Client.connect(server.path, ECHO, server_uids=UIDS) as client:
        with pytest.raises(FrameError, match="a frame of 2097"):
            await client.call(Echo("x" * (2 << 20)), Echoed)
        assert (await client.call(Echo("x"), Echoed)).text == "x"


async def test_other_version_is_refused_with_both_numbers(server: EchoServer, do: Do) -> None:
    with pytest.raises(RefusedError, match="echo refused us: echo speaks protocol version 7, the peer 8"):
        await Client.connect(server.path, NEWER, server_uids=UIDS)
    with pytest.raises(RefusedError, match="protocol version 7, the peer 8"):
        BlockingClient(server.path, NEWER, server_uids=UIDS)


async def test_full_server_says_so(server: EchoServer, do: Do) -> None:
    clients = [await Client.connect(server.path, ECHO, server_uids=UIDS) for _ in range(8)]
    with pytest.raises(RefusedError, match="echo serves 8 already"):
        await Client.connect(server.path, ECHO, server_uids=UIDS)
    with pytest.raises(RefusedError, match="echo serves 8 already"):
        BlockingClient(server.path, ECHO, server_uids=UIDS)
    for client in clients:
        await client.close()


async def test_server_of_another_user_is_not_trusted(server: EchoServer, do: Do) -> None:
    with pytest.raises(RefusedError, match=r"is served by uid \d+, who is not trusted"):
        await Client.connect(server.path, ECHO, server_uids={4711})
    with pytest.raises(RefusedError, match=r"is served by uid \d+, who is not trusted"):
        BlockingClient(server.path, ECHO, server_uids={4711})


async def test_absent_server_is_tried_again_with_growing_pauses(folder: Path) -> None:
    pauses: list[float] = []
    errors: list[RpcError] = []
    with contextlib.ExitStack() as serving:

        async def sleep(pause_s: float) -> None:
            pauses.append(pause_s)
            if len(pauses) == 10:
                server = EchoServer(place(folder))
                serving.callback(server.close)
                serving.enter_context(server.in_thread())

        def failed(error: RpcError, _pause_s: float) -> None:
            errors.append(error)

        path = place(folder).path
        async with await connect_with_retry(
            path, ECHO, failed=failed, server_uids=UIDS, sleep=sleep
        ) as client:
            assert (await client.call(Echo("x"), Echoed)).text == "x"
    assert pauses[:3] == [0.5, 0.75, 1.125]
    assert max(pauses) == 10.0
    assert len(errors) == 10
    assert all("cannot connect to" in str(error) for error in errors)


def listen(path: Path, answer: bytes) -> threading.Thread:
    """A server that greets everybody with ``answer`` and hangs up."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        for _ in range(2):
            connection, _peer = listener.accept()
            connection.sendall(answer)
            connection.close()
        listener.close()

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="http"),
        pytest.param(b"\xff" * 100, id="long-frame"),
        pytest.param(frame(b"\xc1"), id="not-msgpack"),
        pytest.param(frame(msgspec.msgpack.encode({"type": "hello"})), id="half-a-hello"),
        pytest.param(ECHO.hello()[:-1], id="cut-off"),
    ],
)
async def test_server_that_is_not_ours_gives_one_clear_error(folder: Path, answer: bytes) -> None:
    thread = listen(folder / "s", answer)
    with pytest.raises(RpcError) as caught:
        await Client.connect(folder / "s", ECHO, server_uids=UIDS)
    with pytest.raises(type(caught.value)):
        await asyncio.to_thread(BlockingClient, folder / "s", ECHO, server_uids=UIDS)
    thread.join()


async def test_silent_server_is_given_up(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(folder / "s"))
        silent.listen()
        with pytest.raises(ConnectionLostError, match=r"does not answer within 0.05 s"):
            await Client.connect(folder / "s", ECHO, timeout_s=0.05, server_uids=UIDS)
        with pytest.raises(ConnectionLostError, match="timed out"):
            BlockingClient(folder / "s", ECHO, timeout_s=0.05, server_uids=UIDS)


async def test_call_given_up_in_the_middle_of_a_frame_ends_the_connection(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
        listener.listen()
        connecting = asyncio.create_task(Client.connect(folder / "s", ECHO, server_uids=UIDS))
        connection, _peer = await asyncio.to_thread(listener.accept)
        connection.sendall(ECHO.hello())
        with connection:
            async with await connecting as client:
                call = asyncio.create_task(client.call(Echo("x" * 1_000_000), Echoed))
                await asyncio.wait((call,), timeout=0.05)  # nobody reads
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                with pytest.raises(ConnectionLostError, match="given up while it was being sent"):
                    await client.call(Echo("x"), Echoed)


def test_blocking_client_calls_and_waits_for_events(server: EchoServer, do: Do) -> None:
    with BlockingClient(server.path, ECHO, server_uids=UIDS) as client:
        client.call(Follow(), Echoed)
        do(lambda: server.server.publish(Tick(1)))
        assert client.next_event() == Tick(1)
        do(lambda: server.server.publish(Tick(2)))
        assert client.call(Echo("x"), Echoed).text == "x"
        assert client.next_event() == Tick(2)
        with pytest.raises(CallFailedError):
            client.call(Echo("fail"), Echoed)
