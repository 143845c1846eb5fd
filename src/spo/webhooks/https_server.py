"""HTTPS as the API server speaks it: HTTP/1.1, POST of JSON, connections that stay open.

Anybody in the cluster can connect, so that everything has a limit: headers, bodies, time, connections.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Final

from spo import klog
from spo.errors import SpoError
from spo.webhooks.http_connection import Answerer, Connection, HttpLimits

log = klog.get("webhook")


FIRST_REQUEST_S: Final = 0.5
"""How long a server that no longer listens waits for the first requests of its last connections."""


class CannotServeError(SpoError):
    """The address of the webhook server cannot be used."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(address, reason)
        self.address = address
        self.reason = reason

    def __str__(self) -> str:
        return f"webhook server {self.address}: {self.reason}; --port sets another port"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainTimes:
    """How the server stops."""

    leave_s: float = 3.0
    """How long it goes on after it was told to stop: endpoints take that long to forget it."""
    finish_s: float = 5.0
    """How long requests under way have after that."""


class HttpsServer:
    """Answers on some paths until it is stopped."""

    def __init__(
        self,
        host: str,
        port: int,
        context: ssl.SSLContext,
        paths: Collection[str],
        answer: Answerer,
        *,
        limits: HttpLimits | None = None,
        drain: DrainTimes | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Take what it works with.

        Args:
            host: address to listen on; empty: all.
            port: 0 lets the system choose, see :attr:`port`.
            paths: everything else is 404.
            answer: makes the body of an answer; see :data:`spo.webhooks.http_connection.Answerer`.
        """
        self.port = port
        self.listening: Final = asyncio.Event()
        """Set once :attr:`port` answers."""
        self.leaving = False
        """Told to stop: nobody should send anything new here."""
        self._host = host
        self._context = context
        self._paths = frozenset(paths)
        self._answer = answer
        self._limits = limits or HttpLimits()
        self._drain_times = drain or DrainTimes()
        self._sleep = sleep
        self._connections: Final[set[Connection]] = set()

    async def run(self) -> None:
        """Answer until cancelled; requests under way are answered before this ends.

        Raises:
            CannotServeError: the address is taken or not ours.
        """
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(
                self._accept,
                self._host or None,
                self.port,
                ssl=self._context,
                ssl_handshake_timeout=self._limits.request_s,
                ssl_shutdown_timeout=1.0,
                backlog=self._limits.connections,
            )
        except OSError as error:
            raise CannotServeError(f"{self._host}:{self.port}", error.strerror or str(error)) from error
        self.port = server.sockets[0].getsockname()[1]
        self.listening.set()
        log.info("Serving admission webhooks", port=self.port)
        watching = loop.create_task(self._watch_limits())
        try:
            await loop.create_future()
        finally:
            await self._leave(server)
            watching.cancel()

    def _accept(self) -> Connection:
        return Connection(self._connections, self._paths, self._answer, self._limits, lambda: self.leaving)

    async def _watch_limits(self) -> None:
        """Close connections that are over their time; one timer for all, as it is hardly ever needed."""
        loop = asyncio.get_running_loop()
        pause_s = min(1.0, self._limits.request_s / 4, self._limits.idle_s / 4)
        while True:
            await asyncio.sleep(pause_s)
            now_s = loop.time()
            for connection in list(self._connections):
                connection.check(now_s)

    async def _leave(self, server: asyncio.Server) -> None:
        self.leaving = True
        log.info("Leaving", connections=len(self._connections))
        try:
            await self._sleep(self._drain_times.leave_s)
            server.close()
            # Whoever has just connected is about to send something.
            await self._sleep(min(self._drain_times.leave_s, FIRST_REQUEST_S))
        finally:
            server.close()
            for connection in list(self._connections):
                connection.finish()
            await self._last_answers()

    async def _last_answers(self) -> None:
        try:
            async with asyncio.timeout(self._drain_times.finish_s):
                while self._connections:
                    await asyncio.wait([connection.closed for connection in self._connections])
        except TimeoutError:
            log.warning("Connections cut off", count=len(self._connections))
        finally:
            for connection in list(self._connections):
                connection.abort()
