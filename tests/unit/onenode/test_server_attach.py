"""How an attachment ends."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from onenode.pod_streams import serve_streams


class EndedProcess:
    """A process that wrote something and ended."""

    def __init__(self, code: int, *written: tuple[int, bytes]) -> None:
        self._code, self._written = code, written

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        for item in self._written:
            yield item

    async def write(self, data: bytes) -> None:
        raise AssertionError("nobody sends input")

    async def close_input(self) -> None:
        raise AssertionError("nobody sends input")

    def resize(self, width: int, height: int) -> None:
        raise AssertionError("nobody has a terminal")

    async def wait(self) -> int:
        return self._code

    async def stop(self) -> None:
        return None


class Client:
    """The side of the client: takes everything, sends nothing."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    async def send_bytes(self, data: bytes) -> None:
        self.messages.append(data)

    async def receive_bytes(self) -> bytes:
        await asyncio.Event().wait()
        return b""

    async def close(self) -> None:
        return None


HELLO = (1, b"hello\n")
PODMAN = (2, b"Error: you can only attach to running containers\n")
OWN = (2, b"Error: the program says so\n")


@pytest.mark.parametrize(
    ("code", "written", "shown", "success"),
    [
        (0, [HELLO], [b"\x01hello\n"], True),
        (3, [HELLO], [b"\x01hello\n"], True),
        (125, [HELLO, PODMAN], [b"\x01hello\n"], True),
        (125, [PODMAN], [], False),
        (125, [], [], False),
        (1, [OWN], [b"\x02" + OWN[1]], True),
        (1, [OWN, HELLO], [b"\x02" + OWN[1], b"\x01hello\n"], True),
    ],
)
async def test_attachment_fails_only_before_the_first_output(
    code: int, written: list[tuple[int, bytes]], shown: list[bytes], success: bool
) -> None:
    client = Client()
    await serve_streams(client, EndedProcess(code, *written), attached=True)
    *output, last = client.messages
    assert output == shown
    assert last[0] == 3
    assert (json.loads(last[1:])["status"] == "Success") is success


async def test_exec_tells_the_exit_code() -> None:
    client = Client()
    await serve_streams(client, EndedProcess(3, HELLO))
    assert json.loads(client.messages[-1][1:])["details"]["causes"][0]["message"] == "3"
