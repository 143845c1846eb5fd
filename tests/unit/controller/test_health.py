"""What the kubelet's probes get to hear."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from spo.controller.health import MAX_CLIENTS, HealthServer
from spo.controller.small_http import MAX_REQUEST_BYTES, CannotListenError


class Served:
    def __init__(self) -> None:
        self.problem = "not ready"
        self.server = HealthServer("127.0.0.1", 0, {"/healthz": str, "/readyz": lambda: self.problem})

    async def ask(self, request: bytes) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        writer.write(request)
        try:
            return (await reader.read()).decode()
        except ConnectionResetError:
            return ""
        finally:
            await close(writer)


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    made = Served()
    running = asyncio.create_task(made.server.run())
    await made.server.listening.wait()
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(
    ("request_line", "status", "body"),
    [
        ("GET /healthz HTTP/1.1", 200, "ok"),
        ("GET /healthz?verbose HTTP/1.1", 200, "ok"),
        ("HEAD /healthz HTTP/1.1", 200, ""),
        ("GET /readyz HTTP/1.1", 503, "not ready"),
        ("POST /healthz HTTP/1.1", 405, "only GET"),
        ("GET / HTTP/1.1", 404, "not found"),
        ("nonsense", 404, "not found"),
    ],
)
async def test_answers(served: Served, request_line: str, status: int, body: str) -> None:
    head, _, text = (await served.ask(f"{request_line}\r\nHost: x\r\n\r\n".encode())).partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert text == body


async def test_check_is_made_anew_each_time(served: Served) -> None:
    assert "503" in await served.ask(b"GET /readyz HTTP/1.1\r\n\r\n")
    served.problem = ""
    assert "200" in await served.ask(b"GET /readyz HTTP/1.1\r\n\r\n")


async def test_endless_request_is_cut_off(served: Served) -> None:
    assert await served.ask(b"x" * 3 * MAX_REQUEST_BYTES) == ""


async def test_too_many_clients_are_cut_off(served: Served) -> None:
    silent = [await asyncio.open_connection("127.0.0.1", served.server.port) for _ in range(MAX_CLIENTS)]
    assert await served.ask(b"GET /healthz HTTP/1.1\r\n\r\n") == ""
    for _, writer in silent:
        await close(writer)
    while not await served.ask(b"GET /healthz HTTP/1.1\r\n\r\n"):
        pass


async def test_address_in_use_is_named(served: Served) -> None:
    second = HealthServer("127.0.0.1", served.server.port, {})
    with pytest.raises(CannotListenError, match=f"127.0.0.1:{served.server.port}.*SPO_HEALTH_ADDRESS"):
        await second.run()
