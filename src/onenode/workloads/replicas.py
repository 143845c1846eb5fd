"""Decisions about the pods of a ReplicaSet and the ReplicaSets of a Deployment.

Pure. Simplified against a real controller: a Deployment that is scaled in the middle of a rollout is not
scaled in proportion; the new ReplicaSet takes the difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onenode.workloads.amounts import is_active, is_ready, share

__all__ = ["Limits", "Size", "limits_of", "plan_recreate", "plan_replicas", "plan_rolling"]

Obj = dict[str, Any]


def plan_replicas(pods: Sequence[Obj], wanted: int) -> tuple[int, list[Obj]]:
    """How many pods to create, or which to delete, so that ``wanted`` are active."""
    active = [pod for pod in pods if is_active(pod)]
    surplus = len(active) - wanted
    if surplus <= 0:
        return -surplus, []
    newest_first = sorted(active, key=lambda pod: pod["metadata"].get("creationTimestamp", ""), reverse=True)
    return 0, sorted(newest_first, key=_worth)[:surplus]


def _worth(pod: Obj) -> tuple[bool, bool, bool]:
    """The least valuable first: not bound, not running, not ready."""
    running = (pod.get("status") or {}).get("phase") == "Running"
    return bool(pod["spec"].get("nodeName")), running, is_ready(pod)


@dataclass(frozen=True, slots=True)
class Size:
    """A ReplicaSet, seen from its Deployment."""

    name: str
    wanted: int
    """``spec.replicas``."""
    available: int = 0
    pods: int = 0
    """Pods that exist and have not ended, also those being deleted."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a rolling update keeps to."""

    replicas: int
    max_surge: int
    max_unavailable: int


def limits_of(spec: Mapping[str, Any]) -> Limits:
    """The limits of a Deployment's spec; surge is rounded up, unavailability down, never both to 0."""
    replicas = int(spec.get("replicas", 1))
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return Limits(replicas, 0, replicas)
    rolling = strategy.get("rollingUpdate") or {}
    surge = share(rolling.get("maxSurge"), replicas, up=True)
    unavailable = share(rolling.get("maxUnavailable"), replicas, up=False)
    if not surge and not unavailable:
        unavailable = 1
    return Limits(replicas, surge, min(unavailable, replicas))


def plan_rolling(new: Size, old: Sequence[Size], limits: Limits) -> dict[str, int]:
    """The next step of a rolling update: wanted sizes that change, by name. ``old``: oldest first."""
    total = new.wanted + sum(size.wanted for size in old)
    if new.wanted > limits.replicas:
        return {new.name: limits.replicas}
    room = limits.replicas + limits.max_surge - total
    growth = min(room, limits.replicas - new.wanted)
    if growth > 0:
        return {new.name: new.wanted + growth}
    return _shrink(new, old, limits, total)


def _shrink(new: Size, old: Sequence[Size], limits: Limits, total: int) -> dict[str, int]:
    min_available = limits.replicas - limits.max_unavailable
    coming = max(new.wanted - new.available, 0)
    left = {size.name: size.wanted for size in old}
    # First what serves nobody, then as many of the others as may be missing.
    budget = total - min_available - coming
    for size in old:
        cut = min(max(size.wanted - size.available, 0), max(budget, 0))
        left[size.name] -= cut
        budget -= cut
    spare = new.available + sum(min(size.available, left[size.name]) for size in old) - min_available
    spare = min(spare, budget)
    for size in old:
        cut = min(left[size.name], max(spare, 0))
        left[size.name] -= cut
        spare -= cut
    return {size.name: left[size.name] for size in old if left[size.name] != size.wanted}


def plan_recreate(new: Size, old: Sequence[Size], replicas: int) -> dict[str, int]:
    """The next step of Recreate: the old ones go completely before the new one starts."""
    shrinking = {size.name: 0 for size in old if size.wanted}
    if shrinking:
        return shrinking
    if any(size.pods for size in old) or new.wanted == replicas:
        return {}
    return {new.name: replicas}
