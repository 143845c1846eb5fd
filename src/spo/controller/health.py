"""Answers the kubelet's probes: as little HTTP as that takes, because every node pays for it."""

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

from spo.errors import SpoError

REQUEST_S: Final = 5.0
"""How long a client may take to ask."""
MAX_REQUEST_BYTES: Final = 8 * 1024
MAX_CLIENTS: Final = 16
"""Connections at one time; more are closed at once."""

Check = Callable[[], str]
"""Tells what is wrong, nothing if all is well."""


class CannotListenError(SpoError):
    """The address of the health endpoint cannot be used."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(address, reason)
        self.address = address
        self.reason = reason

    def __str__(self) -> str:
        return f"health endpoint {self.address}: {self.reason}; SPO_HEALTH_ADDRESS sets another address"


class HealthServer:
    """``GET`` of a path answers 200 ``ok`` if its check finds nothing, else 503 with what is wrong."""

    def __init__(self, host: str, port: int, checks: Mapping[str, Check]) -> None:
        """Take what it works with.

        Args:
            host: address to listen on; empty: all.
            port: 0 lets the system choose, see :attr:`port`.
            checks: path, such as ``/healthz`` -> its check.
        """
        self.port = port
        self._host = host
        self._checks = checks
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
            raise CannotListenError(f"{self._host}:{self.port}", reason) from error
        self.port = server.sockets[0].getsockname()[1]
        self.listening.set()
        async with server:
            await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            if self._clients <= MAX_CLIENTS:
                async with asyncio.timeout(REQUEST_S):
                    request = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._answer(request))
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever that was, it did not want to know
        finally:
            self._clients -= 1
            writer.close()

    def _answer(self, request: bytes) -> bytes:
        method, _, rest = request.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")
        check = self._checks.get(rest.partition(" ")[0].partition("?")[0])
        if check is None:
            return _response(HTTPStatus.NOT_FOUND, "not found")
        if method not in {"GET", "HEAD"}:
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, "only GET")
        problem = check()
        status = HTTPStatus.SERVICE_UNAVAILABLE if problem else HTTPStatus.OK
        return _response(status, problem or "ok", head=method == "HEAD")


def _response(status: HTTPStatus, text: str, *, head: bool = False) -> bytes:
    body = text.encode()
    lines = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if head else body)
