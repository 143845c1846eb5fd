"""A clock that stands still until a test moves it."""

import asyncio
import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

_SETTLE_ROUNDS = 30  # enough for chains of callbacks and tasks without input and output


class FakeTimer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeClock:
    """Implements spo.kube.clock.Clock; :meth:`advance` runs what falls due, in order."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._start = datetime(2026, 1, 1, tzinfo=UTC)
        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._order = count()
        self.slept: list[float] = []
        """Every delay that somebody asked to sleep."""

    def monotonic(self) -> float:
        return self._now_s

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._now_s)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(callback)
        heapq.heappush(self._timers, (self._now_s + delay_s, next(self._order), timer))
        return timer

    async def sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = self.call_later(delay_s, lambda: woken.done() or woken.set_result(None))
        try:
            await woken
        finally:
            timer.cancel()

    async def settle(self) -> None:
        """Let everything run that can run at the present moment."""
        for _ in range(_SETTLE_ROUNDS):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Move on, stopping at each moment at which something falls due."""
        await self.settle()
        end_s = self._now_s + seconds
        while self._timers and self._timers[0][0] <= end_s:
            self.jump()
            await self.settle()
        self._now_s = end_s
        await self.settle()

    def jump(self) -> None:
        """Go to the next moment at which something falls due, and make that call."""
        self._now_s, _, timer = heapq.heappop(self._timers)
        if timer.callback is not None:
            timer.callback()

    @property
    def waiting(self) -> int:
        """How many calls are still to come."""
        return sum(timer.callback is not None for _, _, timer in self._timers)


class EagerClock(FakeClock):
    """Every sleep ends at once, and time moves on by as much: for code that talks to a real socket."""

    async def sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)
        self._now_s += delay_s
        await asyncio.sleep(0)
