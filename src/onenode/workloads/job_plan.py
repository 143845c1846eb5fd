"""Decisions about the pods of a Job.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from onenode.clock import parse_timestamp
from onenode.workloads.amounts import is_active

__all__ = ["JobCounts", "Verdict", "back_off_s", "judge", "wanted_pods"]

Obj = dict[str, Any]

_FIRST_BACK_OFF_S: Final = 10
_LONGEST_BACK_OFF_S: Final = 600


@dataclass(frozen=True, slots=True)
class JobCounts:
    """Pods of a Job."""

    active: int
    succeeded: int
    failed: int
    restarts: int = 0
    """Of containers in active pods."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a Job ended."""

    kind: str
    """Complete or Failed."""
    reason: str
    message: str


def judge(spec: Obj, counts: JobCounts, started: datetime | None, now: datetime) -> Verdict | None:
    """Whether the Job is over; ``None`` while it goes on."""
    completions, limit = spec.get("completions"), spec.get("backoffLimit", 6)
    deadline_s = spec.get("activeDeadlineSeconds")
    on_failure = spec["template"]["spec"].get("restartPolicy") == "OnFailure"
    if counts.failed > limit or (on_failure and counts.restarts and counts.restarts >= limit):
        text = "Job has reached the specified backoff limit"
        return Verdict("Failed", "BackoffLimitExceeded", text)
    if deadline_s is not None and started is not None and now >= started + timedelta(seconds=deadline_s):
        text = "Job was active longer than specified deadline"
        return Verdict("Failed", "DeadlineExceeded", text)
    if completions is None:
        done = counts.succeeded > 0 and not counts.active
    else:
        done = counts.succeeded >= completions
    if done:
        text = "Reached expected number of succeeded pods"
        return Verdict("Complete", "CompletionsReached", text)
    return None


def wanted_pods(spec: Obj, counts: JobCounts) -> int:
    """How many pods should be active."""
    parallelism = int(spec.get("parallelism", 1))
    completions = spec.get("completions")
    if completions is None:
        # The first success says that there is nothing left to do.
        return counts.active if counts.succeeded else parallelism
    return max(min(parallelism, int(completions) - counts.succeeded), 0)


def back_off_s(pods: Sequence[Obj], now: datetime) -> float:
    """Seconds to wait before a failed pod is replaced: longer with each failed pod that is still there."""
    ends: list[datetime] = []
    for pod in pods:
        if (pod.get("status") or {}).get("phase") == "Failed" and not is_active(pod):
            moment = _ended(pod)
            if moment is not None:
                ends.append(moment)
    if not ends:
        return 0.0
    wait_s = min(_FIRST_BACK_OFF_S * 2 ** min(len(ends) - 1, 10), _LONGEST_BACK_OFF_S)
    return max((max(ends) + timedelta(seconds=wait_s) - now).total_seconds(), 0.0)


def _ended(pod: Obj) -> datetime | None:
    states = [one.get("state") or {} for one in (pod.get("status") or {}).get("containerStatuses") or []]
    texts = [(state.get("terminated") or {}).get("finishedAt") for state in states]
    moments = [moment for text in texts if text and (moment := parse_timestamp(text)) is not None]
    return max(moments, default=None)
