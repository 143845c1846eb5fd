"""Tell users on their objects what happened, as core/v1 Events, without ever getting in the way.

Recording only queues. :meth:`EventRecorder.run` writes: the first event of its kind is created, identical
ones raise ``count`` and ``lastTimestamp`` of it, as client-go does. What does not fit is dropped and counted.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, TypeVar

from spo import klog
from spo.api.core import EVENTS, Event, EventSource, ObjectReference
from spo.api.meta import ObjectMeta
from spo.api.resource import Resource
from spo.kube.client import KubeClient
from spo.kube.clock import SYSTEM_CLOCK, Clock, format_time
from spo.kube.errors import KubeConfigError, KubeError, NotFoundError, is_transient
from spo.kube.event_budget import EventBudget
from spo.kube.wire import KubeObject

log = klog.get("events")

T = TypeVar("T", bound=KubeObject)

NORMAL: Final = "Normal"
WARNING: Final = "Warning"

_MAX_MESSAGE: Final = 1024  # events.k8s.io refuses longer notes
_MAX_REASON: Final = 128
_MAX_NAME: Final = 253
_MAX_QUEUED: Final = 1000
_MAX_REMEMBERED: Final = 1024
_FORGET_AFTER_S: Final = 600.0
"""Identical events further apart than this become a new Event, as in client-go."""
_WRITE_ATTEMPTS: Final = 4
_FIRST_RETRY_S: Final = 0.5
_FLUSH_S: Final = 2.0
"""How long a stopping recorder goes on writing what is queued."""
_FLUSH_WRITES: Final = 8
"""Writes at one time then."""


def reference(resource: Resource[T], obj: T) -> ObjectReference:
    """What an event about ``obj`` points to."""
    metadata = obj.metadata
    return ObjectReference(
        api_version=resource.api_version,
        kind=resource.kind,
        name=metadata.name,
        namespace=metadata.namespace or None,
        uid=metadata.uid,
        resource_version=metadata.resource_version,
    )


class _Identity(NamedTuple):
    """Events that agree in this are the same event, happening again."""

    kind: str
    namespace: str
    name: str
    uid: str
    type: str
    reason: str
    message: str


@dataclass(slots=True)
class _Pending:
    """Not written yet; identical ones that arrive meanwhile only raise ``count``."""

    about: ObjectReference
    annotations: Mapping[str, str]
    first: datetime
    last: datetime
    count: int = 1


@dataclass(slots=True)
class _Written:
    """An Event that exists at the API server."""

    name: str
    count: int
    last: datetime


@dataclass(slots=True)
class EventStats:
    """Counters; plain numbers, read by whoever exports metrics."""

    recorded: int = 0
    created: int = 0
    repeated: int = 0
    """Writes that raised the count of an Event."""
    dropped: int = 0
    """Events nobody will see: too many of one object, the queue full, not taken by the API server."""


class EventRecorder:
    """Record events as ``component``; nothing is written unless :meth:`run` runs."""

    def __init__(
        self, client: KubeClient, component: str, *, host: str = "", clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self.stats: Final = EventStats()
        self._client = client
        self._source = EventSource(component=component, host=host)
        self._clock = clock
        self._pending: OrderedDict[_Identity, _Pending] = OrderedDict()
        self._written: OrderedDict[_Identity, _Written] = OrderedDict()
        self._budget = EventBudget()
        self._arrived = asyncio.Event()
        self._stopping = False

    def event(
        self,
        about: ObjectReference,
        type_: str,
        reason: str,
        message: str,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """Queue an event about an object (see :func:`reference`); never blocks, never raises."""
        self.stats.recorded += 1
        identity = _Identity(
            about.kind,
            about.namespace or "",
            about.name,
            about.uid,
            type_,
            reason[:_MAX_REASON],
            _shortened(message),
        )
        now = self._clock.now()
        if (waiting := self._pending.get(identity)) is not None:
            waiting.count += 1
            waiting.last = now
            return
        if len(self._pending) >= _MAX_QUEUED:
            self.stats.dropped += 1
            return
        self._pending[identity] = _Pending(about, dict(annotations or {}), now, now)
        self._arrived.set()

    async def run(self) -> None:
        """Write events until cancelled; what is queued then still gets a moment."""
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                await self._write_all()
        finally:
            self._stopping = True
            try:
                async with asyncio.timeout(_FLUSH_S), asyncio.TaskGroup() as writers:
                    for _ in range(_FLUSH_WRITES):
                        writers.create_task(self._write_all())
            except TimeoutError:
                pass  # Counted below.
            finally:
                self.stats.dropped += sum(waiting.count for waiting in self._pending.values())
                self._pending.clear()
                self._stopping = False

    async def _write_all(self) -> None:
        while self._pending:
            identity, waiting = self._pending.popitem(last=False)
            source = (identity.kind, identity.namespace, identity.name, identity.uid)
            allowed = self._budget.take(source, self._clock.monotonic())
            try:
                written = allowed and await self._write(identity, waiting)
            except asyncio.CancelledError:
                self._put_back(identity, waiting)  # stopping half-way loses nothing
                raise
            if not written:
                self.stats.dropped += waiting.count

    def _put_back(self, identity: _Identity, waiting: _Pending) -> None:
        if (again := self._pending.get(identity)) is not None:
            waiting.count += again.count
            waiting.last = again.last
        self._pending[identity] = waiting
        self._pending.move_to_end(identity, last=False)

    async def _write(self, identity: _Identity, waiting: _Pending) -> bool:
        """Create or repeat one event; ``False`` if the API server does not take it."""
        delay_s = _FIRST_RETRY_S
        for attempt in range(1, _WRITE_ATTEMPTS + 1):
            try:
                await self._create_or_repeat(identity, waiting)
                return True
            except (KubeError, KubeConfigError) as error:
                if attempt == _WRITE_ATTEMPTS or self._stopping or not is_transient(error):
                    log.debug("event dropped", problem=str(error), reason=identity.reason, name=identity.name)
                    return False
            await self._clock.sleep(delay_s)
            delay_s *= 2
        return False

    async def _create_or_repeat(self, identity: _Identity, waiting: _Pending) -> None:
        now, count = self._clock.now(), waiting.count
        known = self._written.get(identity)
        if known is not None and (now - known.last).total_seconds() <= _FORGET_AFTER_S:
            try:
                await self._repeat(identity, known, count, waiting.last)
                return
            except NotFoundError:
                pass  # Expired at the server: it keeps events for an hour.
        name = _event_name(identity.name)
        await self._client.create(EVENTS, self._new(identity, waiting, name, count), _namespace(identity))
        self.stats.created += 1
        self._remember(identity, _Written(name, count, waiting.last))

    async def _repeat(self, identity: _Identity, known: _Written, count: int, last: datetime) -> None:
        body = {"count": known.count + count, "lastTimestamp": format_time(last)}
        await self._client.patch(EVENTS, known.name, _namespace(identity), body)
        self.stats.repeated += 1
        self._remember(identity, _Written(known.name, known.count + count, last))

    def _remember(self, identity: _Identity, written: _Written) -> None:
        self._written[identity] = written
        self._written.move_to_end(identity)
        while len(self._written) > _MAX_REMEMBERED:
            self._written.popitem(last=False)

    def _new(self, identity: _Identity, waiting: _Pending, name: str, count: int) -> Event:
        return Event(
            metadata=ObjectMeta(
                name=name, namespace=_namespace(identity), annotations=dict(waiting.annotations)
            ),
            involved_object=waiting.about,
            type=identity.type,
            reason=identity.reason,
            message=identity.message,
            count=count,
            first_timestamp=format_time(waiting.first),
            last_timestamp=format_time(waiting.last),
            source=self._source,
            reporting_component=self._source.component,
            reporting_instance=self._source.host,
        )


def _namespace(identity: _Identity) -> str:
    """Events about cluster-scoped objects live in ``default``."""
    return identity.namespace or "default"


def _event_name(object_name: str) -> str:
    """``<object>.<hex>``; a cut name must still be a valid one."""
    suffix = secrets.token_hex(8)
    return f"{object_name[: _MAX_NAME - len(suffix) - 1].rstrip('.-')}.{suffix}"


def _shortened(message: str) -> str:
    return message if len(message) <= _MAX_MESSAGE else message[: _MAX_MESSAGE - 3] + "..."
