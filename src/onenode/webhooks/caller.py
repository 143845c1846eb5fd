"""HTTPS to webhooks: where they are, whom to trust, what a failure is called.

Connections stay open between calls. One client for each trusted CA, so that a new ``caBundle`` never uses a
connection that an old one had let in.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import socket
import ssl
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from onenode.causes import go_quote
from onenode.store import Store
from onenode.webhooks.review import CallError

if TYPE_CHECKING:
    import httpx2

__all__ = ["Caller"]

Obj = dict[str, Any]

_MOST_CLIENTS: Final = 32
_LARGEST_ANSWER_BYTES: Final = 3 * 1024 * 1024
_IDLE_S: Final = 60.0
_HTTPS: Final = 443
_HEADERS: Final = {
    "User-Agent": "kube-apiserver-admission",
    "Accept": "application/json, */*",
    "Content-Type": "application/json",
}
_REFUSALS: Final = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    403: "unknown",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    409: "the server reported a conflict",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the "
    "request",
}
_UNTRUSTED: Final = frozenset({2, 18, 19, 20, 21})
"""OpenSSL's codes for a chain that does not end at a known CA."""
_EXPIRED: Final = frozenset({9, 10})


@dataclass(frozen=True, slots=True)
class _Place:
    shown: str
    """URL as errors tell it."""
    url: str
    """URL to connect to."""
    host: str
    """Name in the certificate; empty if it is the one in ``url``."""
    host_header: str


class Caller:
    """Asks webhooks."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._clients: OrderedDict[str, httpx2.AsyncClient] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    async def ask(self, config: Obj, review: Obj, timeout_s: int) -> bytes:
        """Send a review; the body of the answer.

        Args:
            config: ``clientConfig`` of the webhook.
            review: the AdmissionReview.
            timeout_s: how long everything may take.

        Raises:
            CallError: nothing that could be an answer came back in time.
        """
        import httpx2  # noqa: PLC0415 - 15 MB that only servers with webhooks need

        query = f"?timeout={timeout_s}s"
        shown = _shown(config) + query
        try:
            async with asyncio.timeout(timeout_s):
                place = self._place(config, query)
                client = self._client(str(config.get("caBundle") or ""))
                return await _post(client, place, msgspec.json.encode(review))
        except TimeoutError as error:
            raise _failed(shown, "context deadline exceeded") from error
        except (httpx2.HTTPError, OSError, httpx2.InvalidURL) as error:
            raise _failed(shown, _reason(error, shown)) from error
        except _UnreachableError as error:
            raise _failed(shown, str(error)) from error

    async def close(self) -> None:
        """Close every connection."""
        while self._clients:
            _, client = self._clients.popitem()
            await client.aclose()
        await asyncio.gather(*self._closing)

    def _client(self, ca_bundle: str) -> httpx2.AsyncClient:
        import httpx2  # noqa: PLC0415 - see ask()

        client = self._clients.get(ca_bundle)
        if client is None:
            client = httpx2.AsyncClient(
                verify=_tls(ca_bundle),
                trust_env=False,
                timeout=None,
                limits=httpx2.Limits(
                    max_connections=None, max_keepalive_connections=8, keepalive_expiry=_IDLE_S
                ),
            )
            self._clients[ca_bundle] = client
        self._clients.move_to_end(ca_bundle)
        if len(self._clients) > _MOST_CLIENTS:
            _, oldest = self._clients.popitem(last=False)
            # A call that still uses it fails as if the connection broke.
            task = asyncio.get_running_loop().create_task(oldest.aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        return client

    # Services

    def _place(self, config: Obj, query: str) -> _Place:
        url = config.get("url")
        if url is not None:
            return _Place(f"{url}{query}", f"{url}{query}", "", "")
        service = config.get("service") or {}
        namespace, name = str(service.get("namespace")), str(service.get("name"))
        address, port = self._endpoint(namespace, name, int(service.get("port") or _HTTPS))
        host = f"{name}.{namespace}.svc"
        target = f"[{address}]" if ":" in address else address
        path = str(service.get("path") or "/")
        return _Place(_shown(config) + query, f"https://{target}:{port}{path}{query}", host, host)

    def _endpoint(self, namespace: str, name: str, number: int) -> tuple[str, int]:
        """Address and port of a ready pod behind a Service.

        Raises:
            _UnreachableError: there is none.
        """
        record = self._store.record("services", namespace, name)
        if record is None:
            raise _UnreachableError(f"service {go_quote(name)} not found")
        ports = record.view["spec"].get("ports") or []
        port = next((one for one in ports if one.get("port") == number), None)
        if port is None:
            raise _UnreachableError(f"no service port {number} found for service {go_quote(name)}")
        endpoints = self._store.record("endpoints", namespace, name)
        for subset in (endpoints.view.get("subsets") or ()) if endpoints else ():
            for address in subset.get("addresses") or ():
                for one in subset.get("ports") or ():
                    if (one.get("name") or "") == (port.get("name") or ""):
                        return str(address["ip"]), int(one["port"])
        raise _UnreachableError(f"no endpoints available for service {go_quote(name)}")


class _UnreachableError(Exception):
    """A Service leads nowhere."""


def _shown(config: Obj) -> str:
    if config.get("url") is not None:
        return str(config["url"])
    service = config.get("service") or {}
    host = f"{service.get('name')}.{service.get('namespace')}.svc:{service.get('port') or _HTTPS}"
    return f"https://{host}{service.get('path') or '/'}"


def _tls(ca_bundle: str) -> ssl.SSLContext:
    """Trust the bundle, or without one what this machine trusts."""
    if not ca_bundle:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cadata=base64.b64decode(ca_bundle).decode("ascii"))
    except (ssl.SSLError, binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise CallError(
            "failed to call webhook: unable to load root certificates: unable to parse bytes as PEM block"
        ) from error
    return context


async def _post(client: httpx2.AsyncClient, place: _Place, body: bytes) -> bytes:
    import httpx2  # noqa: PLC0415 - see ask()

    headers = {**_HEADERS, "Host": place.host_header} if place.host_header else dict(_HEADERS)
    extensions = {"sni_hostname": place.host} if place.host else {}
    for attempt in range(2):
        request = client.build_request(
            "POST", place.url, content=body, headers=headers, extensions=extensions
        )
        try:
            answer = await client.send(request, stream=True)
            break
        except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError):
            # A connection that the webhook closed while it was idle: once more on a new one.
            if attempt:
                raise
    try:
        content = await _read(answer)
    finally:
        await answer.aclose()
    if answer.status_code != 200:
        raise CallError(f"failed to call webhook: {_refusal(answer.status_code, answer.headers, content)}")
    return content


async def _read(answer: httpx2.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in answer.aiter_bytes():
        size += len(part)
        if size > _LARGEST_ANSWER_BYTES:
            raise CallError(
                f"failed to call webhook: the answer is larger than {_LARGEST_ANSWER_BYTES} bytes"
            )
        parts.append(part)
    return b"".join(parts)


def _refusal(code: int, headers: httpx2.Headers, content: bytes) -> str:
    """What a client makes of an answer that is not 200."""
    try:
        status = msgspec.json.decode(content)
    except msgspec.DecodeError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status" and status.get("message"):
        return str(status["message"])
    if code in _REFUSALS:
        return _REFUSALS[code]
    is_text = headers.get("content-type", "").startswith("text/")
    said = content[:2048].decode(errors="replace").strip() if is_text else "unknown"
    if code >= 500:
        return f"an error on the server ({go_quote(said)}) has prevented the request from succeeding"
    return f"the server responded with the status code {code} but did not return more information"


def _failed(shown: str, text: str) -> CallError:
    return CallError(f"failed to call webhook: Post {go_quote(shown)}: {text}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and everything it came from."""
    if error is None:
        return
    yield error
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _chain(one)
    yield from _chain(error.__cause__ or error.__context__)


def _reason(error: BaseException, shown: str) -> str:
    """A failure in the words of the real server."""
    parts = urlsplit(shown)
    address = f"{parts.hostname}:{parts.port or _HTTPS}"
    for one in _chain(error):
        if isinstance(one, ssl.SSLError):
            return _tls_reason(one)
        if isinstance(one, ConnectionRefusedError):
            return f"dial tcp {address}: connect: connection refused"
        if isinstance(one, socket.gaierror):
            return f"dial tcp: lookup {parts.hostname}: no such host"
    name = type(error).__name__
    if name in ("RemoteProtocolError", "ReadError", "WriteError"):
        return "EOF"
    return f"dial tcp {address}: {error}" if name == "ConnectError" else str(error) or name


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: x509: {_certificate(error)}"
    if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return "http: server gave HTTP response to HTTPS client"
    return f"remote error: tls: {error.reason or error}"


def _certificate(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _UNTRUSTED:
        return "certificate signed by unknown authority"
    if error.verify_code in _EXPIRED:
        return "certificate has expired or is not yet valid"
    return str(error.verify_message).rstrip(".")
