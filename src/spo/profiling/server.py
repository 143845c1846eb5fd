"""Serves profiles below ``/debug/pprof/``, in a thread of its own: also those of a process that is busy."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

from spo import klog
from spo.controller.small_http import (
    Answer,
    CannotListenError,
    Request,
    Response,
    SmallHttpServer,
    text,
)
from spo.profiling import heap
from spo.profiling.cpu import CpuProfiler

log = klog.get()

DEFAULT_SECONDS: Final = 30
MAX_SECONDS: Final = 300
"""Of a CPU profile."""
MAX_TRACED_SECONDS: Final = 60
"""Of a heap profile: while it is taken, the process is slower."""
MAX_CLIENTS: Final = 8
_SLACK_S: Final = 30.0
"""For the request, the encoding and the way to the client."""
_START_S: Final = 10.0
_PROFILE: Final = "application/octet-stream"
_PREFIX: Final = "/debug/pprof/"

_INDEX: Final = f"""\
{_PREFIX}profile?seconds=N    where CPU time goes, in N seconds (1 to {MAX_SECONDS}; {DEFAULT_SECONDS})
{_PREFIX}heap                 all Python objects, by type
{_PREFIX}heap?seconds=N       what is allocated in N seconds (1 to {MAX_TRACED_SECONDS}) and kept, by line

go tool pprof http://<address>:<port>{_PREFIX}heap
"""


class InvalidQueryError(ValueError):
    """A request asks for what there is not; the text says what there is."""


class Profiles:
    """Answers requests for profiles, one at a time of each sort."""

    def __init__(self, cpu: CpuProfiler, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._cpu = cpu
        self._pause = pause
        self._heap_is_taken = False

    def answers(self) -> Mapping[str, Answer]:
        """Path -> what answers it."""
        return {
            _PREFIX: self._index,
            f"{_PREFIX}profile": self._answered(self._profile),
            f"{_PREFIX}heap": self._answered(self._heap),
        }

    async def _index(self, _: Request) -> Response:
        return text(HTTPStatus.OK, _INDEX)

    def _answered(self, answer: Answer) -> Answer:
        async def checked(request: Request) -> Response:
            if request.method != "GET":
                return text(HTTPStatus.METHOD_NOT_ALLOWED, "only GET: every answer is a new profile\n")
            try:
                return await answer(request)
            except InvalidQueryError as error:
                return text(HTTPStatus.BAD_REQUEST, f"{error}\n")

        return checked

    async def _profile(self, request: Request) -> Response:
        seconds = seconds_of(request.query, MAX_SECONDS) or DEFAULT_SECONDS
        if self._cpu.is_running:
            return _busy("CPU")
        self._cpu.start()
        try:
            await self._pause(seconds)
        finally:
            profile = self._cpu.stop()
        return _file("profile", profile)

    async def _heap(self, request: Request) -> Response:
        seconds = seconds_of(request.query, MAX_TRACED_SECONDS)
        if self._heap_is_taken:
            return _busy("heap")
        self._heap_is_taken = True
        try:
            return _file("heap", await self._traced(seconds) if seconds else heap.census())
        finally:
            self._heap_is_taken = False

    async def _traced(self, seconds: int) -> bytes:
        trace = heap.AllocationTrace()
        try:
            await self._pause(seconds)
        except asyncio.CancelledError:
            trace.abandon()
            raise
        return trace.stop()


def seconds_of(query: str, most: int) -> int | None:
    """How long is asked for; None if nothing is said.

    Raises:
        InvalidQueryError: something else than ``seconds=<1 to most>`` is asked for.
    """
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=4)
    except ValueError as error:
        raise InvalidQueryError(f"the query is not seconds=<1 to {most}>") from error
    asked = None
    for name, value in pairs:
        if name == "debug" and value == "0":
            continue  # what Go's tools say for "not as text"
        if name != "seconds":
            raise InvalidQueryError(f"unknown parameter {name[:32]!r}; there is seconds=<1 to {most}>")
        if not (
            value.isascii() and value.isdecimal() and len(value) <= len(str(most)) and 1 <= int(value) <= most
        ):
            raise InvalidQueryError(f"seconds={value[:32]!r} is not a whole number from 1 to {most}")
        asked = int(value)
    return asked


def _busy(what: str) -> Response:
    return text(
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"a {what} profile is being taken for somebody else; ask again later\n",
    )


def _file(name: str, content: bytes) -> Response:
    headers = {
        "Content-Disposition": f'attachment; filename="{name}.pb.gz"',
        "X-Content-Type-Options": "nosniff",
    }
    return Response(HTTPStatus.OK, content, _PROFILE, headers)


def serve_profiles(host: str, port: int) -> None:
    """Begin to serve, or say why not: a process does its work without profiles as well.

    Call it in the main thread: elsewhere no handler of a signal can be set.

    Args:
        host: address to listen on; empty: all.
        port: 0 lets the system choose; the log says which.
    """
    thread = _ServerThread(
        SmallHttpServer(
            host,
            port,
            Profiles(CpuProfiler()).answers(),
            what="profiling endpoint",
            remedy="SPO_PROFILING_PORT sets another port",
            answer_s=MAX_SECONDS + _SLACK_S,
            max_clients=MAX_CLIENTS,
        )
    )
    thread.start()
    if not thread.decided.wait(_START_S):
        log.warning("The profiling server does not start; going on without it")
    elif thread.problem:
        log.warning("Cannot serve profiles", problem=thread.problem)
    else:
        log.info("Starting profiling server", endpoint=f"localhost:{thread.server.port}")


class _ServerThread(threading.Thread):
    """Ends with the process."""

    def __init__(self, server: SmallHttpServer) -> None:
        super().__init__(name="profiling", daemon=True)
        self.server = server
        self.decided = threading.Event()
        """Set once the server answers, or has a :attr:`problem`."""
        self.problem = ""

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        telling = asyncio.create_task(self._tell())
        try:
            await self.server.run()
        except CannotListenError as error:
            self.problem = str(error)
        finally:
            telling.cancel()
            self.decided.set()

    async def _tell(self) -> None:
        await self.server.listening.wait()
        self.decided.set()
