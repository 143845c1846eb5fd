"""Spans of time as kubectl shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from onenode.clock import parse_timestamp

__all__ = ["age", "human_duration"]

_HOUR_S: Final = 3600
_DAY_S: Final = 24 * _HOUR_S
_YEAR_S: Final = 365 * _DAY_S
_STEPS: Final = (
    (120, 1, "s", 1, ""),
    (600, 60, "m", 1, "s"),
    (3 * _HOUR_S, 60, "m", 1, ""),
    (8 * _HOUR_S, _HOUR_S, "h", 60, "m"),
    (2 * _DAY_S, _HOUR_S, "h", 1, ""),
    (8 * _DAY_S, _DAY_S, "d", _HOUR_S, "h"),
    (2 * _YEAR_S, _DAY_S, "d", 1, ""),
    (8 * _YEAR_S, _YEAR_S, "y", _DAY_S, "d"),
)
"""Below a limit (seconds): the unit, its name, the smaller unit and its name, if one is shown."""


def human_duration(seconds: int) -> str:
    """Short form with at most two units, such as ``3m12s`` or ``5d``."""
    if seconds < 0:
        return "<invalid>" if seconds < -1 else "0s"
    for limit_s, unit_s, unit, rest_s, rest in _STEPS:
        if seconds < limit_s:
            left = seconds % unit_s // rest_s if rest else 0
            return f"{seconds // unit_s}{unit}" + (f"{left}{rest}" if left else "")
    return f"{seconds // _YEAR_S}y"


def age(text: str | None, now: datetime) -> str:
    """How long ago a timestamp was."""
    if not text:
        return "<unknown>"
    moment = parse_timestamp(text)
    return "<invalid>" if moment is None else human_duration(int((now - moment).total_seconds()))
