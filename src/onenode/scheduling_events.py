"""Events of the scheduler about pods: what ``kubectl describe`` shows of a pod that waits."""

from __future__ import annotations

import secrets
from typing import Any, Final

from onenode.clock import timestamp
from onenode.store import Store

__all__ = ["tell_about_pod"]

_COMPONENT: Final = "default-scheduler"
_NAME_LIMIT: Final = 236
"""Leaves room for the suffix in the 253 characters of a name."""


def tell_about_pod(store: Store, pod: dict[str, Any], kind: str, reason: str, message: str) -> None:
    """Store an event about a pod, unless its namespace is gone or going.

    Args:
        store: where the pod is stored.
        pod: the pod.
        kind: ``Normal`` or ``Warning``.
        reason: one word in CamelCase.
        message: a sentence for people.
    """
    metadata = pod["metadata"]
    namespace = store.record("namespaces", None, metadata["namespace"])
    if namespace is None or namespace.view["metadata"].get("deletionTimestamp"):
        return
    now = timestamp(store.clock())
    involved = {"kind": "Pod", "apiVersion": "v1"}
    involved |= {key: metadata[key] for key in ("namespace", "name", "uid")}
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{metadata['name'][:_NAME_LIMIT]}.{secrets.token_hex(8)}",
            "namespace": metadata["namespace"],
        },
        "involvedObject": involved,
        "reason": reason,
        "message": message,
        "source": {"component": _COMPONENT},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
        "type": kind,
        "eventTime": None,
        "reportingComponent": _COMPONENT,
        "reportingInstance": "",
    }
    store.create("events", event)
