"""A small API server on a real socket that misbehaves when told to.

It keeps objects in memory (:mod:`tests.fakes.api_server_objects`), answers over HTTP/1.1 as the API server
does, and takes faults: what to do instead of, or in the middle of, the proper answer.
The suite in tests/contract/test_kube_client_contract.py holds it to the behaviour of a real server.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from tests.fakes.api_server_objects import Objects, RefusedError


@dataclass
class Call:
    """One request as it arrived."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def watching(self) -> bool:
        return self.params.get("watch") == "true"

    @property
    def listing(self) -> bool:
        return self.method == "GET" and "limit" in self.params

    def json(self) -> Any:
        return json.loads(self.body)


Fault = Callable[["Call", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class _Planned:
    matches: Callable[[Call], bool]
    fault: Fault
    times: int


@dataclass
class FakeApiServer:
    """``async with FakeApiServer() as server``; then ``server.url``."""

    objects: Objects = field(default_factory=Objects)
    ssl: SSLContext | None = None
    token: str | None = None
    """If set, other bearer tokens get 401."""
    calls: list[Call] = field(default_factory=list)
    watches_open: int = 0

    def __post_init__(self) -> None:
        self._planned: list[_Planned] = []
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._server: asyncio.Server | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        return f"{'https' if self.ssl else 'http'}://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Listen; after :meth:`stop` on the same port again."""
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self._port, limit=1 << 20, ssl=self.ssl
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Vanish: no listening socket, all connections closed."""
        assert self._server is not None
        self._server.close()
        self.cut_connections()
        serving = list(self._connections)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    def cut_connections(self) -> None:
        """Reset every open connection, watches in the first place."""
        for writer in self._connections.values():
            writer.transport.abort()

    def plan(self, matches: Callable[[Call], bool], fault: Fault, *, times: int = 1) -> None:
        """Answer the next ``times`` matching requests with ``fault``."""
        self._planned.append(_Planned(matches, fault, times))

    def requests(self, matches: Callable[[Call], bool]) -> list[Call]:
        return [call for call in self.calls if matches(call)]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections[task] = writer
        task.add_done_callback(self._connections.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while call := await _read_call(reader):
                self.calls.append(call)
                await self._answer(call, reader, writer)
                if writer.transport.is_closing():
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # The client went away; its right.
        finally:
            writer.close()

    async def _answer(self, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for planned in self._planned:
            if planned.times and planned.matches(call):
                planned.times -= 1
                await planned.fault(call, reader, writer)
                return
        if self.token is not None and call.headers.get("authorization") != f"Bearer {self.token}":
            await send_json(writer, 401, _status(401, "Unauthorized", "Unauthorized"))
            return
        try:
            if call.watching:
                await self._watch(call, reader, writer)
            else:
                code, body = self._dispatch(call)
                await send_json(writer, code, body)
        except RefusedError as refusal:
            await send_json(writer, refusal.code, _status(refusal.code, refusal.reason, str(refusal)))

    def _dispatch(self, call: Call) -> tuple[int, dict[str, Any]]:
        target = self.objects.locate(call.path)
        match call.method:
            case "GET" if target.name:
                return 200, self.objects.get(target)
            case "GET":
                return 200, self.objects.list(target, call.params)
            case "POST":
                return 201, self.objects.create(target, call.json())
            case "PATCH" if call.headers["content-type"].startswith("application/apply-patch"):
                return self.objects.apply(target, call.json())
            case "PATCH" if call.headers["content-type"].startswith("application/merge-patch"):
                return 200, self.objects.merge(target, call.json())
            case "PUT":
                return 200, self.objects.replace(target, call.json())
            case "DELETE":
                return 200, self.objects.delete(target, call.json() if call.body else {})
        raise RefusedError(405, "MethodNotAllowed", "the server does not allow this method")

    async def _watch(self, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await start_stream(writer)
        self.watches_open += 1
        sending = asyncio.create_task(self._send_changes(call, writer))
        gone = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.watches_open -= 1
            sending.cancel()
            gone.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)
        await end_stream(writer)

    async def _send_changes(self, call: Call, writer: asyncio.StreamWriter) -> None:
        changes = self.objects.watch(self.objects.locate(call.path), call.params)
        async with contextlib.aclosing(changes):
            try:
                async for event in changes:
                    await send_event(writer, event)
            except RefusedError as refusal:
                status = _status(refusal.code, refusal.reason, str(refusal))
                await send_event(writer, {"type": "ERROR", "object": status})


async def _read_call(reader: asyncio.StreamReader) -> Call | None:
    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    first, *lines = head.decode().rstrip().split("\r\n")
    method, url, _ = first.split(" ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    parts = urlsplit(url)
    return Call(method, parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)), headers, body)


def _status(code: int, reason: str, message: str) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


async def send_json(writer: asyncio.StreamWriter, code: int, body: dict[str, Any], headers: str = "") -> None:
    content = json.dumps(body).encode()
    fields = f"Content-Type: application/json\r\n{headers}Content-Length: {len(content)}\r\n"
    writer.write(f"HTTP/1.1 {code} X\r\n{fields}\r\n".encode() + content)
    await writer.drain()


async def start_stream(writer: asyncio.StreamWriter) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head)
    await writer.drain()


async def send_chunk(writer: asyncio.StreamWriter, content: bytes) -> None:
    writer.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
    await writer.drain()


async def send_event(writer: asyncio.StreamWriter, event: dict[str, Any]) -> None:
    await send_chunk(writer, json.dumps(event).encode() + b"\n")


async def end_stream(writer: asyncio.StreamWriter) -> None:
    writer.write(b"0\r\n\r\n")
    await writer.drain()


# Faults.


def refuse(code: int, reason: str = "", *, retry_after: str | None = None) -> Fault:
    """An answer with this code and a proper Status."""

    async def fault(_: Call, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        headers = f"Retry-After: {retry_after}\r\n" if retry_after is not None else ""
        await send_json(writer, code, _status(code, reason, f"refused with {code}"), headers)

    return fault


def answer_text(code: int, text: bytes) -> Fault:
    """An answer that is no JSON, as a proxy in between would give."""

    async def fault(_: Call, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {code} X\r\nContent-Type: text/html\r\nContent-Length: {len(text)}\r\n\r\n"
        writer.write(head.encode() + text)
        await writer.drain()

    return fault


async def cut(_: Call, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reset the connection without an answer."""
    writer.transport.abort()


async def hang(_: Call, reader: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """Never answer: the half of the connection towards the client is dead."""
    await reader.read()


def dribble(pause_s: float) -> Fault:
    """A proper answer, but one byte at a time."""

    async def fault(_: Call, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        content = b'{"metadata": {"resourceVersion": "7"}, "items": []}'
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n\r\n".encode())
        for byte in content:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(pause_s)

    return fault


def stream(*pieces: bytes, then: Fault | None = None) -> Fault:
    """A watch that sends exactly these bytes and then ends properly, or does ``then``."""

    async def fault(call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await start_stream(writer)
        for piece in pieces:
            await send_chunk(writer, piece)
        if then is None:
            await end_stream(writer)
        else:
            await then(call, reader, writer)

    return fault
