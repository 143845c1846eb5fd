"""What deleting an object means: grace, finalizers, policy.

HTTP, garbage collection and namespaces share it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from onenode.clock import parse_timestamp, timestamp
from onenode.context import Context
from onenode.registry import Resource
from onenode.store import Store, is_released
from onenode.strategies import strategy_of
from onenode.watch import Record
from onenode.webhooks.review import Attributes

__all__ = ["FOREGROUND", "ORPHAN", "Deletion", "delete_record", "review_deletion"]

FOREGROUND: Final = "foregroundDeletion"
ORPHAN: Final = "orphan"
CRD_CLEANUP: Final = "customresourcecleanup.apiextensions.k8s.io"
_POLICY_FINALIZERS: Final = {"Foreground": FOREGROUND, "Orphan": ORPHAN}

_DELETION_TEXT: Final = (
    "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
)

Obj = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Deletion:
    """The result of a delete."""

    obj: Obj
    removed: bool
    """It is gone; otherwise it waits for its grace or its finalizers."""


def delete_record(
    store: Store,
    resource: Resource,
    record: Record,
    *,
    grace_s: int | None = None,
    policy: str | None = None,
    dry_run: bool = False,
) -> Deletion:
    """Delete one object as far as it can be deleted now.

    Args:
        store: where it is.
        resource: what it is.
        record: the object.
        grace_s: wanted grace; ``None`` takes the object's own.
        policy: Background, Foreground or Orphan; ``None`` for the default.
        dry_run: only tell what would happen.
    """
    obj = record.copy()
    if resource.stored_as in _HOOKS:
        _HOOKS[resource.stored_as](store, obj)
        if dry_run:
            return Deletion(obj, removed=False)
        obj = store.update(resource.stored_as, obj, keep=True)
        if is_released(obj):
            store.remove(resource.stored_as, copy.deepcopy(obj))
            return Deletion(obj, removed=True)
        return Deletion(obj, removed=False)
    _set_policy(obj["metadata"], policy)
    grace = _grace(obj, grace_s) if resource.stored_as == "pods" else 0
    if obj["metadata"].get("deletionTimestamp"):
        return _again(store, resource, obj, grace, dry_run=dry_run)
    if not grace and not obj["metadata"].get("finalizers"):
        if resource.stored_as == "pods":
            _mark(store, resource, obj, 0)
        return _end(store, resource, obj, dry_run=dry_run)
    _mark(store, resource, obj, grace)
    return Deletion(obj if dry_run else store.update(resource.stored_as, obj), removed=False)


async def review_deletion(
    context: Context, attributes: Attributes, record: Record, warnings: list[str] | None = None
) -> None:
    """Ask the webhooks about the deletion of one object.

    Raises:
        ApiError: one refuses it.
    """
    told: list[str] = [] if warnings is None else warnings
    convert = attributes.resource.from_stored
    old = record.view if convert is None else convert(record.copy())
    await context.webhooks.mutate(attributes, None, old, lambda changed: changed, told)
    await context.webhooks.validate(attributes, None, old, told)


def _end(store: Store, resource: Resource, obj: Obj, *, dry_run: bool) -> Deletion:
    if not dry_run:
        if resource.stored_as == "pods" and obj["spec"].get("nodeName"):
            # The kubelet sees that the grace is over before the pod is gone.
            obj = store.update(resource.stored_as, obj, keep=True)
        obj = store.remove(resource.stored_as, obj)
    return Deletion(obj, removed=True)


def _mark(store: Store, resource: Resource, obj: Obj, grace: int) -> None:
    metadata = obj["metadata"]
    metadata["deletionTimestamp"] = timestamp(store.clock() + timedelta(seconds=grace))
    metadata["deletionGracePeriodSeconds"] = grace
    if strategy_of(resource).counts_generation:
        metadata["generation"] = (metadata.get("generation") or 0) + 1


def _again(store: Store, resource: Resource, obj: Obj, grace: int, *, dry_run: bool) -> Deletion:
    """A second delete can only shorten the grace."""
    metadata = obj["metadata"]
    before = metadata.get("deletionGracePeriodSeconds") or 0
    if grace < before:
        end = parse_timestamp(metadata["deletionTimestamp"]) or store.clock()
        metadata["deletionTimestamp"] = timestamp(end - timedelta(seconds=before - grace))
        metadata["deletionGracePeriodSeconds"] = grace
    if not grace and not metadata.get("finalizers"):
        return _end(store, resource, obj, dry_run=dry_run)
    return Deletion(obj if dry_run else store.update(resource.stored_as, obj), removed=False)


def _set_policy(metadata: Obj, policy: str | None) -> None:
    if policy is None:
        return
    kept = [name for name in metadata.get("finalizers") or [] if name not in _POLICY_FINALIZERS.values()]
    wanted = _POLICY_FINALIZERS.get(policy)
    if wanted is not None:
        kept.append(wanted)
    if kept:
        metadata["finalizers"] = kept
    else:
        metadata.pop("finalizers", None)


def _grace(pod: Obj, wanted: int | None) -> int:
    spec, status = pod["spec"], pod.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        return 0
    grace = spec.get("terminationGracePeriodSeconds", 30) if wanted is None else wanted
    return max(int(grace), 0) if grace >= 0 else 1


def _terminate_namespace(store: Store, obj: Obj) -> None:
    obj["metadata"].setdefault("deletionTimestamp", timestamp(store.clock()))
    obj.setdefault("status", {})["phase"] = "Terminating"


def _terminate_definition(store: Store, obj: Obj) -> None:
    """The definition stays until its objects are gone."""
    metadata = obj["metadata"]
    if metadata.get("deletionTimestamp"):
        return
    metadata["deletionTimestamp"] = timestamp(store.clock())
    finalizers = metadata.setdefault("finalizers", [])
    if CRD_CLEANUP not in finalizers:
        finalizers.append(CRD_CLEANUP)
    status = obj.setdefault("status", {})
    conditions = status.get("conditions") or []
    status["conditions"] = [
        *(c for c in conditions if c.get("type") != "Terminating"),
        {
            "type": "Terminating",
            "status": "True",
            "lastTransitionTime": timestamp(store.clock()),
            "reason": "InstanceDeletionPending",
            "message": _DELETION_TEXT,
        },
    ]


_HOOKS: Final = {
    "namespaces": _terminate_namespace,
    "customresourcedefinitions.apiextensions.k8s.io": _terminate_definition,
}
"""Kinds that keep what belongs to them and so are never deleted at once."""
