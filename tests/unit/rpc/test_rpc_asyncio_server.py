import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from spo.rpc.asyncio_server import AsyncioServer
from spo.rpc.blocking import BlockingClient
from spo.rpc.client import Client
from spo.rpc.connection import ConnectionLostError
from spo.rpc.listener import Listener
from spo.rpc.protocol import CallFailedError, RefusedError
from spo.rpc.server import Peer
from tests.fakes.rpc_server import ECHO, Echo, Echoed, Follow, place, short_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


def answer(_: Peer, request: Echo | Follow) -> Echoed:
    if isinstance(request, Follow):
        raise CallFailedError("not here")
    if request.text == "mistake":
        raise ValueError(request.text)
    return Echoed(request.text)


async def test_calls_are_answered(folder: Path) -> None:
    with Listener(place(folder)) as listener:
        server = AsyncioServer(listener.socket, ECHO, answer, allowed_uids={os.getuid()})
        serving = asyncio.create_task(server.run())
        path = place(folder).path
        async with await Client.connect(path, ECHO, server_uids={os.getuid()}) as client:
            texts = [str(number) * 1000 for number in range(50)]
            calls = [client.call(Echo(text), Echoed) for text in texts]
            assert [done.text for done in await asyncio.gather(*calls)] == texts
            with pytest.raises(CallFailedError, match="not here"):
                await client.call(Follow(), Echoed)
            serving.cancel()
            await asyncio.wait((serving,))
            with pytest.raises(ConnectionLostError):
                await client.call(Echo("late"), Echoed)


async def test_answer_that_is_larger_than_the_socket_takes_arrives(folder: Path) -> None:
    with Listener(place(folder)) as listener:
        server = AsyncioServer(listener.socket, ECHO, answer, allowed_uids={os.getuid()})
        serving = asyncio.create_task(server.run())

        def ask() -> int:
            with BlockingClient(place(folder).path, ECHO, server_uids={os.getuid()}) as client:
                return len(client.call(Echo("x" * 900_000), Echoed).text)

        assert await asyncio.to_thread(ask) == 900_000
        serving.cancel()
        await asyncio.wait((serving,))


async def test_stranger_is_turned_away(folder: Path) -> None:
    with Listener(place(folder)) as listener:
        server = AsyncioServer(listener.socket, ECHO, answer, allowed_uids=())
        serving = asyncio.create_task(server.run())
        with pytest.raises(RefusedError, match="may not use echo"):
            await Client.connect(place(folder).path, ECHO, server_uids={os.getuid()})
        serving.cancel()
        await asyncio.wait((serving,))


async def test_mistake_of_the_handler_ends_the_server(folder: Path) -> None:
    with Listener(place(folder)) as listener:
        server = AsyncioServer(listener.socket, ECHO, answer, allowed_uids={os.getuid()})
        serving = asyncio.create_task(server.run())
        async with await Client.connect(place(folder).path, ECHO, server_uids={os.getuid()}) as client:
            with pytest.raises(ConnectionLostError):
                await client.call(Echo("mistake"), Echoed)
        with pytest.raises(ValueError, match="mistake"):
            await serving
