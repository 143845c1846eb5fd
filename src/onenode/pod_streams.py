"""``pods/exec`` and ``pods/attach`` over WebSocket, as kubectl speaks it (``v5.channel.k8s.io``).

Each message begins with the number of its channel: 0 input, 1 output, 2 error output, 3 the result as a
Status, 4 the terminal's size; 255 closes the channel that follows (version 5 only).
"""

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from onenode.auth import Authenticator
from onenode.authorization.authorizer import Authorizer
from onenode.authorization.impersonation import impersonated
from onenode.authorization.rules import Attributes
from onenode.kubelet.streams import StreamProcess
from onenode.pod_access import LogError, PodAccess, StreamError, chosen_container, stream_request
from onenode.requests import ANONYMOUS, User
from onenode.status import ApiError, bad_request, internal_error, resource_unknown, unauthorized
from onenode.store import Store

__all__ = ["PROTOCOLS", "PodStreams", "attach_status", "chosen_protocol", "exit_status", "serve_streams"]

PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")
"""Best first."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Message, Receive, Send], Awaitable[None]]

_PATH: Final = re.compile(
    r"/api/v1/namespaces/(?P<namespace>[^/]+)/pods/(?P<name>[^/]+)/(?P<verb>exec|attach)"
)
_PODMAN_FAILED: Final = 125
_COMPLAINT: Final = b"Error: "
_STDIN, _ERROR, _RESIZE, _CLOSE = 0, 3, 4, 255


class PodStreams:
    """ASGI application that answers WebSockets and hands everything else to the API server."""

    def __init__(
        self, app: Asgi, *, store: Store, auth: Authenticator, authorizer: Authorizer, pods: PodAccess
    ) -> None:
        self._app = app
        self._store = store
        self._auth = auth
        self._authorizer = authorizer
        self._pods = pods

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        websocket = WebSocket(scope, receive, send)
        try:
            protocol, process = await self._open(websocket)
        except ApiError as error:
            await websocket.send_denial_response(JSONResponse(error.to_status(), error.code))
            return
        await websocket.accept(subprotocol=protocol)
        await serve_streams(websocket, process, attached=websocket.scope["path"].endswith("/attach"))

    async def _open(self, websocket: WebSocket) -> tuple[str, StreamProcess]:
        user = self._user(websocket)
        match = _PATH.fullmatch(websocket.scope["path"])
        if match is None:
            raise resource_unknown()
        name = match["name"]
        # A WebSocket begins with a GET, but a right to read is no right to run commands.
        for verb in ("get", "create"):
            place = {"namespace": match["namespace"], "name": name, "subresource": match["verb"]}
            self._authorizer.check(user, Attributes(verb=verb, version="v1", resource="pods", **place))
        pod = self._store.get("pods", match["namespace"], name)
        if pod is None:
            raise ApiError(404, "NotFound", f'pods "{name}" not found', {"name": name, "kind": "pods"})
        protocol = chosen_protocol(websocket.scope.get("subprotocols") or [])
        if protocol is None:
            raise bad_request(f"unable to upgrade: the server speaks {', '.join(PROTOCOLS)}")
        query = parse_qs(websocket.scope["query_string"].decode("latin-1"), keep_blank_values=True)
        request = stream_request(query)
        if match["verb"] == "exec" and not request.command:
            raise bad_request("you must specify at least 1 command for the container")
        try:
            container = chosen_container(pod, query.get("container", [""])[0])
            return protocol, await self._pods.open_stream(pod, container, request)
        except LogError as error:
            raise bad_request(str(error)) from error
        except StreamError as error:
            raise internal_error(f"unable to upgrade connection: {error}") from error

    def _user(self, websocket: WebSocket) -> User:
        proof = websocket.headers.get("authorization", "")
        user = self._auth.authenticate(proof) if proof else ANONYMOUS
        if user is None:
            raise unauthorized()
        return impersonated(user, websocket.headers.items(), self._authorizer)


def chosen_protocol(offered: list[str]) -> str | None:
    """The best protocol that the client offers too."""
    return next((protocol for protocol in PROTOCOLS if protocol in offered), None)


def exit_status(code: int) -> dict[str, Any]:
    """The Status that ends a session."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def attach_status(code: int, *, anything_sent: bool, complaint: bytes) -> dict[str, Any]:
    """The Status that ends an attachment.

    A container that ends is no failure of the attachment, whatever its exit code: after a failure kubectl
    shows the logs, and everything stood there twice.
    """
    if code != _PODMAN_FAILED or anything_sent:
        return exit_status(0)
    text = complaint.decode(errors="replace").removeprefix(_COMPLAINT.decode()).strip()
    message = f"error attaching to container: {text or 'it does not run'}"
    return {
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": "InternalError",
        "details": {"causes": [{"message": message}]},
        "code": 500,
    }


async def serve_streams(websocket: WebSocket, process: StreamProcess, *, attached: bool = False) -> None:
    """Connect an accepted WebSocket with a process until the process ends or the client goes.

    Args:
        websocket: the client.
        process: Podman's ``exec`` or ``attach``.
        attached: the process is an ``attach``: its exit code is the container's.
    """
    send = _send_attached if attached else _send
    receiving = asyncio.create_task(_receive(websocket, process))
    sending = asyncio.create_task(send(websocket, process))
    try:
        await asyncio.wait({receiving, sending}, return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            await sending
    except WebSocketDisconnect:
        pass
    finally:
        for task in (receiving, sending):
            task.cancel()
        await asyncio.gather(receiving, sending, return_exceptions=True)
        await process.stop()


async def _send(websocket: WebSocket, process: StreamProcess) -> None:
    async for channel, data in process.output():
        await websocket.send_bytes(bytes([channel]) + data)
    status = exit_status(await process.wait())
    await websocket.send_bytes(bytes([_ERROR]) + json.dumps(status).encode())
    await websocket.close()


async def _send_attached(websocket: WebSocket, process: StreamProcess) -> None:
    held: tuple[int, bytes] | None = None
    anything_sent = False
    async for channel, data in process.output():
        if held is not None:
            await websocket.send_bytes(bytes([held[0]]) + held[1])
            held, anything_sent = None, True
        if data.startswith(_COMPLAINT):
            # Podman's own last words, unless more follows.
            held = (channel, data)
            continue
        await websocket.send_bytes(bytes([channel]) + data)
        anything_sent = True
    code = await process.wait()
    if held is not None and code != _PODMAN_FAILED:
        await websocket.send_bytes(bytes([held[0]]) + held[1])
    status = attach_status(code, anything_sent=anything_sent, complaint=held[1] if held else b"")
    await websocket.send_bytes(bytes([_ERROR]) + json.dumps(status).encode())
    await websocket.close()


async def _receive(websocket: WebSocket, process: StreamProcess) -> None:
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            message = await websocket.receive_bytes()
            if not message:
                continue
            channel, data = message[0], message[1:]
            if channel == _STDIN and data:
                await process.write(data)
            elif channel == _CLOSE and data[:1] == bytes([_STDIN]):
                await process.close_input()
            elif channel == _RESIZE:
                _resize(process, data)


def _resize(process: StreamProcess, data: bytes) -> None:
    try:
        size = json.loads(data)
        width, height = int(size["Width"]), int(size["Height"])
    except (ValueError, KeyError, TypeError):
        return
    process.resize(width, height)
