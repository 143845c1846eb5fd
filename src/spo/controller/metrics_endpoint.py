"""Serves metrics over HTTPS to whoever the API server lets read them."""

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from spo import klog
from spo.controller.metrics_access import MetricsAccess, Verdict
from spo.controller.metrics_certificate import CertificateError, ServingContext
from spo.controller.small_http import Answer, CannotListenError, Request, Response, SmallHttpServer, text
from spo.kube.clock import SYSTEM_CLOCK, Clock

log = klog.get("metrics")

RUNTIME_PATH: Final = "/metrics"
SPOD_PATH: Final = "/metrics-spod"
ANSWER_S: Final = 15.0
"""For a scrape with two reviews before it."""
LOOK_AGAIN_S: Final = 5.0
"""How often to look for a certificate, or for the address, that is not there yet."""
_WORDS: Final = {
    Verdict.WHO_ARE_YOU: "send a bearer token of an account of this cluster",
    Verdict.FORBIDDEN: "this account may not read metrics; bind it to ClusterRole spo-metrics-client",
    Verdict.ASK_LATER: "the API server could not be asked about this token",
}


class Page:
    """A page as text: made in a thread, once for all who wait for it, and never older than a request."""

    def __init__(self, registries: Sequence[CollectorRegistry]) -> None:
        self._registries: Final = tuple(registries)
        self._lock = asyncio.Lock()
        self._begun = 0
        self._done = 0
        self._body = b""

    async def body(self) -> bytes:
        """The text of all registries as they are now, or a moment later."""
        # What was begun before now may lack what its reader has just caused.
        wanted = self._begun + 1
        async with self._lock:
            if self._done < wanted:
                self._begun += 1
                number = self._begun
                self._body = await asyncio.to_thread(self._render)
                self._done = number
            return self._body

    def _render(self) -> bytes:
        return b"".join(generate_latest(registry) for registry in self._registries)


class MetricsEndpoint:
    """The pages and who may read them."""

    def __init__(
        self,
        access: MetricsAccess,
        pages: Mapping[str, Sequence[CollectorRegistry]],
    ) -> None:
        """Take what it works with.

        Args:
            access: decides about requests.
            pages: path -> what it shows; :data:`SPOD_PATH` also shows how often it was shown.
        """
        self._own = CollectorRegistry()
        # Named as the Go library names them: existing dashboards and tests ask for them.
        self._answers = Counter(
            "promhttp_metric_handler_requests_total",
            "Total number of scrapes by HTTP status code.",
            ("code",),
            registry=self._own,
        )
        for code in ("200", "500", "503"):
            self._answers.labels(code)
        self._in_flight = Gauge(
            "promhttp_metric_handler_requests_in_flight",
            "Current number of scrapes being served.",
            registry=self._own,
        )
        self._access = access
        self._pages: Final = {path: Page(registries) for path, registries in pages.items()}

    def answers(self) -> dict[str, Answer]:
        """Path -> what answers it."""
        return dict.fromkeys(self._pages, self._answer)

    async def _answer(self, request: Request) -> Response:
        verdict = await self._access.verdict(request.headers.get("authorization", ""), request.path)
        if verdict is not Verdict.ALLOWED:
            challenge = {"WWW-Authenticate": "Bearer"} if verdict is Verdict.WHO_ARE_YOU else {}
            words = text(verdict.value, f"{_WORDS[verdict]}\n")
            return Response(words.status, words.body, words.content_type, challenge)
        if request.path != SPOD_PATH:
            body = await self._pages[request.path].body()
            return Response(HTTPStatus.OK, body, CONTENT_TYPE_PLAIN_0_0_4)
        with self._in_flight.track_inprogress():
            body = await self._pages[request.path].body()
            self._answers.labels("200").inc()
            return Response(HTTPStatus.OK, body + generate_latest(self._own), CONTENT_TYPE_PLAIN_0_0_4)


def metrics_server(
    host: str, port: int, endpoint: MetricsEndpoint, context: Callable[[], ssl.SSLContext]
) -> SmallHttpServer:
    """The server of an endpoint."""
    return SmallHttpServer(
        host,
        port,
        endpoint.answers(),
        what="metrics endpoint",
        remedy="SPO_METRICS_ADDRESS sets another address",
        context=context,
        answer_s=ANSWER_S,
    )


class MetricsPart:
    """The part of a process that serves its metrics; never a reason for the process to end.

    Args:
        host: address to listen on; empty: all.
        directory: of the serving certificate; nothing is served as long as there is none.
    """

    def __init__(
        self,
        host: str,
        port: int,
        directory: Path,
        access: MetricsAccess,
        pages: Mapping[str, Sequence[CollectorRegistry]],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._host = host
        self._port = port
        self._directory = directory
        self._access = access
        self._pages = pages
        self._clock = clock
        self.server: SmallHttpServer | None = None
        """Once there is a certificate."""

    async def run(self) -> None:
        """Serve until cancelled; the log tells why nothing is served."""
        certificate = await self._certificate()
        endpoint = MetricsEndpoint(self._access, self._pages)
        self.server = metrics_server(self._host, self._port, endpoint, certificate.current)
        log.info("Serving metrics", address=f"{self._host}:{self._port}", paths=list(self._pages))
        known = ""
        while True:
            try:
                await self.server.run()
            except CannotListenError as error:
                if str(error) != known:
                    log.error("No metrics", error=error)
                known = str(error)
            await self._clock.sleep(LOOK_AGAIN_S)

    async def _certificate(self) -> ServingContext:
        known = ""
        while True:
            try:
                return ServingContext(self._directory)
            except CertificateError as error:
                if str(error) != known:
                    log.info("No metrics until there is a certificate", problem=str(error))
                known = str(error)
            await self._clock.sleep(LOOK_AGAIN_S)
