"""What changed, in order: a bounded history and its subscribers.

Nothing here knows HTTP. One ``Event`` is shared by all subscribers, with the lines that HTTP made of it,
so that fifty clients cost one encoding.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import msgspec

__all__ = ["Event", "ExpiredError", "Hub", "Record", "SlowWatcherError", "Watch"]

HISTORY_LENGTH: Final = 20_000
"""Changes kept for watchers that come back and for pages of a list; older ones answer 410."""
QUEUE_LENGTH: Final = 10_000
"""Changes that may wait for one watcher; a slower one is cut off and lists again."""


class ExpiredError(Exception):
    """A revision is older than the history."""

    def __init__(self, revision: int, oldest: int) -> None:
        super().__init__(revision, oldest)
        self.revision = revision
        self.oldest = oldest

    def __str__(self) -> str:
        return f"too old resource version: {self.revision} ({self.oldest})"


class SlowWatcherError(Exception):
    """A watcher fell behind by more than its queue holds."""


@dataclass(frozen=True, eq=False)
class Record:
    """One version of one object; immutable."""

    resource: str
    """``plural`` or ``plural.group``."""
    namespace: str | None
    name: str
    revision: int
    raw: bytes
    """JSON."""

    def copy(self) -> dict[str, Any]:
        """The object, for the caller to change."""
        obj: dict[str, Any] = msgspec.json.decode(self.raw)
        return obj

    @cached_property
    def view(self) -> dict[str, Any]:
        """The object, shared by all readers: never change it."""
        return self.copy()

    @property
    def key(self) -> tuple[str, str]:
        """Namespace (empty for cluster-scoped objects) and name."""
        return (self.namespace or "", self.name)


@dataclass(frozen=True, eq=False)
class Event:
    """One change."""

    type: str
    """ADDED, MODIFIED or DELETED."""
    record: Record
    """After the change; for DELETED the last state with the revision of the deletion."""
    old_record: Record | None
    """Before the change."""
    lines: dict[Any, bytes] = field(default_factory=dict)
    """Encoded forms, by format; filled by whoever needs one first."""

    @property
    def revision(self) -> int:
        """Position of the change."""
        return self.record.revision

    @property
    def object(self) -> dict[str, Any]:
        """The object after the change: a copy."""
        return self.record.copy()

    @property
    def old(self) -> dict[str, Any] | None:
        """The object before the change: a copy."""
        return None if self.old_record is None else self.old_record.copy()


class Watch:
    """The changes of one resource, or of all, from its making on.

    An asynchronous iterator; ``close`` it after use.
    """

    def __init__(self, hub: Hub, resource: str | None, missed: list[Event]) -> None:
        self._hub = hub
        self._resource = resource
        self._events: deque[Event] = deque(missed)
        self._ready = asyncio.Event()
        self._overflowed = False
        self._closed = False

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._overflowed:
                raise SlowWatcherError
            if self._closed:
                raise StopAsyncIteration
            self._ready.clear()
            await self._ready.wait()
        return self._events.popleft()

    @property
    def pending(self) -> bool:
        """An event can be taken without waiting."""
        return bool(self._events)

    def close(self) -> None:
        """Stop listening; a waiting iteration ends."""
        self._closed = True
        self._hub.unsubscribe(self._resource, self)
        self._ready.set()

    def put(self, event: Event) -> None:
        """Called by the hub."""
        if len(self._events) >= QUEUE_LENGTH:
            self._events.clear()
            self._overflowed = True
            self._hub.unsubscribe(self._resource, self)
        else:
            self._events.append(event)
        self._ready.set()


class Hub:
    """Keeps the recent changes and hands each to the watchers of its resource."""

    def __init__(self, revision: int, history_length: int = HISTORY_LENGTH) -> None:
        self._history: deque[Event] = deque()
        self._length = history_length
        self._oldest = revision
        self._watches: dict[str | None, set[Watch]] = defaultdict(set)

    @property
    def oldest(self) -> int:
        """Changes after this revision are known."""
        return self._oldest

    def publish(self, event: Event) -> None:
        """Remember a change and wake its watchers."""
        self._history.append(event)
        if len(self._history) > self._length:
            self._oldest = self._history.popleft().revision
        for listened in (event.record.resource, None):
            for watch in tuple(self._watches.get(listened, ())):
                watch.put(event)

    def subscribe(self, resource: str | None, since: int | None) -> Watch:
        """Watch one resource, or all (``None``): changes after ``since``, or from now on.

        Raises:
            ExpiredError: ``since`` is older than the history.
        """
        missed = [] if since is None else self.after(since)
        if resource is not None:
            missed = [event for event in missed if event.record.resource == resource]
        watch = Watch(self, resource, missed)
        self._watches[resource].add(watch)
        return watch

    def unsubscribe(self, resource: str | None, watch: Watch) -> None:
        """Forget a watcher."""
        self._watches[resource].discard(watch)

    def after(self, revision: int) -> list[Event]:
        """The changes after a revision, oldest first.

        Raises:
            ExpiredError: it is older than the history.
        """
        if revision < self._oldest:
            raise ExpiredError(revision, self._oldest)
        if not self._history or revision >= self._history[-1].revision:
            return []
        events = list(self._history)
        return events[bisect_right(events, revision, key=lambda event: event.revision) :]

    def forget(self) -> None:
        """Drop the history, as a compaction of the store does; watchers stay."""
        if self._history:
            self._oldest = self._history[-1].revision
            self._history.clear()
