"""The life of Namespaces: those that are always there, and the end of those that go."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from onenode.builtin_resources import NAMESPACES
from onenode.clock import parse_timestamp, timestamp
from onenode.deletion import delete_record
from onenode.registry import Registry
from onenode.store import Store
from onenode.watch import Event, Record

__all__ = ["INITIAL_NAMESPACES", "Namespaces"]

INITIAL_NAMESPACES: Final = ("kube-system", "kube-public", "default", "kube-node-lease")

Obj = dict[str, Any]

_PATIENCE_S: Final = 5.0
"""As long as a real server waits before it looks at what remains."""
_GRANULARITY_S: Final = 1.0
"""Timestamps have whole seconds."""
_SETTLED: Final = (
    ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
    (
        "NamespaceDeletionGroupVersionParsingFailure",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
)  # fmt: skip
_DELETED: Final = (
    "NamespaceDeletionContentFailure",
    "ContentDeleted",
    "All content successfully deleted, may be waiting on finalization",
)
_REMAIN: Final = ("NamespaceContentRemaining", "True", "SomeResourcesRemain")
_REMOVED: Final = (
    "NamespaceContentRemaining",
    "False",
    "ContentRemoved",
    "All content successfully removed",
)
_HELD: Final = ("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain")
_FINISHED: Final = (
    "NamespaceFinalizersRemaining",
    "False",
    "ContentHasNoFinalizers",
    "All content-preserving finalizers finished",
)


class Namespaces:
    """The controller."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._registry = registry
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def start(self) -> None:
        """Make the initial ones, go on with those that go."""
        for name in INITIAL_NAMESPACES:
            if self._store.record(NAMESPACES, None, name) is None:
                self._store.create(NAMESPACES, new_namespace(name))
        for record in self._store.records(NAMESPACES):
            self._finish(record)

    def handle(self, event: Event) -> None:
        """React to a Namespace that goes and to whatever leaves it."""
        record = event.record
        if record.resource == NAMESPACES:
            if event.type != "DELETED":
                self._finish_name(record.name)
        elif event.type == "DELETED" and record.namespace is not None:
            self._finish_name(record.namespace)

    def _finish_name(self, name: str) -> None:
        record = self._store.record(NAMESPACES, None, name)
        if record is not None:
            self._finish(record)

    def _finish(self, record: Record) -> None:
        if not record.view["metadata"].get("deletionTimestamp"):
            return
        left = self._delete_content(record.name)
        current = self._store.get(NAMESPACES, None, record.name)
        if current is None:
            return
        wait_s = self._patience_s(current) if left else 0.0
        if wait_s and self._look_later(record.name, wait_s):
            return
        self._tell(current, left)
        if left:
            return
        current = self._store.get(NAMESPACES, None, record.name)
        if current is None:
            return
        spec = current.setdefault("spec", {})
        spec["finalizers"] = [name for name in spec.get("finalizers") or [] if name != "kubernetes"]
        self._store.update(NAMESPACES, current)

    def _patience_s(self, namespace: Obj) -> float:
        """How long nothing is told yet: most content goes at once, and saying so twice helps nobody."""
        began = parse_timestamp(namespace["metadata"]["deletionTimestamp"])
        if began is None:
            return 0.0
        return max(_PATIENCE_S - (self._store.clock() - began).total_seconds(), 0.0)

    def _look_later(self, name: str, wait_s: float) -> bool:
        """Look again when the patience ends; ``False`` if nothing can wake us."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
        self._timers[name] = loop.call_later(wait_s + _GRANULARITY_S, self._finish_name, name)
        return True

    def _delete_content(self, namespace: str) -> list[Record]:
        """Delete everything inside; what is left."""
        left: list[Record] = []
        for stored_as, resource in self._registry.stored().items():
            if not resource.namespaced:
                continue
            for record in self._store.records(stored_as, namespace):
                if not record.view["metadata"].get("deletionTimestamp"):
                    delete_record(self._store, resource, record, policy="Background")
            left += self._store.records(stored_as, namespace)
        return left

    def _tell(self, namespace: Obj, left: list[Record]) -> None:
        """Conditions that say what remains."""
        now = timestamp(self._store.clock())
        by_resource: dict[str, int] = {}
        by_finalizer: dict[str, int] = {}
        for record in left:
            by_resource[record.resource] = by_resource.get(record.resource, 0) + 1
            for finalizer in record.view["metadata"].get("finalizers") or ():
                by_finalizer[finalizer] = by_finalizer.get(finalizer, 0) + 1
        plain = {name if "." in name else f"{name}.": count for name, count in by_resource.items()}
        content = ", ".join(f"{name} has {count} resource instances" for name, count in sorted(plain.items()))
        holds = ", ".join(
            f"{name} in {count} resource instances" for name, count in sorted(by_finalizer.items())
        )
        wanted = [(kind, "False", reason, text) for kind, reason, text in (*_SETTLED, _DELETED)]
        wanted.append(_REMOVED if not left else (*_REMAIN, f"Some resources are remaining: {content}"))
        text = f"Some content in the namespace has finalizers remaining: {holds}"
        wanted.append((*_HELD, text) if holds else _FINISHED)
        status = namespace.setdefault("status", {})
        before = {c["type"]: c for c in status.get("conditions") or []}
        status["conditions"] = [_condition(before.get(one[0]), one, now) for one in wanted]
        self._store.update(NAMESPACES, namespace)


def _condition(old: Obj | None, wanted: tuple[str, str, str, str], now: str) -> Obj:
    kind, status, reason, message = wanted
    same = old is not None and old["status"] == status
    return {
        "type": kind,
        "status": status,
        "lastTransitionTime": old["lastTransitionTime"] if old is not None and same else now,
        "reason": reason,
        "message": message,
    }


def new_namespace(name: str) -> Obj:
    """A Namespace as the server makes it."""
    return {
        "kind": "Namespace",
        "apiVersion": "v1",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }
