"""Removes pods whose node does not exist: no kubelet will ever end them."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from onenode.clock import timestamp
from onenode.store import Store
from onenode.watch import Event, Record

__all__ = ["PodGc"]

Obj = dict[str, Any]

_QUARANTINE_S: Final = 40.0
"""How long a node may be missing: it may come back under its name, as after a restart."""
_TERMINAL: Final = ("Succeeded", "Failed")


class PodGc:
    """The controller."""

    def __init__(self, store: Store, quarantine_s: float = _QUARANTINE_S) -> None:
        self._store = store
        self._quarantine_s = quarantine_s
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def start(self) -> None:
        """Look at every pod."""
        for pod in self._store.records("pods"):
            self._look(pod)

    def handle(self, event: Event) -> None:
        """React to pods and to nodes that go."""
        record = event.record
        if record.resource == "pods" and event.type != "DELETED":
            self._look(record)
        elif record.resource == "nodes" and event.type == "DELETED":
            self._wait_for(record.name)

    def _look(self, pod: Record) -> None:
        node = (pod.view.get("spec") or {}).get("nodeName")
        if node and self._store.record("nodes", None, node) is None:
            self._wait_for(node)

    def _wait_for(self, node: str) -> None:
        if node in self._timers:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            # Made outside of a server, which starts it again.
            return
        self._timers[node] = loop.call_later(self._quarantine_s, self._collect, node)

    def _collect(self, node: str) -> None:
        self._timers.pop(node, None)
        if self._store.record("nodes", None, node) is not None:
            return
        for record in self._store.records("pods"):
            if (record.view.get("spec") or {}).get("nodeName") == node:
                self._remove(record)

    def _remove(self, record: Record) -> None:
        pod = record.copy()
        status: Obj = pod.setdefault("status", {})
        if status.get("phase") not in _TERMINAL:
            status["phase"] = "Failed"
            kept = [one for one in status.get("conditions") or [] if one.get("type") != "DisruptionTarget"]
            condition = {
                "type": "DisruptionTarget",
                "status": "True",
                "lastProbeTime": None,
                "lastTransitionTime": timestamp(self._store.clock()),
                "reason": "DeletionByPodGC",
                "message": "PodGC: node no longer exists",
            }
            status["conditions"] = [*kept, condition]
            self._store.update("pods", pod, keep=True)
        self._store.delete_now("pods", record.namespace, record.name)

    def close(self) -> None:
        """Forget what was waited for."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
