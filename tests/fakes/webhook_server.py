"""A small real HTTPS server that answers AdmissionReviews as a test wants."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onenode.certificates import ensure_certificates

__all__ = ["Call", "Reply", "WebhookServer", "allow", "deny", "patch", "webhook_server"]

Obj = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """What was asked."""

    path: str
    headers: dict[str, str]
    review: Obj

    @property
    def request(self) -> Obj:
        found: Obj = self.review["request"]
        return found

    @property
    def uid(self) -> str:
        return str(self.request["uid"])


@dataclass(frozen=True)
class Reply:
    """What to answer."""

    body: bytes | Obj
    status: int = 200
    content_type: str = "application/json"
    close: bool = False
    """Close the connection after it."""


Handler = Callable[[Call], Awaitable[Reply | None]]


@dataclass
class WebhookServer:
    """The server; ``calls`` are kept."""

    port: int
    ca_bundle: str
    """Base64 of PEM, as in ``caBundle``."""
    handler: Handler
    calls: list[Call] = field(default_factory=list)
    connections: int = 0

    def url(self, path: str = "/") -> str:
        return f"https://127.0.0.1:{self.port}{path}"

    def client_config(self, path: str = "/") -> Obj:
        return {"url": self.url(path), "caBundle": self.ca_bundle}


def review_of(uid: str, **response: Any) -> Obj:
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": uid, **response},
    }


async def allow(call: Call) -> Reply:
    return Reply(review_of(call.uid, allowed=True))


def deny(**status: Any) -> Handler:
    async def handler(call: Call) -> Reply:
        return Reply(review_of(call.uid, allowed=False, status=status))

    return handler


def patch(*operations: Obj, **response: Any) -> Handler:
    async def handler(call: Call) -> Reply:
        text = base64.b64encode(json.dumps(operations).encode()).decode()
        told = {"allowed": True, "patchType": "JSONPatch", "patch": text, **response}
        return Reply(review_of(call.uid, **told))

    return handler


@contextlib.asynccontextmanager
async def webhook_server(
    folder: Path, handler: Handler = allow, *, names: tuple[str, ...] = (), port: int = 0, plain: bool = False
) -> AsyncIterator[WebhookServer]:
    """Serve on loopback; ``plain`` speaks HTTP without TLS."""
    certificates = ensure_certificates(folder, list(names))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server, certificates.server_key)
    bundle = base64.b64encode(certificates.ca.read_bytes()).decode()
    served = WebhookServer(port, bundle, handler)
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.connections += 1
        serve = _refuse if plain else _serve
        task = asyncio.create_task(serve(served, reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(connected, "127.0.0.1", port, ssl=None if plain else context)
    served.port = listener.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()


async def _serve(served: WebhookServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = await reader.readexactly(int(headers["content-length"]))
            call = Call(head[0].split(" ")[1], headers, json.loads(body))
            served.calls.append(call)
            reply = await served.handler(call)
            if reply is None:
                return
            content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            start = f"HTTP/1.1 {reply.status} X\r\nContent-Type: {reply.content_type}\r\n"
            writer.write(f"{start}Content-Length: {len(content)}\r\n\r\n".encode() + content)
            await writer.drain()
            if reply.close:
                return
    except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
        return
    finally:
        # Not the polite end of TLS: it waits for a client that keeps its connection open.
        await _flushed(writer)
        writer.transport.abort()


async def _refuse(_served: WebhookServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What an HTTP server says to the first bytes of TLS."""
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    await _flushed(writer)
    writer.close()


async def _flushed(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.drain()
