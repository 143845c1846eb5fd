"""Serves the metrics over HTTPS: ``/metrics`` of this process, ``/metrics-spod`` of profiles and audits."""

import ssl
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from spo import klog
from spo.controller.small_http import Answer, Request, Response, SmallHttpServer, text
from spo.daemon.metrics_access import MetricsAccess, Verdict
from spo.errors import SpoError

log = klog.get("metrics")

RUNTIME_PATH: Final = "/metrics"
SPOD_PATH: Final = "/metrics-spod"
ANSWER_S: Final = 15.0
"""For a scrape with two reviews before it."""
_CERTIFICATE: Final = "tls.crt"
_KEY: Final = "tls.key"
_WORDS: Final = {
    Verdict.WHO_ARE_YOU: "send a bearer token of an account of this cluster",
    Verdict.FORBIDDEN: "this account may not read metrics; bind it to ClusterRole spo-metrics-client",
    Verdict.ASK_LATER: "the API server could not be asked about this token",
}


class CertificateError(SpoError):
    """The files of the serving certificate cannot be used."""

    def __init__(self, directory: Path, reason: str) -> None:
        super().__init__(directory, reason)
        self.directory = directory
        self.reason = reason

    def __str__(self) -> str:
        return f"serving certificate in {self.directory}: {self.reason}; Secret metrics-server-cert has it"


class ServingContext:
    """The TLS context, with the certificate of a mounted Secret; a new one is taken without a restart."""

    def __init__(self, directory: Path) -> None:
        """Load the certificate.

        Raises:
            CertificateError: there is none, or it does not fit its key.
        """
        self._directory = directory
        self.context: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._loaded = self._version()
        self._load()

    def refresh(self) -> None:
        """Take a changed certificate for the connections to come; keep the old one if it is broken."""
        try:
            version = self._version()
            if version != self._loaded:
                self._load()
                self._loaded = version
                log.info("Took a new serving certificate")
        except CertificateError as error:
            log.warning("Kept the old serving certificate", problem=str(error))

    def _version(self) -> tuple[int, ...]:
        """Changes when a file does; the kubelet swaps the directory of a Secret as a whole."""
        try:
            stats = [(self._directory / name).stat() for name in (_CERTIFICATE, _KEY)]
        except OSError as error:
            raise CertificateError(self._directory, error.strerror or str(error)) from error
        return tuple(number for stat in stats for number in (stat.st_ino, stat.st_mtime_ns))

    def _load(self) -> None:
        try:
            self.context.load_cert_chain(self._directory / _CERTIFICATE, self._directory / _KEY)
        except (OSError, ssl.SSLError) as error:
            raise CertificateError(self._directory, str(error)) from error


class Certificate(Protocol):
    """What the endpoint needs of a certificate."""

    def refresh(self) -> None:
        """Take a changed one."""


class MetricsEndpoint:
    """The pages and who may read them."""

    def __init__(
        self,
        access: MetricsAccess,
        runtime: Sequence[CollectorRegistry],
        spod: Sequence[CollectorRegistry],
        certificate: Certificate,
    ) -> None:
        """Take what it works with.

        Args:
            access: decides about requests.
            runtime: what ``/metrics`` shows.
            spod: what ``/metrics-spod`` shows, besides the answers given here.
            certificate: looked at again with every request.
        """
        own = CollectorRegistry()
        # Named as the Go library names it: existing dashboards and tests ask for it.
        self._answers = Counter(
            "promhttp_metric_handler_requests_total",
            "Total number of scrapes by HTTP status code.",
            ("code",),
            registry=own,
        )
        for code in ("200", "500", "503"):
            self._answers.labels(code)
        self._access = access
        self._certificate = certificate
        self._pages: Final = {RUNTIME_PATH: tuple(runtime), SPOD_PATH: (*spod, own)}

    def answers(self) -> dict[str, Answer]:
        """Path -> what answers it."""
        return dict.fromkeys(self._pages, self._answer)

    async def _answer(self, request: Request) -> Response:
        self._certificate.refresh()
        verdict = await self._access.verdict(request.headers.get("authorization", ""), request.path)
        if verdict is not Verdict.ALLOWED:
            challenge = {"WWW-Authenticate": "Bearer"} if verdict is Verdict.WHO_ARE_YOU else {}
            words = text(verdict.value, f"{_WORDS[verdict]}\n")
            return Response(words.status, words.body, words.content_type, challenge)
        if request.path == SPOD_PATH:
            self._answers.labels("200").inc()
        body = b"".join(generate_latest(registry) for registry in self._pages[request.path])
        return Response(HTTPStatus.OK, body, CONTENT_TYPE_PLAIN_0_0_4)


def metrics_server(
    host: str, port: int, endpoint: MetricsEndpoint, context: ssl.SSLContext
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
