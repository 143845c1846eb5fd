"""A queue of keys: each waits at most once, and is never worked on twice at the same time."""

import asyncio
import heapq
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import count
from typing import Final, Generic, TypeVar

from spo.controller.backoff import ItemBackoff, TokenBucket
from spo.kube.clock import SYSTEM_CLOCK, Clock, Timer

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """Pauses of a work queue."""

    base_delay_s: float = 0.005
    """Pause after the first failure of an item; doubles with each further one."""
    max_delay_s: float = 60.0
    """Longest pause of one item."""
    retries_per_s: float = 10.0
    """Retries of all items together, once ``retry_burst`` is used up."""
    retry_burst: int = 100
    """Retries that need not wait for ``retries_per_s``."""


@dataclass(slots=True)
class QueueStats:
    """Counters; plain numbers, read by whoever exports metrics."""

    adds: int = 0
    """Items that entered the queue; duplicates of waiting ones do not."""
    retries: int = 0
    """Calls of :meth:`WorkQueue.add_rate_limited`."""
    done: int = 0
    """Items handed back."""


class WorkQueue(Generic[K]):
    """Level-triggered: an item that is added while it is worked on comes once more afterwards.

    A worker takes an item with :meth:`get` and must give it back with :meth:`done`.
    """

    def __init__(self, settings: QueueSettings | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        settings = settings or QueueSettings()
        self._clock = clock
        self._backoff: Final[ItemBackoff[K]] = ItemBackoff(settings.base_delay_s, settings.max_delay_s)
        self._bucket: Final = TokenBucket(settings.retries_per_s, settings.retry_burst, clock)
        self._ready: Final[asyncio.Queue[K]] = asyncio.Queue()
        self._dirty: Final[set[K]] = set()
        self._processing: Final[set[K]] = set()
        # Delayed items: the heap may hold entries that _due no longer confirms.
        self._delayed: Final[list[tuple[float, int, K]]] = []
        self._due: Final[dict[K, float]] = {}
        self._order = count()
        self._timer: Timer | None = None
        self._timer_at_s = 0.0
        self.stats: Final = QueueStats()

    def __len__(self) -> int:
        """Items ready to be worked on; delayed ones not counted."""
        return self._ready.qsize()

    def add(self, item: K) -> None:
        """Work on ``item`` soon; nothing changes if it already waits."""
        if item in self._dirty:
            return
        self._dirty.add(item)
        self.stats.adds += 1
        if item not in self._processing:
            self._ready.put_nowait(item)

    def add_after(self, item: K, delay_s: float) -> None:
        """Add ``item`` in ``delay_s`` seconds; of several delays of one item the earliest counts."""
        if delay_s <= 0:
            self.add(item)
            return
        due_s = self._clock.monotonic() + delay_s
        if self._due.get(item, due_s + 1.0) <= due_s:
            return
        self._due[item] = due_s
        heapq.heappush(self._delayed, (due_s, next(self._order), item))
        self._set_timer()

    def add_rate_limited(self, item: K) -> float:
        """Add ``item`` after a failure; return the pause, which grows with its failures in a row."""
        self.stats.retries += 1
        delay_s = max(self._backoff.next_s(item), self._bucket.reserve_s())
        self.add_after(item, delay_s)
        return delay_s

    def forget(self, item: K) -> None:
        """The failures of ``item`` no longer count."""
        self._backoff.forget(item)

    def failures(self, item: K) -> int:
        """Failures of ``item`` in a row."""
        return self._backoff.failures(item)

    async def get(self) -> K:
        """Wait for an item and take it; cancelling loses nothing."""
        item = await self._ready.get()
        # No await from here on: the item is either in the queue or in processing.
        self._dirty.discard(item)
        self._processing.add(item)
        return item

    def done(self, item: K) -> None:
        """Give back what :meth:`get` returned; if it was added meanwhile, it waits again."""
        self._processing.discard(item)
        self.stats.done += 1
        if item in self._dirty:
            self._ready.put_nowait(item)

    def _set_timer(self) -> None:
        if not self._delayed:
            return
        due_s = self._delayed[0][0]
        if self._timer is not None:
            if self._timer_at_s <= due_s:
                return
            self._timer.cancel()
        self._timer_at_s = due_s
        self._timer = self._clock.call_later(max(0.0, due_s - self._clock.monotonic()), self._release)

    def _release(self) -> None:
        """Move what is due to the queue."""
        self._timer = None
        now_s = self._clock.monotonic()
        while self._delayed and self._delayed[0][0] <= now_s:
            due_s, _, item = heapq.heappop(self._delayed)
            if self._due.get(item) == due_s:
                del self._due[item]
                self.add(item)
        self._set_timer()
