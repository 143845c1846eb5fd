"""Binds pods to the node. One machine: the first node that the pod accepts."""

from __future__ import annotations

from typing import Any

from onenode.clock import timestamp
from onenode.scheduling_events import tell_about_pod
from onenode.store import Store
from onenode.watch import Event, Record

__all__ = ["Scheduler", "tolerates"]

Obj = dict[str, Any]


class Scheduler:
    """The controller.

    A pod that fits nowhere gets the condition that says why, and is tried again with each change of a node.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def start(self) -> None:
        """Bind what waits."""
        for record in self._store.records("pods"):
            self._schedule(record)

    def handle(self, event: Event) -> None:
        """React to a new pod and to changes of nodes."""
        if event.type == "DELETED":
            return
        if event.record.resource == "pods":
            current = self._store.record("pods", event.record.namespace, event.record.name)
            if current is not None:
                self._schedule(current)
        elif event.record.resource == "nodes":
            self.start()

    def _schedule(self, record: Record) -> None:
        spec, metadata = record.view["spec"], record.view["metadata"]
        if spec.get("nodeName") or metadata.get("deletionTimestamp") or spec.get("schedulingGates"):
            return
        if spec.get("schedulerName") != "default-scheduler":
            return
        nodes = self._store.records("nodes")
        if not nodes:
            return
        problems = {node.name: self._problem(spec, node.view) for node in nodes}
        fitting = [name for name, problem in problems.items() if problem is None]
        pod = record.copy()
        if fitting:
            pod["spec"]["nodeName"] = fitting[0]
            self._set_condition(pod, {"status": "True"})
            text = f"Successfully assigned {record.namespace}/{record.name} to {fitting[0]}"
            told = ("Normal", "Scheduled", text)
        else:
            reasons = ", ".join(sorted({f"1 {problem}" for problem in problems.values()}))
            text = f"0/{len(nodes)} nodes are available: {reasons}."
            if not self._set_condition(pod, {"status": "False", "reason": "Unschedulable", "message": text}):
                return
            told = ("Warning", "FailedScheduling", text)
        self._store.update("pods", pod)
        tell_about_pod(self._store, pod, *told)

    def _problem(self, spec: Obj, node: Obj) -> str | None:
        """Why the pod cannot run there."""
        labels = node["metadata"].get("labels") or {}
        node_spec = node.get("spec") or {}
        if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
            return "node(s) didn't match Pod's node affinity/selector"
        tolerations = spec.get("tolerations") or []
        if node_spec.get("unschedulable") and not tolerates(
            tolerations, {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
        ):
            return "node(s) were unschedulable"
        for taint in node_spec.get("taints") or []:
            if taint.get("effect") in ("NoSchedule", "NoExecute") and not tolerates(tolerations, taint):
                return f"node(s) had untolerated taint(s) {taint.get('key')}"
        return None

    def _set_condition(self, pod: Obj, wanted: Obj) -> bool:
        """Whether that is news."""
        status = pod.setdefault("status", {})
        conditions = status.get("conditions") or []
        old = next((c for c in conditions if c.get("type") == "PodScheduled"), None)
        if old is not None and all(old.get(name) == value for name, value in wanted.items()):
            return False
        new = {
            "type": "PodScheduled",
            "lastProbeTime": None,
            "lastTransitionTime": timestamp(self._store.clock()),
            **wanted,
        }
        status["conditions"] = [c for c in conditions if c is not old] + [new]
        return True


def tolerates(tolerations: list[Obj], taint: Obj) -> bool:
    """One of the tolerations accepts the taint."""
    for toleration in tolerations:
        if toleration.get("effect") not in (None, "", taint.get("effect")):
            continue
        key, operator = toleration.get("key"), toleration.get("operator") or "Equal"
        if operator == "Exists" and key in (None, "", taint.get("key")):
            return True
        same_value = (toleration.get("value") or "") == (taint.get("value") or "")
        if operator == "Equal" and key == taint.get("key") and same_value:
            return True
    return False
