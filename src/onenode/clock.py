"""Time as the API writes it; the source of time is injected, so that tests own it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

__all__ = ["Clock", "micro_timestamp", "parse_timestamp", "system_clock", "timestamp"]

Clock = Callable[[], datetime]
"""Tells the present moment, with a time zone."""

_SECONDS: Final = "%Y-%m-%dT%H:%M:%SZ"
_MICROSECONDS: Final = "%Y-%m-%dT%H:%M:%S.%fZ"


def system_clock() -> datetime:
    """The time of this machine."""
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """RFC 3339 in whole seconds: ``metav1.Time``."""
    return moment.astimezone(UTC).strftime(_SECONDS)


def micro_timestamp(moment: datetime) -> str:
    """RFC 3339 with six digits: ``metav1.MicroTime``."""
    return moment.astimezone(UTC).strftime(_MICROSECONDS)


def parse_timestamp(text: str) -> datetime | None:
    """The moment of an RFC 3339 text, ``None`` for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
