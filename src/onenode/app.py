"""The API server as an ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from onenode.answers import Answer, error_answer, text_answer
from onenode.auth import Authenticator
from onenode.authorization.access_log import AccessLog
from onenode.authorization.impersonation import impersonated
from onenode.bodies import LARGEST_BODY_BYTES
from onenode.builtin_resources import builtin_resources
from onenode.context import Context
from onenode.controllers import Controllers
from onenode.definitions import load_definitions
from onenode.negotiation import YAML, Form
from onenode.pod_access import PodAccess
from onenode.registry import Registry
from onenode.requests import ANONYMOUS, Request, User
from onenode.routes import Routes
from onenode.status import ApiError, PageNotFoundError, unauthorized
from onenode.store import Store

__all__ = ["App", "create_app"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_HEALTH: Final = frozenset({"/healthz", "/livez", "/readyz"})
_log = logging.getLogger(__name__)


def create_app(
    store: Store,
    crds: Path | None,
    auth: Authenticator,
    *,
    pods: PodAccess | None = None,
    ca_text: str = "",
    access_log: Path | None = None,
) -> App:
    """The API server over a store.

    Args:
        store: the objects.
        crds: folder of CustomResourceDefinitions that are there from the start.
        auth: judges tokens.
        pods: reaches into running pods, for logs.
        ca_text: CA certificate that pods get to verify this server, PEM.
        access_log: file for what service accounts ask for and whether they may; ``None``: there is none.

    Raises:
        DefinitionError: a file in ``crds`` is not usable.
    """
    registry = Registry(builtin_resources())
    log = AccessLog(access_log) if access_log else None
    context = Context(store=store, registry=registry, auth=auth, pods=pods, access_log=log)
    if crds is not None:
        load_definitions(store, crds)
    controllers = Controllers(context, ca_text)
    controllers.start()
    return App(context, controllers)


class App:
    """ASGI application; its controllers run during the lifespan, or inside ``running()``."""

    def __init__(self, context: Context, controllers: Controllers) -> None:
        self.context = context
        self._controllers = controllers
        self._routes = Routes(context)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The controllers run inside."""
        task = asyncio.create_task(self._controllers.run(), name="controllers")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self._controllers.close()
            await self.context.webhooks.close()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await _refuse_websocket(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        async with self.running():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            answer = await self._answer(scope, headers, receive)
        except PageNotFoundError:
            answer = text_answer(404, "404 page not found\n")
        except ApiError as error:
            wants_yaml = headers.get("accept", "").strip() == YAML
            answer = error_answer(error, Form(YAML) if wants_yaml else None)
        except Exception as error:
            # The last resort of a server: one bad request must not end the connection without a word.
            _log.exception("request failed: %s %s", scope["method"], scope["path"])
            answer = error_answer(ApiError(500, "InternalError", f"Internal error occurred: {error!r}"))
        await _send(answer, receive, send)

    async def _answer(self, scope: Message, headers: dict[str, str], receive: Receive) -> Answer:
        path: str = scope["path"]
        user = self._user(scope, headers)
        # Percent-encoded slashes belong to names: the raw path is taken apart.
        raw_path = scope.get("raw_path") or path.encode()
        request = Request(
            method=scope["method"],
            path=raw_path.decode("latin-1").partition("?")[0],
            query_text=scope["query_string"].decode("latin-1"),
            headers=headers,
            body=b"",
            user=user,
        )
        # Nobody sends us a body for a request that they may not make.
        self.context.authorizer.check_request(request)
        if path in _HEALTH:
            return text_answer(200, "ok")
        answer = await self._routes.answer(replace(request, body=await _read(receive)))
        if request.method != "GET":
            await self._controllers.catch_up()
        return answer

    def _user(self, scope: Message, headers: dict[str, str]) -> User:
        """Who asks, or as whom they act; somebody without a token is anonymous, one with a bad token nobody.

        Raises:
            ApiError: the token is bad, or the user may not act as another.
        """
        proof = headers.get("authorization", "")
        user = self.context.auth.authenticate(proof) if proof else ANONYMOUS
        if user is None:
            raise unauthorized()
        # Repeated headers count here.
        pairs = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
        return impersonated(user, pairs, self.context.authorizer)


async def _read(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > LARGEST_BODY_BYTES:
            text = f"Request entity too large: limit is {LARGEST_BODY_BYTES}"
            raise ApiError(413, "RequestEntityTooLarge", text)
        more = message.get("more_body", False)
    return b"".join(parts)


async def _send(answer: Answer, receive: Receive, send: Send) -> None:
    headers = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in answer.headers]
    if answer.media_type:
        headers.append((b"content-type", answer.media_type.encode()))
    start: Message = {"type": "http.response.start", "status": answer.status, "headers": headers}
    if isinstance(answer.body, bytes):
        headers.append((b"content-length", str(len(answer.body)).encode()))
        await send(start)
        await send({"type": "http.response.body", "body": answer.body})
        return
    await send(start)
    # Clients act on the headers of a watch before anything happens.
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    await _send_stream(answer.body, receive, send)


async def _send_stream(body: AsyncIterator[bytes], receive: Receive, send: Send) -> None:
    """Send what comes, until it ends or the client goes."""

    async def pump() -> None:
        async for part in body:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def wait_for_disconnect() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    tasks = [asyncio.ensure_future(pump()), asyncio.ensure_future(wait_for_disconnect())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        close = getattr(body, "aclose", None)
        if close is not None:
            await close()
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _refuse_websocket(scope: Message, receive: Receive, send: Send) -> None:
    await receive()
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1011})
        return
    answer = error_answer(ApiError(501, "NotImplemented", "streams into pods are not served by this server"))
    headers = [(b"content-type", answer.media_type.encode())]
    await send({"type": "websocket.http.response.start", "status": 501, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": answer.body})
