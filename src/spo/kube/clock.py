"""Time as the runtime sees it, so that tests can move it by hand."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Timer(Protocol):
    """A call that has not happened yet."""

    def cancel(self) -> None:
        """Do not make the call; harmless after the call."""


class Clock(Protocol):
    """What the runtime asks of time; :class:`SystemClock` in production."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""

    def now(self) -> datetime:
        """The time of day, in UTC."""

    async def sleep(self, delay_s: float) -> None:
        """Return after ``delay_s`` seconds."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` in the event loop after ``delay_s`` seconds."""


class SystemClock:
    """The machine's clock and the running event loop."""

    def monotonic(self) -> float:
        """See :class:`Clock`."""
        return time.monotonic()

    def now(self) -> datetime:
        """See :class:`Clock`."""
        return datetime.now(UTC)

    async def sleep(self, delay_s: float) -> None:
        """See :class:`Clock`."""
        await asyncio.sleep(delay_s)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """See :class:`Clock`."""
        return asyncio.get_running_loop().call_later(delay_s, callback)


SYSTEM_CLOCK = SystemClock()
"""The clock that everything uses unless a test passes another."""


def format_time(moment: datetime) -> str:
    """``metav1.Time``: RFC 3339, seconds, ``Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_micro_time(moment: datetime) -> str:
    """``metav1.MicroTime``: the API server refuses it without all six digits."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
