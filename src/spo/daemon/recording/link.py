"""The daemon's end of the connection to the recorder: made when wanted, made again when lost."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from spo import klog
from spo.kube.clock import SYSTEM_CLOCK, Clock
from spo.rpc.bpf_recorder import (
    PROTOCOL,
    UNKNOWN_NAMESPACE,
    Done,
    GetStatus,
    Identified,
    Keep,
    Kept,
    Losses,
    Observed,
    Read,
    Reject,
    Start,
    Started,
    Status,
    Stop,
    Stopped,
    Subscribe,
)
from spo.rpc.client import Client, connect_with_retry
from spo.rpc.connection import ConnectionLostError
from spo.rpc.errors import RpcError
from spo.rpc.protocol import CallFailedError

log = klog.get("recorder-spod")

AnswerT = TypeVar("AnswerT", bound=msgspec.Struct)

LEFTOVER_ATTEMPTS: Final = 10
LEFTOVER_STEP_S: Final = 3.0
RETRY_S: Final = 5.0
"""When to ask again a recorder that could not start or stop."""


class RecorderLink:
    """Calls raise RpcError while there is no connection; whoever calls tries again."""

    def __init__(
        self,
        path: Path,
        name: str,
        *,
        identified: Callable[[Identified], None],
        connected: Callable[[], None],
        clock: Clock = SYSTEM_CLOCK,
        server_uids: frozenset[int] = frozenset({0}),
    ) -> None:
        """Take what it works with.

        Args:
            path: socket of the recorder.
            name: under which this daemon wants recordings.
            identified: told of every namespace of a container, after each connection of all again.
            connected: told when calls work (again).
            server_uids: who may be the recorder.
        """
        self._path = path
        self._name = name
        self._identified = identified
        self._connected = connected
        self._clock = clock
        self._server_uids = server_uids
        self._client: Client | None = None
        self._wanted = False
        self._started = False
        self._changed = asyncio.Event()
        self._last_problem = ""
        self.losses = Losses()
        """As the recorder last told them."""

    @property
    def is_recording(self) -> bool:
        """Whether the recorder has been told to record, and is there."""
        return self._client is not None and self._started

    def want(self, wanted: bool) -> None:
        """Whether anything on this node is to be recorded."""
        if wanted != self._wanted:
            self._wanted = wanted
            self._changed.set()

    async def run(self) -> None:
        """Keep the connection while something is wanted, until cancelled."""
        await self._stop_leftovers()
        while True:
            while not self._wanted:
                self._changed.clear()
                await self._changed.wait()
            client = await connect_with_retry(
                self._path,
                PROTOCOL,
                failed=self._failed,
                server_uids=self._server_uids,
                sleep=self._clock.sleep,
            )
            try:
                async with client:
                    await self._serve(client)
            except* RpcError as group:
                self._failed(group.exceptions[0], 0)
            finally:
                self._client, self._started = None, False

    async def keep(self, key: int, profile: str = "", container: str = "") -> Kept | None:
        """Keep a namespace; ``None``: the recorder does not know it any more.

        Args:
            profile: value of the annotation; for the recorder's log.
            container: name of the container, for the same.
        """
        try:
            answer = await self._call(Keep(key, profile, container), Kept)
        except CallFailedError as error:
            if error.reason == UNKNOWN_NAMESPACE:
                return None
            raise
        self.losses = answer.losses
        return answer

    async def read(self, key: int) -> Observed | None:
        """What was seen in a namespace; ``None``: the recorder does not know it any more."""
        try:
            answer = await self._call(Read(key), Observed)
        except CallFailedError as error:
            if error.reason == UNKNOWN_NAMESPACE:
                return None
            raise
        self.losses = answer.losses
        return answer

    async def reject(self, key: int) -> None:
        """Drop a namespace; one that is not known is no error."""
        self.losses = (await self._call(Reject(key), Done)).losses

    async def _call(self, request: msgspec.Struct, answer: type[AnswerT]) -> AnswerT:
        if self._client is None:
            raise ConnectionLostError("there is no connection to the bpf recorder")
        return await self._client.call(request, answer)

    async def _stop_leftovers(self) -> None:
        """An earlier process may have ended between its last recording and telling so.

        The recorder starts beside us, and may not be there at all: a few attempts, in silence.
        """
        for _ in range(LEFTOVER_ATTEMPTS):
            self._changed.clear()
            if self._wanted:
                return
            try:
                async with await Client.connect(
                    self._path, PROTOCOL, server_uids=self._server_uids
                ) as client:
                    await self._stop(client)
                    return
            except RpcError:
                pass
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEFTOVER_STEP_S):
                    await self._changed.wait()

    async def _stop(self, client: Client) -> None:
        status = await client.call(GetStatus(), Status)
        if self._name in status.recordings:
            stopped = await client.call(Stop(self._name), Stopped)
            log.info("Recording stopped", remaining=stopped.remaining)

    async def _serve(self, client: Client) -> None:
        """Tell what is wanted, hear of namespaces, until the connection is lost."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(client))
            while True:
                self._changed.clear()
                await self._tell(client)
                await self._changed.wait()

    async def _follow(self, client: Client) -> None:
        async for event in client.events():
            if isinstance(event, Identified):
                self._identified(event)

    async def _tell(self, client: Client) -> None:
        """Start or stop; a recorder that cannot is asked again later."""
        try:
            if self._wanted:
                started = await client.call(Start(self._name), Started)
                self.losses = started.losses
                self._client, self._started, self._last_problem = client, True, ""
                self._connected()
                await client.call(Subscribe(), Status)
                log.info("Recording", alreadyRunning=started.already_running)
                return
            self._client, self._started = None, False
            await self._stop(client)
        except CallFailedError as error:
            self._failed(error, RETRY_S)
            self._clock.call_later(RETRY_S, self._changed.set)

    def _failed(self, error: BaseException, pause_s: float) -> None:
        """Log a problem when it is new."""
        if str(error) != self._last_problem:
            self._last_problem = str(error)
            log.warning("The bpf recorder is not at hand, trying again", problem=str(error), pauseS=pause_s)
