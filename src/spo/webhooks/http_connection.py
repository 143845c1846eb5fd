"""One connection of the webhook server: parses requests, answers them one after the other."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, NamedTuple, cast

import httptools

from spo import klog
from spo.errors import SpoError

log = klog.get("webhook")

Answerer = Callable[[str, bytes], bytes | Awaitable[bytes]]
"""Path and body of a POST -> body of the answer, at once if it need not wait; an SpoError becomes 400 with
its text.
"""

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_JSON: Final = b"application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What a client may take."""

    header_bytes: int = 16 * 1024
    body_bytes: int = 8 * 1024 * 1024
    """A review holds a pod, which etcd limits to about 1.5 MiB, and perhaps its old state."""
    discarded_bytes: int = 32 * 1024 * 1024
    """How much of a body that is too large is read, so that the client gets to read why."""
    request_s: float = 15.0
    """From the first byte of a request to its last."""
    idle_s: float = 300.0
    """Between requests."""
    connections: int = 512


class _Answer(NamedTuple):
    """What is sent back."""

    status: HTTPStatus
    content_type: str
    body: bytes


class _Refused(Exception):  # noqa: N818 - no error: an answer
    """A request is answered with this status."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text


class _Request:
    """A request as far as it has arrived."""

    __slots__ = ("body", "expects_continue", "header_bytes", "json", "keep_alive", "length", "refused", "url")

    def __init__(self) -> None:
        self.url = b""
        self.header_bytes = 0
        self.json = False
        self.expects_continue = False
        self.keep_alive = True
        self.body: list[bytes] = []
        self.length = 0
        self.refused: _Refused | None = None


class Connection(asyncio.Protocol):
    """Protocol of one client."""

    def __init__(
        self,
        others: "set[Connection]",
        paths: frozenset[str],
        answer: Answerer,
        limits: HttpLimits,
        leaving: Callable[[], bool],
    ) -> None:
        self._others = others
        self._paths = paths
        self._answer = answer
        self._limits = limits
        self._leaving = leaving
        self._loop = asyncio.get_running_loop()
        self.closed: Final[asyncio.Future[None]] = self._loop.create_future()
        """Done once the connection is gone."""
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._arriving: _Request | None = None
        self._waiting: Final[deque[_Request]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._deadline: float | None = None
        self._finishing = False

    # For the server.

    def finish(self) -> None:
        """Close after what is under way; at once if nothing is."""
        self._finishing = True
        if self._task is None and self._arriving is None:
            self._close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def check(self, now_s: float) -> None:
        """Close if nothing has come for too long; ``now_s`` is the event loop's time."""
        if self._deadline is not None and now_s >= self._deadline:
            self._close()

    # asyncio.Protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        if len(self._others) >= self._limits.connections:
            log.debug("Too many connections", limit=self._limits.connections)
            self._transport.abort()
            return
        self._others.add(self)
        self._deadline = self._loop.time() + self._limits.idle_s

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._others.discard(self)
        self._transport = None
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._transport is None or self._transport.is_closing():
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            cause = error.__context__
            refused = cause if isinstance(cause, _Refused) else None
            self._give_up(refused or _Refused(HTTPStatus.BAD_REQUEST, f"not HTTP/1.1: {error}"))
        except httptools.HttpParserUpgrade:
            self._give_up(_Refused(HTTPStatus.BAD_REQUEST, "upgrades are not supported"))

    # httptools.

    def on_message_begin(self) -> None:
        """See httptools."""
        self._arriving = _Request()
        self._deadline = self._loop.time() + self._limits.request_s

    def on_url(self, url: bytes) -> None:
        """See httptools."""
        self._arrived().url += url
        self._count_header(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        request = self._arrived()
        self._count_header(len(name) + len(value))
        match name.lower():
            case b"content-type":
                request.json = value.partition(b";")[0].strip().lower() == _JSON
            case b"expect":
                request.expects_continue = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        """See httptools."""
        request = self._arrived()
        request.keep_alive = self._parser.should_keep_alive()
        request.refused = self._refusal(request)
        if request.expects_continue and request.refused is None and self._transport is not None:
            self._transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        """See httptools."""
        request = self._arrived()
        request.length += len(body)
        if request.length > self._limits.body_bytes:
            limit = f"the body has over {self._limits.body_bytes} bytes"
            request.refused = request.refused or _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, limit)
            request.body.clear()
        elif request.refused is None:
            request.body.append(body)
        if request.length > self._limits.discarded_bytes and request.refused is not None:
            raise request.refused

    def on_message_complete(self) -> None:
        """See httptools."""
        request, self._arriving = self._arrived(), None
        self._deadline = None
        if self._task is not None:
            self._waiting.append(request)
            return
        answer = self._answer_to(request)
        if isinstance(answer, _Answer):
            self._send(request, answer)
        elif self._transport is not None:
            self._transport.pause_reading()
            self._task = self._loop.create_task(self._answer_later(request, answer))

    # The work.

    def _arrived(self) -> _Request:
        request = self._arriving
        if request is None:
            raise _Refused(HTTPStatus.BAD_REQUEST, "a request without a beginning")
        return request

    def _count_header(self, length: int) -> None:
        request = self._arrived()
        request.header_bytes += length
        if request.header_bytes > self._limits.header_bytes:
            limit = f"the header has over {self._limits.header_bytes} bytes"
            raise _Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, limit)

    def _refusal(self, request: _Request) -> _Refused | None:
        path = request.url.partition(b"?")[0].decode("latin-1")
        if path not in self._paths:
            known = ", ".join(sorted(self._paths))
            return _Refused(HTTPStatus.NOT_FOUND, f"nothing here; the webhooks are {known}")
        if self._parser.get_method() != b"POST":
            return _Refused(HTTPStatus.METHOD_NOT_ALLOWED, "an AdmissionReview is sent by POST")
        if not request.json:
            text = "Content-Type must be application/json"
            return _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, text)
        return None

    def _answer_to(self, request: _Request) -> _Answer | Awaitable[bytes]:
        try:
            if request.refused is not None:
                raise request.refused
            path = request.url.partition(b"?")[0].decode("latin-1")
            answer = self._answer(path, b"".join(request.body))
        except Exception as error:  # A mistake of ours must not leave the API server waiting.
            return _failure(error)
        return _good(answer) if isinstance(answer, bytes) else answer

    async def _answer_later(self, request: _Request, answer: _Answer | Awaitable[bytes]) -> None:
        """Answer what had to wait, then what has arrived meanwhile, in the order in which it came."""
        while True:
            if not isinstance(answer, _Answer):
                try:
                    answer = _good(await answer)
                except Exception as error:  # See _answer_to.
                    answer = _failure(error)
            stays = self._send(request, answer)
            if not stays or not self._waiting:
                break
            request = self._waiting.popleft()
            answer = self._answer_to(request)
        self._task = None
        if stays and self._transport is not None:
            self._transport.resume_reading()

    def _send(self, request: _Request, answer: _Answer) -> bool:
        """Write the answer; whether the connection stays open for more."""
        keep = request.keep_alive and request.refused is None
        keep = keep and not self._finishing and not self._leaving()
        self._write(answer, keep=keep)
        if self._transport is None or self._transport.is_closing():
            return False
        limit_s = self._limits.idle_s if self._arriving is None else self._limits.request_s
        self._deadline = self._loop.time() + limit_s
        return True

    def _write(self, answer: _Answer, *, keep: bool) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        status, content_type, body = answer
        close = "" if keep else "Connection: close\r\n"
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {len(body)}\r\n{close}\r\n"
        )
        self._transport.write(head.encode() + body)
        if not keep:
            self._close()

    def _give_up(self, refused: _Refused) -> None:
        """Say why, and close: what follows in the stream has no meaning."""
        self._arriving = None
        if self._task is None:
            self._write(_failure(refused), keep=False)
        else:
            self._finishing = True

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _good(body: bytes) -> _Answer:
    return _Answer(HTTPStatus.OK, "application/json", body)


def _failure(error: Exception) -> _Answer:
    """What a client is told; only what is a mistake of ours is logged."""
    status, text = HTTPStatus.BAD_REQUEST, str(error)
    if isinstance(error, _Refused):
        status, text = error.status, error.text
    elif not isinstance(error, SpoError):
        log.error("Cannot answer a review", error=error)
        status, text = HTTPStatus.INTERNAL_SERVER_ERROR, f"internal error: {type(error).__name__}"
    return _Answer(status, "text/plain; charset=utf-8", text.encode())
