"""Events about pods, counted instead of repeated."""

import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, Protocol

from onenode.kubelet.pod import Pod
from onenode.kubelet.state import timestamp

log = logging.getLogger("onenode.kubelet")

_REMEMBERED: Final = 1024
_MESSAGE_LIMIT: Final = 1024
_NAME_LIMIT: Final = 236
"""Leaves room for the suffix in the 253 characters of a name."""


class EventStore(Protocol):
    """Where events are written."""

    def create_event(self, event: dict[str, Any]) -> None:
        """Store a new event; lost silently if its namespace is going away."""

    def repeat_event(self, namespace: str, name: str, *, count: int, last: str) -> bool:
        """Raise the count of a stored event; ``False`` if it is gone."""


class PodEvents:
    """Writes the events of one node's kubelet."""

    def __init__(self, store: EventStore, node_name: str, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._node_name = node_name
        self._clock = clock
        self._known: OrderedDict[tuple[str, str, str, str], tuple[str, int]] = OrderedDict()

    def normal(self, pod: Pod, reason: str, message: str, *, container: str = "") -> None:
        """Something went as it should."""
        self._record(pod, "Normal", reason, message, container)

    def warning(self, pod: Pod, reason: str, message: str, *, container: str = "") -> None:
        """Something went wrong."""
        self._record(pod, "Warning", reason, message, container)

    def _record(self, pod: Pod, kind: str, reason: str, message: str, container: str) -> None:
        message = message[:_MESSAGE_LIMIT]
        now = timestamp(self._clock())
        key = (pod.metadata.uid, container, reason, message)
        name, count = self._known.get(key, ("", 0))
        namespace = pod.metadata.namespace
        if name and self._store.repeat_event(namespace, name, count=count + 1, last=now):
            self._remember(key, name, count + 1)
            return
        name = f"{pod.metadata.name[:_NAME_LIMIT]}.{secrets.token_hex(8)}"
        self._store.create_event(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": name, "namespace": namespace},
                "involvedObject": self._involved(pod, container),
                "reason": reason,
                "message": message,
                "source": {"component": "kubelet", "host": self._node_name},
                "firstTimestamp": now,
                "lastTimestamp": now,
                "count": 1,
                "type": kind,
                "eventTime": None,
                "reportingComponent": "kubelet",
                "reportingInstance": self._node_name,
            }
        )
        self._remember(key, name, 1)

    def _involved(self, pod: Pod, container: str) -> dict[str, Any]:
        involved = {
            "kind": "Pod",
            "namespace": pod.metadata.namespace,
            "name": pod.metadata.name,
            "uid": pod.metadata.uid,
            "apiVersion": "v1",
        }
        if container:
            inits = {item.name for item in pod.spec.init_containers}
            field = "initContainers" if container in inits else "containers"
            involved["fieldPath"] = f"spec.{field}{{{container}}}"
        return involved

    def _remember(self, key: tuple[str, str, str, str], name: str, count: int) -> None:
        self._known[key] = (name, count)
        self._known.move_to_end(key)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
