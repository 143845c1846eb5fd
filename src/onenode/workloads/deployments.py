"""Deployment: one ReplicaSet for each template, and the way from the old to the new one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from onenode.clock import parse_timestamp, timestamp
from onenode.watch import Record
from onenode.workloads.amounts import is_active
from onenode.workloads.deployment_status import DeploymentStatus
from onenode.workloads.objects import Objects
from onenode.workloads.replica_sets import REPLICA_SETS
from onenode.workloads.replicas import Size, limits_of, plan_recreate, plan_rolling
from onenode.workloads.templates import HASH_LABEL, same_template, template_hash, with_labels

__all__ = ["DEPLOYMENTS", "Deployments"]

Obj = dict[str, Any]

DEPLOYMENTS: Final = "deployments.apps"
_PREFIX: Final = "deployment.kubernetes.io/"
_REVISION: Final = f"{_PREFIX}revision"
_HISTORY: Final = f"{_PREFIX}revision-history"
_DESIRED: Final = f"{_PREFIX}desired-replicas"
_MAX: Final = f"{_PREFIX}max-replicas"
_OWN: Final = frozenset(
    {_REVISION, _HISTORY, _DESIRED, _MAX, "kubectl.kubernetes.io/last-applied-configuration"}
)
"""Annotations that do not pass from a Deployment to its ReplicaSets."""


class Deployments:
    """The controller."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def reconcile(self, record: Record) -> float | None:
        """Go one step on with the rollout, write the status; seconds after which to look again."""
        sets = self._objects.claimed(REPLICA_SETS, record)
        if not record.view["metadata"].get("deletionTimestamp"):
            if record.view["spec"].get("paused"):
                await self._scale_paused(record, sets)
            else:
                await self._roll(record, sets)
            record = self._objects.record(DEPLOYMENTS, record.namespace, record.name) or record
            sets = self._objects.claimed(REPLICA_SETS, record)
        return await self._tell(record, sets)

    # Rollout

    async def _roll(self, record: Record, sets: list[Record]) -> None:
        spec, old = record.view["spec"], _by_age(sets)
        new = _newest(sets, spec["template"])
        if new is not None:
            old.remove(new)
        revision = str(max((_revision(one) for one in old), default=0) + 1)
        if new is not None and _revision(new) > int(revision):
            revision = str(_revision(new))
        name = new.name if new is not None else self._free_name(record)
        steps = self._steps(record, Size(name, 0) if new is None else self._size(new), old)
        if new is None:
            await self._create(record, name, revision, steps.get(name, 0))
        else:
            await self._update(record, new, revision, steps.get(name))
        for one in old:
            if one.name in steps:
                await self._update(record, one, None, steps[one.name])
        await self._set_revision(record, revision)
        await self._clean_up(record, old)

    def _steps(self, record: Record, new: Size, old: list[Record]) -> dict[str, int]:
        spec = record.view["spec"]
        sizes = [self._size(one) for one in old]
        if spec["strategy"]["type"] == "Recreate":
            return plan_recreate(new, sizes, spec["replicas"])
        return plan_rolling(new, sizes, limits_of(spec))

    async def _scale_paused(self, record: Record, sets: list[Record]) -> None:
        """A paused Deployment follows ``replicas`` only, in the one ReplicaSet that has pods."""
        running = [one for one in sets if one.view["spec"]["replicas"]] or _by_age(sets)[-1:]
        if len(running) == 1:
            await self._update(record, running[0], None, record.view["spec"]["replicas"])

    def _size(self, record: Record) -> Size:
        pods = self._objects.claimed("pods", record)
        ended = ("Succeeded", "Failed")
        living = [pod for pod in pods if (pod.view.get("status") or {}).get("phase") not in ended]
        available = (record.view.get("status") or {}).get("availableReplicas") or 0
        active = sum(is_active(pod.view) for pod in pods)
        return Size(record.name, record.view["spec"]["replicas"], min(available, active), len(living))

    def _free_name(self, record: Record) -> str:
        """A name from the template that no other ReplicaSet has."""
        collisions = 0
        while True:
            name = f"{record.name}-{template_hash(record.view['spec']['template'], collisions)}"
            if self._objects.record(REPLICA_SETS, record.namespace, name) is None:
                return name
            collisions += 1

    async def _create(self, record: Record, name: str, revision: str, replicas: int) -> None:
        spec = record.view["spec"]
        labels = {HASH_LABEL: name.rpartition("-")[2]}
        template = with_labels(spec["template"], labels)
        selector = {**spec["selector"]}
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), **labels}
        made: Obj = {
            "kind": "ReplicaSet",
            "apiVersion": "apps/v1",
            "metadata": {
                "name": name,
                "namespace": record.namespace,
                "labels": template["metadata"]["labels"],
                "annotations": {**_inherited(record), **_amounts(spec), _REVISION: revision},
            },
            "spec": {"replicas": replicas, "selector": selector, "template": template},
        }
        if spec.get("minReadySeconds"):
            made["spec"]["minReadySeconds"] = spec["minReadySeconds"]
        await self._objects.create_owned(REPLICA_SETS, record, made)

    async def _update(
        self, record: Record, target: Record, revision: str | None, replicas: int | None
    ) -> None:
        """Bring a ReplicaSet into line; ``revision`` only for the newest."""
        obj = target.copy()
        annotations = obj["metadata"].setdefault("annotations", {})
        if revision is not None:
            before = annotations.get(_REVISION)
            if before not in (None, revision):
                annotations[_HISTORY] = ",".join(filter(None, [annotations.get(_HISTORY), before]))
            annotations.update({**_inherited(record), _REVISION: revision})
            obj["spec"].pop("minReadySeconds", None)
            if record.view["spec"].get("minReadySeconds"):
                obj["spec"]["minReadySeconds"] = record.view["spec"]["minReadySeconds"]
        annotations.update(_amounts(record.view["spec"]))
        if replicas is not None:
            obj["spec"]["replicas"] = replicas
        await self._objects.update(target, obj)

    async def _set_revision(self, record: Record, revision: str) -> None:
        obj = record.copy()
        obj["metadata"].setdefault("annotations", {})[_REVISION] = revision
        await self._objects.update_status(record, obj)

    async def _clean_up(self, record: Record, old: list[Record]) -> None:
        """Forget the oldest templates beyond ``revisionHistoryLimit``."""
        empty = [
            one
            for one in sorted(old, key=_revision)
            if not one.view["spec"]["replicas"] and not (one.view.get("status") or {}).get("replicas")
        ]
        surplus = len(empty) - int(record.view["spec"].get("revisionHistoryLimit", 10))
        for one in empty[: max(surplus, 0)]:
            await self._objects.delete(one)

    # Status

    async def _tell(self, record: Record, sets: list[Record]) -> float | None:
        now = self._objects.clock()
        new = _newest(sets, record.view["spec"]["template"])
        made = DeploymentStatus(record.view, [one.view for one in sets], new.view if new else None, now)
        status = made.status()
        await self._objects.set_status(record, status)
        return _seconds_to_deadline(record.view["spec"], status, timestamp(now))


def _seconds_to_deadline(spec: Obj, status: Obj, now: str) -> float | None:
    """How long the rollout may still take; ``None`` if it is over."""
    progressing = next((c for c in status["conditions"] if c["type"] == "Progressing"), None)
    if progressing is None or progressing["reason"] in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded"):
        return None
    since, moment = parse_timestamp(progressing["lastUpdateTime"]), parse_timestamp(now)
    if since is None or moment is None:
        return None
    end = since + timedelta(seconds=spec.get("progressDeadlineSeconds", 600) + 1)
    return max((end - moment).total_seconds(), 0.0)


def _by_age(sets: list[Record]) -> list[Record]:
    return sorted(sets, key=lambda one: (one.view["metadata"]["creationTimestamp"], _revision(one), one.name))


def _newest(sets: list[Record], template: Obj) -> Record | None:
    """The ReplicaSet of the current template; the oldest if there are several."""
    return next((one for one in _by_age(sets) if same_template(one.view["spec"]["template"], template)), None)


def _revision(record: Record) -> int:
    text = str((record.view["metadata"].get("annotations") or {}).get(_REVISION, ""))
    return int(text) if text.isdecimal() else 0


def _inherited(record: Record) -> Obj:
    annotations = record.view["metadata"].get("annotations") or {}
    return {name: value for name, value in annotations.items() if name not in _OWN}


def _amounts(spec: Obj) -> Obj:
    limits = limits_of(spec)
    return {_DESIRED: str(limits.replicas), _MAX: str(limits.replicas + limits.max_surge)}
