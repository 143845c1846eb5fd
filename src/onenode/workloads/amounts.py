"""Numbers of a workload: shares of a total, and the times at which a ready pod counts as available.

Pure.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from onenode.clock import parse_timestamp

__all__ = ["available_at", "is_active", "is_ready", "ready_count", "share"]

Obj = dict[str, Any]


def share(value: int | str | None, total: int, *, up: bool) -> int:
    """An amount given as a number or as a percentage of ``total``; text that is neither counts as 0."""
    if isinstance(value, int):
        return value
    digits = (value or "").removesuffix("%")
    if not digits.isdigit():
        return 0
    if not (value or "").endswith("%"):
        return int(digits)
    exact = int(digits) * total
    return -(-exact // 100) if up else exact // 100


def is_active(pod: Obj) -> bool:
    """The pod has not ended and is not being deleted."""
    phase = (pod.get("status") or {}).get("phase")
    return phase not in ("Succeeded", "Failed") and not pod["metadata"].get("deletionTimestamp")


def _ready_condition(pod: Obj) -> Obj | None:
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "Ready" and condition.get("status") == "True":
            found: Obj = condition
            return found
    return None


def is_ready(pod: Obj) -> bool:
    """The pod's condition Ready is true."""
    return _ready_condition(pod) is not None


def available_at(pod: Obj, min_ready_s: int) -> datetime | None:
    """When a ready pod becomes available; ``None`` for a pod that is not ready."""
    condition = _ready_condition(pod)
    if condition is None:
        return None
    since = parse_timestamp(condition.get("lastTransitionTime") or "")
    return None if since is None else since + timedelta(seconds=min_ready_s)


def ready_count(pods: list[Obj], min_ready_s: int, now: datetime) -> tuple[int, int, float | None]:
    """How many are ready, how many available, and in how many seconds the next becomes available."""
    moments = [available_at(pod, min_ready_s) for pod in pods if is_ready(pod)]
    known = [moment for moment in moments if moment is not None]
    later = [(moment - now).total_seconds() for moment in known if min_ready_s and moment > now]
    return len(moments), len(moments) - len(later), min(later, default=None)
