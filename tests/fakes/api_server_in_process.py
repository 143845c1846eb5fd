"""The fake API server without a socket: the real client on top of the fake objects, on any clock."""

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from spo.kube.client import KubeClient
from spo.kube.config import server_config
from spo.kube.errors import ConnectionFailedError, Status, api_error
from spo.kube.transport import HttpRequest
from tests.fakes.api_server_objects import Objects, RefusedError


class InProcessTransport:
    """Takes the place of spo.kube.transport.Transport."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self.requests: list[HttpRequest] = []
        self.reachable = True
        self.before: Callable[[HttpRequest], None] = lambda _: None
        """Called before a request is carried out; may raise, or change what is stored."""

    async def aclose(self) -> None:
        pass

    async def send(self, request: HttpRequest) -> bytes:
        self.requests.append(request)
        if not self.reachable:
            raise ConnectionFailedError(str(request), "not reachable")
        self.before(request)
        try:
            return json.dumps(self._answer(request)).encode()
        except RefusedError as error:
            raise _api_error(error) from error

    def _answer(self, request: HttpRequest) -> object:
        target = self.objects.locate(request.path)
        body = json.loads(request.body or b"{}")
        match request.method, request.content_type:
            case "GET", _:
                return (
                    self.objects.get(target)
                    if target.name
                    else self.objects.list(target, dict(request.params))
                )
            case "POST", _:
                return self.objects.create(target, body)
            case "PUT", _:
                return self.objects.replace(target, body)
            case "DELETE", _:
                return self.objects.delete(target, body)
            case "PATCH", "application/apply-patch+yaml":
                return self.objects.apply(target, body)[1]
            case "PATCH", "application/merge-patch+json":
                return self.objects.merge(target, body)
        raise RefusedError(405, "MethodNotAllowed", "the server does not allow this method")

    @contextlib.asynccontextmanager
    async def stream(
        self, request: HttpRequest, inactivity_s: float
    ) -> AsyncGenerator[AsyncIterator[bytes], None]:
        self.requests.append(request)
        if not self.reachable:
            raise ConnectionFailedError(str(request), "not reachable")
        self.before(request)
        target = self.objects.locate(request.path)
        async with contextlib.aclosing(self.objects.watch(target, dict(request.params))) as events:
            yield _lines(events)


async def _lines(events: AsyncIterator[dict[str, object]]) -> AsyncIterator[bytes]:
    try:
        async for event in events:
            yield json.dumps(event).encode() + b"\n"
    except RefusedError as error:
        status = {"kind": "Status", "code": error.code, "reason": error.reason, "message": str(error)}
        yield json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"


def _api_error(error: RefusedError) -> Exception:
    return api_error(error.code, Status(reason=error.reason, message=str(error), code=error.code))


def in_process_client(objects: Objects | None = None) -> tuple[KubeClient, InProcessTransport]:
    """A client and the transport below it; several clients may share ``objects``."""
    client = KubeClient(server_config("http://in-process.invalid"))
    transport = InProcessTransport(objects if objects is not None else Objects())
    client._transport = transport  # type: ignore[assignment] # the only place where the two meet
    return client, transport
