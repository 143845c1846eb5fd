"""Decisions about the pods of a DaemonSet.

Pure. A DaemonSet never has two pods on a node: ``maxSurge`` is refused where it is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from onenode.scheduler import tolerates
from onenode.workloads.amounts import is_active, share

__all__ = ["DaemonPlan", "Place", "daemon_tolerations", "place_of", "plan_daemons"]

Obj = dict[str, Any]

_HARMLESS: Final = ("disk-pressure", "memory-pressure", "pid-pressure", "unschedulable")
"""Taints of a node in trouble, which do not keep a daemon away."""


def daemon_tolerations(pod_spec: Obj) -> list[Obj]:
    """The tolerations of a daemon's pod: its own and those that every daemon has."""
    keys = [(name, "NoExecute") for name in ("not-ready", "unreachable")]
    keys += [(name, "NoSchedule") for name in _HARMLESS]
    if pod_spec.get("hostNetwork"):
        keys.append(("network-unavailable", "NoSchedule"))
    added = [
        {"key": f"node.kubernetes.io/{name}", "operator": "Exists", "effect": effect} for name, effect in keys
    ]
    own = list(pod_spec.get("tolerations") or [])
    return own + [one for one in added if one not in own]


@dataclass(frozen=True, slots=True)
class Place:
    """What a node means for a DaemonSet."""

    run: bool
    """It should have a pod."""
    keep: bool
    """A pod that is there already may stay."""


def place_of(pod_spec: Obj, node: Obj) -> Place:
    """Judge a node by the pod's node selector and tolerations."""
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (pod_spec.get("nodeSelector") or {}).items()):
        return Place(run=False, keep=False)
    tolerations = daemon_tolerations(pod_spec)
    taints = (node.get("spec") or {}).get("taints") or []
    strange = [taint.get("effect") for taint in taints if not tolerates(tolerations, taint)]
    return Place(run=not {"NoSchedule", "NoExecute"} & set(strange), keep="NoExecute" not in strange)


@dataclass(frozen=True, slots=True)
class DaemonPlan:
    """What to do."""

    create: list[str] = field(default_factory=list)
    """Nodes that get a pod."""
    delete: list[Obj] = field(default_factory=list)


def plan_daemons(
    places: Mapping[str, Place],
    pods: Sequence[Obj],
    updated: frozenset[str],
    available: frozenset[str],
    max_unavailable: int | str | None,
) -> DaemonPlan:
    """Compare nodes and pods.

    Args:
        places: every node by name.
        pods: of the DaemonSet, also those that ended or are being deleted.
        updated: names of the pods of the current template.
        available: names of the available pods.
        max_unavailable: how many nodes may be without while pods are replaced; ``None`` replaces none.
    """
    plan = DaemonPlan()
    kept: list[Obj] = []
    by_node: dict[str, list[Obj]] = {}
    for pod in pods:
        by_node.setdefault(pod["spec"].get("nodeName") or "", []).append(pod)
    for node, here in by_node.items():
        place = places.get(node, Place(run=False, keep=False))
        living = sorted((pod for pod in here if is_active(pod)), key=_age)
        # Ended pods go, and a new one comes when they are gone.
        plan.delete.extend(pod for pod in here if not is_active(pod) and not _going(pod))
        surplus = living[1:] if place.keep else living
        plan.delete.extend(surplus)
        kept += living[:1] if place.keep else []
    wanted = [node for node, place in places.items() if place.run]
    plan.create.extend(node for node in wanted if not by_node.get(node))
    if max_unavailable is not None:
        allowed = share(max_unavailable, len(wanted), up=True)
        plan.delete.extend(_outdated(kept, len(wanted), updated, available, allowed))
    return plan


def _outdated(
    kept: Sequence[Obj], wanted: int, updated: frozenset[str], available: frozenset[str], allowed: int
) -> list[Obj]:
    """The pods of an old template that may go now: those that serve nobody anyhow, then the others."""
    old = [pod for pod in kept if pod["metadata"]["name"] not in updated]
    broken = [pod for pod in old if pod["metadata"]["name"] not in available]
    serving = [pod for pod in old if pod["metadata"]["name"] in available]
    missing = wanted - sum(pod["metadata"]["name"] in available for pod in kept)
    return broken + serving[: max(allowed - missing, 0)]


def _age(pod: Obj) -> str:
    return str(pod["metadata"].get("creationTimestamp", ""))


def _going(pod: Obj) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))
