"""HTTP to the API server: lightkube's credentials, one connection pool, bounded retries, our errors.

Retries here are for single requests only and few; everything longer is the business of the informer
and of the work queue.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

import httpx2
from lightkube.config.client_adapter import user_auth, verify_cluster
from lightkube.config.kubeconfig import SingleConfig
from lightkube.core.exceptions import ConfigError

from spo.kube.clock import Clock
from spo.kube.errors import (
    ApiError,
    ConnectionFailedError,
    KubeConfigError,
    KubeError,
    MalformedResponseError,
    ResponseTooLargeError,
    ServerError,
    TooManyRequestsError,
    WatchSilentError,
    api_error,
)
from spo.kube.wire import decode_status

_KEEPALIVE: Final = (
    # A peer that vanished without closing is noticed after 30 + 3 * 10 seconds, also on an idle watch.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
_MAX_ERROR_BYTES: Final = 1024 * 1024
_RETRY_WITHOUT_HINT_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """How long and how much the client puts up with."""

    connect_timeout_s: float = 5.0
    """To open a connection, TLS included."""
    request_timeout_s: float = 30.0
    """For one attempt of a request, from the first byte sent to the last one read; watches excepted."""
    attempts: int = 4
    """How often one request is sent at most."""
    max_retry_after_s: float = 30.0
    """A longer Retry-After is not waited for: the error goes to the caller."""
    max_body_bytes: int = 32 * 1024 * 1024
    """Largest answer; a page of a list that is larger must be asked for in smaller pages."""
    max_event_bytes: int = 8 * 1024 * 1024
    """Longest line of a watch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request as a value."""

    method: str
    path: str
    params: Mapping[str, str]
    body: bytes | None = None
    content_type: str = "application/json"
    idempotent: bool = True
    """Whether sending it twice is the same as once."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Transport:
    """Send requests; raise :class:`~spo.kube.errors.KubeError` for whatever is not a success."""

    def __init__(self, config: SingleConfig, clock: Clock, limits: ClientLimits) -> None:
        self._clock = clock
        self._limits = limits
        self.server: Final = config.cluster.server
        """URL of the API server."""
        self.counts: Final[dict[tuple[str, str], int]] = {}
        """(method, status) -> answers; the status is ``<error>`` if there was none."""
        if config.user is None:
            raise KubeConfigError("the kubeconfig context names no user")
        try:
            # trust_env off: Go reads NO_PROXY as networks, httpx does not; a proxy variable injected
            # into the pod must not divert the traffic to the API server.
            verify = verify_cluster(config.cluster, config.user, config.abs_file, trust_env=False)
            auth = user_auth(config.user)
        except (ConfigError, OSError, ValueError) as error:
            raise KubeConfigError(f"cannot use the Kubernetes configuration: {error}") from error
        pool = httpx2.Limits(max_connections=None, max_keepalive_connections=8, keepalive_expiry=60)
        self._http = httpx2.AsyncClient(
            base_url=config.cluster.server,
            auth=auth,
            transport=httpx2.AsyncHTTPTransport(
                verify=verify, http2=False, trust_env=False, limits=pool, socket_options=_KEEPALIVE
            ),
            timeout=httpx2.Timeout(limits.request_timeout_s, connect=limits.connect_timeout_s),
            trust_env=False,
            headers={"Accept": "application/json", "User-Agent": "security-profiles-operator"},
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def send(self, request: HttpRequest) -> bytes:
        """The body of a successful answer, retrying as :meth:`_retry_delay` allows."""
        attempt = 1
        while True:
            try:
                return await self._send_once(request)
            except KubeError as error:
                delay_s = self._retry_delay(request, error, attempt)
                if delay_s is None:
                    raise
            attempt += 1
            await self._clock.sleep(delay_s)

    def _retry_delay(self, request: HttpRequest, error: KubeError, attempt: int) -> float | None:
        """Seconds to wait before the next attempt; ``None``: give up."""
        if attempt >= self._limits.attempts:
            return None
        delay_s: float | None = None
        if isinstance(error, TooManyRequestsError):
            # Refused before it was looked at, so this holds for every method.
            delay_s = _RETRY_WITHOUT_HINT_S if error.retry_after_s is None else error.retry_after_s
        elif isinstance(error, ServerError) and request.idempotent:
            delay_s = error.retry_after_s
        elif isinstance(error, ConnectionFailedError) and error.reset and request.idempotent and attempt == 1:
            # Most likely an idle connection that the server closed just now.
            delay_s = 0.0
        return delay_s if delay_s is None or delay_s <= self._limits.max_retry_after_s else None

    async def _send_once(self, request: HttpRequest) -> bytes:
        try:
            with _our_errors(request):
                async with asyncio.timeout(self._limits.request_timeout_s):
                    response = await self._answer(request, self._build(request))
                    try:
                        if response.is_success:
                            return await _read(response, self._limits.max_body_bytes, request)
                        raise await _refusal(response, request)
                    finally:
                        await response.aclose()
        except TimeoutError as error:
            waited = f"timed out after {self._limits.request_timeout_s:g} s"
            raise ConnectionFailedError(str(request), waited) from error

    @asynccontextmanager
    async def stream(
        self, request: HttpRequest, inactivity_s: float
    ) -> AsyncGenerator[AsyncIterator[bytes], None]:
        """The body of a successful answer in pieces, as they come.

        ``inactivity_s``: how long the server may send nothing at all, not even a bookmark.
        """
        timeout = httpx2.Timeout(
            self._limits.request_timeout_s, connect=self._limits.connect_timeout_s, read=inactivity_s
        )
        with _our_errors(request):
            response = await self._answer(request, self._build(request, timeout))
            try:
                if not response.is_success:
                    raise await _refusal(response, request)
                yield response.aiter_bytes()
            except httpx2.ReadTimeout as error:
                raise WatchSilentError(str(request), f"silent for {inactivity_s:g} s") from error
            finally:
                await response.aclose()

    async def _answer(self, request: HttpRequest, built: httpx2.Request) -> httpx2.Response:
        status = "<error>"
        try:
            response = await self._http.send(built, stream=True)
            status = str(response.status_code)
            return response
        finally:
            key = (request.method, status)
            self.counts[key] = self.counts.get(key, 0) + 1

    def _build(self, request: HttpRequest, timeout: httpx2.Timeout | None = None) -> httpx2.Request:
        headers = {"Content-Type": request.content_type} if request.body is not None else {}
        if timeout is not None:
            headers["Accept-Encoding"] = "identity"  # a compressed watch could hold events back
        return self._http.build_request(
            request.method,
            request.path,
            params=dict(request.params),
            content=request.body,
            headers=headers,
            timeout=timeout if timeout is not None else httpx2.USE_CLIENT_DEFAULT,
        )


@contextmanager
def _our_errors(request: HttpRequest) -> Iterator[None]:
    """Turn the errors of the HTTP library into ours."""
    try:
        yield
    except httpx2.TimeoutException as error:
        raise ConnectionFailedError(str(request), f"{type(error).__name__}") from error
    except httpx2.DecodingError as error:
        raise MalformedResponseError(str(request), f"broken compression: {error}") from error
    except (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError, httpx2.CloseError) as error:
        raise ConnectionFailedError(str(request), _text(error), reset=True) from error
    except httpx2.HTTPError as error:
        raise ConnectionFailedError(str(request), _text(error)) from error
    except (ConfigError, FileNotFoundError, PermissionError) as error:
        raise KubeConfigError(f"cannot read the credentials for the API server: {error}") from error


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__


async def _read(response: httpx2.Response, limit_bytes: int, request: HttpRequest) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > limit_bytes:
            raise ResponseTooLargeError(str(request), f"more than {limit_bytes} bytes")
    return bytes(body)


async def _refusal(response: httpx2.Response, request: HttpRequest) -> ApiError:
    body = await _read(response, _MAX_ERROR_BYTES, request)
    status = decode_status(body)
    if not status.message:
        status.message = f"{request} failed"
    return api_error(response.status_code, status, _retry_after(response.headers.get("Retry-After")))


def _retry_after(header: str | None) -> float | None:
    if header is None:
        return None
    # The other form, a date, is not sent by API servers.
    return float(header) if header.isascii() and header.isdecimal() else _RETRY_WITHOUT_HINT_S
