"""DaemonSet: one pod on every node that takes it."""

from __future__ import annotations

import copy
from typing import Any, Final

from onenode.status import ApiError
from onenode.watch import Record
from onenode.workloads.amounts import available_at, is_active, is_ready, ready_count
from onenode.workloads.daemons import Place, daemon_tolerations, place_of, plan_daemons
from onenode.workloads.objects import Objects
from onenode.workloads.templates import template_hash, with_labels

__all__ = ["DAEMON_SETS", "DaemonSets"]

Obj = dict[str, Any]

DAEMON_SETS: Final = "daemonsets.apps"
_HASH: Final = "controller-revision-hash"
_GENERATION: Final = "pod-template-generation"
_DEPRECATED: Final = "deprecated.daemonset.template.generation"


class DaemonSets:
    """The controller. Its pods are bound to their nodes from the start."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def reconcile(self, record: Record) -> float | None:
        """Create and delete pods, write the status; seconds after which to look again."""
        pods = [pod.view for pod in self._objects.claimed("pods", record)]
        pod_spec = record.view["spec"]["template"]["spec"]
        nodes = {node.name: node.view for node in self._objects.records("nodes")}
        places = {name: place_of(pod_spec, node) for name, node in nodes.items()}
        failure: ApiError | None = None
        if not record.view["metadata"].get("deletionTimestamp"):
            failure = await self._manage(record, places, pods)
            pods = [pod.view for pod in self._objects.claimed("pods", record)]
        again_s = await self._tell(record, places, pods)
        if failure is not None:
            raise failure
        return again_s

    async def _manage(self, record: Record, places: dict[str, Place], pods: list[Obj]) -> ApiError | None:
        """Create and delete pods; the last refusal."""
        spec = record.view["spec"]
        strategy = spec["updateStrategy"]
        allowed = None
        if strategy["type"] == "RollingUpdate":
            allowed = strategy["rollingUpdate"]["maxUnavailable"]
        updated = frozenset(pod["metadata"]["name"] for pod in pods if _is_updated(record, pod))
        plan = plan_daemons(places, pods, updated, self._available(record, pods), allowed)
        for pod in plan.delete:
            found = self._objects.record("pods", record.namespace, pod["metadata"]["name"])
            if found is not None:
                await self._objects.delete(found)
        failure: ApiError | None = None
        for node in plan.create:
            failure = await self._create(record, node) or failure
        return failure

    def _available(self, record: Record, pods: list[Obj]) -> frozenset[str]:
        min_ready_s, now = record.view["spec"].get("minReadySeconds") or 0, self._objects.clock()
        found = ((pod["metadata"]["name"], available_at(pod, min_ready_s)) for pod in pods if is_active(pod))
        return frozenset(name for name, moment in found if moment and (not min_ready_s or moment <= now))

    async def _create(self, record: Record, node: str) -> ApiError | None:
        template = with_labels(record.view["spec"]["template"], _labels(record))
        template["spec"]["tolerations"] = copy.deepcopy(daemon_tolerations(template["spec"]))
        try:
            await self._objects.create_pod(record, template, node_name=node)
        except ApiError as error:
            # The other nodes get theirs.
            return error
        return None

    async def _tell(self, record: Record, places: dict[str, Place], pods: list[Obj]) -> float | None:
        wanted = {name for name, place in places.items() if place.run}
        living = [pod for pod in pods if is_active(pod)]
        here = {pod["spec"].get("nodeName"): pod for pod in living if pod["spec"].get("nodeName") in wanted}
        daemons = list(here.values())
        min_ready_s = record.view["spec"].get("minReadySeconds") or 0
        _, available, again_s = ready_count(daemons, min_ready_s, self._objects.clock())
        status: Obj = {
            "currentNumberScheduled": len(here),
            "numberMisscheduled": sum(pod["spec"].get("nodeName") not in wanted for pod in living),
            "desiredNumberScheduled": len(wanted),
            "numberReady": sum(is_ready(pod) for pod in daemons),
            "observedGeneration": record.view["metadata"].get("generation", 1),
        }
        numbers = {
            "updatedNumberScheduled": sum(_is_updated(record, pod) for pod in daemons),
            "numberAvailable": available,
            "numberUnavailable": len(wanted) - available,
        }
        status |= {name: number for name, number in numbers.items() if number}
        await self._objects.set_status(record, status)
        return again_s


def _labels(record: Record) -> dict[str, str]:
    """Labels that tell of which template a pod is."""
    annotations = record.view["metadata"].get("annotations") or {}
    return {
        _HASH: template_hash(record.view["spec"]["template"]),
        _GENERATION: str(annotations.get(_DEPRECATED, "1")),
    }


def _is_updated(record: Record, pod: Obj) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return bool(labels.get(_HASH) == template_hash(record.view["spec"]["template"]))
