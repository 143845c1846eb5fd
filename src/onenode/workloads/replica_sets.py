"""ReplicaSet: as many pods as wanted."""

from __future__ import annotations

from typing import Any, Final

from onenode.clock import timestamp
from onenode.status import ApiError
from onenode.watch import Record
from onenode.workloads.amounts import is_active, ready_count
from onenode.workloads.objects import Objects
from onenode.workloads.replicas import plan_replicas

__all__ = ["REPLICA_SETS", "ReplicaSets"]

Obj = dict[str, Any]
REPLICA_SETS: Final = "replicasets.apps"


class ReplicaSets:
    """The controller."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def reconcile(self, record: Record) -> float | None:
        """Create and delete pods, write the status; seconds after which to look again."""
        spec = record.view["spec"]
        pods = self._objects.claimed("pods", record)
        failure: tuple[Obj, ApiError] | None = None
        if not record.view["metadata"].get("deletionTimestamp"):
            failure = await self._manage(record, pods)
            pods = self._objects.claimed("pods", record)
        again_s = await self._tell(record, spec, [pod.view for pod in pods], failure and failure[0])
        if failure is not None:
            raise failure[1]
        return again_s

    async def _manage(self, record: Record, pods: list[Record]) -> tuple[Obj, ApiError] | None:
        """Bring the number of pods into order; if it is not, the condition that says why."""
        spec = record.view["spec"]
        missing, surplus = plan_replicas([pod.view for pod in pods], spec["replicas"])
        names = {pod["metadata"]["name"] for pod in surplus}
        for pod in pods:
            if pod.name in names:
                await self._objects.delete(pod)
        try:
            for _ in range(missing):
                await self._objects.create_pod(record, spec["template"])
        except ApiError as error:
            condition = {
                "type": "ReplicaFailure",
                "status": "True",
                "lastTransitionTime": timestamp(self._objects.clock()),
                "reason": "FailedCreate",
                "message": error.message,
            }
            return condition, error
        return None

    async def _tell(self, record: Record, spec: Obj, pods: list[Obj], failure: Obj | None) -> float | None:
        before = record.view.get("status") or {}
        active = [pod for pod in pods if is_active(pod)]
        min_ready_s = spec.get("minReadySeconds") or 0
        ready, available, again_s = ready_count(active, min_ready_s, self._objects.clock())
        wanted = (spec["template"].get("metadata") or {}).get("labels") or {}
        numbers = {
            "fullyLabeledReplicas": sum(
                wanted.items() <= (pod["metadata"].get("labels") or {}).items() for pod in active
            ),
            "readyReplicas": ready,
            "availableReplicas": available,
        }
        status: Obj = {
            "replicas": len(active),
            **{name: number for name, number in numbers.items() if number},
            "terminatingReplicas": sum(bool(pod["metadata"].get("deletionTimestamp")) for pod in pods),
            "observedGeneration": record.view["metadata"].get("generation", 1),
        }
        if failure is not None:
            old = next((c for c in before.get("conditions") or [] if c["type"] == failure["type"]), None)
            # The first failure stays: the next text names another pod, and writing it would be one more
            # change to react to, without end.
            status["conditions"] = [failure if old is None else old]
        await self._objects.set_status(record, status)
        return again_s
