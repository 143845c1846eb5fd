"""HTTP for probes and scrapers: GET of a few paths, one request a connection; every node pays for it."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from spo.errors import SpoError

REQUEST_S: Final = 5.0
"""How long a client may take to ask."""
MAX_REQUEST_BYTES: Final = 8 * 1024
MAX_CLIENTS: Final = 64
"""Connections at one time; more are closed at once."""

TEXT: Final = "text/plain; charset=utf-8"


class CannotListenError(SpoError):
    """An address cannot be used."""

    def __init__(self, what: str, address: str, reason: str, remedy: str) -> None:
        super().__init__(what, address, reason, remedy)
        self.what = what
        self.address = address
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what} {self.address}: {self.reason}; {self.remedy}"


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks."""

    method: str
    """``GET`` or ``HEAD``."""
    path: str
    """Without the query."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case; of repeated ones the last."""
    query: str = ""
    """What follows the path and ``?``, as it was sent."""


@dataclass(frozen=True, slots=True)
class Response:
    """What it gets."""

    status: HTTPStatus
    body: bytes
    content_type: str = TEXT
    headers: Mapping[str, str] = field(default_factory=dict)


Answer = Callable[[Request], Awaitable[Response]]


def text(status: HTTPStatus, words: str) -> Response:
    """An answer in plain words."""
    return Response(status, words.encode())


class SmallHttpServer:
    """Answers GET and HEAD of some paths until it is cancelled."""

    def __init__(
        self,
        host: str,
        port: int,
        answers: Mapping[str, Answer],
        *,
        what: str,
        remedy: str,
        context: Callable[[], ssl.SSLContext] | None = None,
        answer_s: float = REQUEST_S,
        max_clients: int = MAX_CLIENTS,
    ) -> None:
        """Take what it works with.

        Args:
            host: address to listen on; empty: all.
            port: 0 lets the system choose, see :attr:`port`.
            answers: path, such as ``/metrics`` -> what answers it.
            what: what this is, for the error if the address is taken.
            remedy: what to do then.
            context: serve HTTPS with what it returns, asked before each handshake; None: plain HTTP.
            answer_s: seconds for the request and its answer together.
            max_clients: connections at one time.
        """
        self.port = port
        self._host = host
        self._answers = answers
        self._what = what
        self._remedy = remedy
        self._context = context
        self._answer_s = answer_s
        self._max_clients = max_clients
        self._clients = 0
        self.listening: Final = asyncio.Event()
        """Set once :attr:`port` answers."""

    async def run(self) -> None:
        """Answer until cancelled.

        Raises:
            CannotListenError: the address is taken or not ours.
        """
        try:
            server = await asyncio.start_server(
                self._serve, self._host or None, self.port, limit=MAX_REQUEST_BYTES
            )
        except OSError as error:
            reason = error.strerror or str(error)
            address = f"{self._host}:{self.port}"
            raise CannotListenError(self._what, address, reason, self._remedy) from error
        self.port = server.sockets[0].getsockname()[1]
        self.listening.set()
        async with server:
            await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            if self._clients <= self._max_clients:
                async with asyncio.timeout(self._answer_s):
                    if self._context is not None:
                        # Only now, and with nothing awaited before: who never ends his handshake counts too,
                        # or he could take all file descriptors of the process.
                        await writer.start_tls(self._context(), ssl_handshake_timeout=REQUEST_S)
                    async with asyncio.timeout(REQUEST_S):
                        head = await reader.readuntil(b"\r\n\r\n")
                    request = parsed(head)
                    response = await self._response(request)
                    writer.write(_rendered(response, head=request.method == "HEAD"))
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever that was, it did not want to know
        finally:
            self._clients -= 1
            writer.close()

    async def _response(self, request: Request) -> Response:
        answer = self._answers.get(request.path)
        if answer is None:
            return text(HTTPStatus.NOT_FOUND, "not found")
        if request.method not in {"GET", "HEAD"}:
            return text(HTTPStatus.METHOD_NOT_ALLOWED, "only GET")
        return await answer(request)


def parsed(head: bytes) -> Request:
    """The head of a request, whatever somebody has sent; nonsense gives a path that nobody serves."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, _, rest = first.partition(" ")
    path, _, query = rest.partition(" ")[0].partition("?")
    pairs = (line.partition(":") for line in lines if ":" in line)
    return Request(method, path, {name.strip().lower(): value.strip() for name, _, value in pairs}, query)


def _rendered(response: Response, *, head: bool) -> bytes:
    lines = (
        f"HTTP/1.1 {response.status.value} {response.status.phrase}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        *(f"{name}: {value}" for name, value in response.headers.items()),
        "Connection: close",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if head else response.body)
