"""Garbage collection by owner references: background, foreground, orphan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from onenode.deletion import FOREGROUND, ORPHAN, delete_record
from onenode.registry import Registry, Resource
from onenode.store import Store
from onenode.watch import Event, Record

__all__ = ["GarbageCollector"]

Obj = dict[str, Any]
Key = tuple[str, str, str]
"""Resource, namespace (or empty), name."""


class GarbageCollector:
    """Deletes what lost its owners. Keeps an index from owner uid to dependents."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._registry = registry
        self._dependents: dict[str, set[Key]] = defaultdict(set)
        self._owners: dict[Key, frozenset[str]] = {}

    def start(self) -> None:
        """Index everything, then judge it."""
        records = [r for resource in self._store.resources() for r in self._store.records(resource)]
        for record in records:
            self._index(record)
        for record in records:
            self._judge(record)

    def handle(self, event: Event) -> None:
        """React to a change of an object as owner and as dependent."""
        record = event.record
        if event.type == "DELETED":
            self._forget(record)
            for dependent in self._dependents_of(record.view["metadata"].get("uid", "")):
                self._judge(dependent)
            self._release_waiting_owners(record)
            return
        self._index(record)
        current = self._current(_key(record))
        if current is not None:
            self._judge(current)

    # Index

    def _index(self, record: Record) -> None:
        key = _key(record)
        owners = frozenset(o.get("uid", "") for o in _owners(record.view))
        before = self._owners.get(key, frozenset())
        for uid in before - owners:
            self._dependents[uid].discard(key)
        for uid in owners - before:
            self._dependents[uid].add(key)
        if owners:
            self._owners[key] = owners
        else:
            self._owners.pop(key, None)

    def _forget(self, record: Record) -> None:
        key = _key(record)
        for uid in self._owners.pop(key, frozenset()):
            self._dependents[uid].discard(key)
            if not self._dependents[uid]:
                del self._dependents[uid]

    def _dependents_of(self, uid: str) -> list[Record]:
        found = (self._current(key) for key in sorted(self._dependents.get(uid, ())))
        return [record for record in found if record is not None]

    def _current(self, key: Key) -> Record | None:
        return self._store.record(key[0], key[1] or None, key[2])

    # Decisions

    def _judge(self, record: Record) -> None:
        metadata = record.view["metadata"]
        if metadata.get("deletionTimestamp"):
            finalizers = metadata.get("finalizers") or []
            if FOREGROUND in finalizers:
                self._foreground(record)
            elif ORPHAN in finalizers:
                self._orphan(record)
            return
        owners = list(_owners(record.view))
        if not owners:
            return
        states = [self._owner_state(owner, record) for owner in owners]
        if "unknown" in states or "lives" in states:
            return
        policy = "Foreground" if "foreground" in states else None
        self._delete(record, policy)

    def _owner_state(self, owner: Obj, dependent: Record) -> str:
        """``lives``, ``foreground`` (goes, waits for us), ``gone``, or ``unknown`` (a kind not served)."""
        group, _, version = owner.get("apiVersion", "").rpartition("/")
        resource = self._registry.by_kind(group, version, owner.get("kind", ""))
        if resource is None:
            return "unknown"
        namespace = dependent.namespace if resource.namespaced else None
        record = self._store.record(resource.stored_as, namespace, owner.get("name", ""))
        if record is None or record.view["metadata"].get("uid") != owner.get("uid"):
            return "gone"
        metadata = record.view["metadata"]
        waits = metadata.get("deletionTimestamp") and FOREGROUND in (metadata.get("finalizers") or [])
        return "foreground" if waits else "lives"

    def _delete(self, record: Record, policy: str | None) -> None:
        resource = self._resource(record)
        if resource is not None:
            delete_record(self._store, resource, record, policy=policy)

    def _foreground(self, record: Record) -> None:
        """Delete the dependents; the owner goes when those that block it are gone."""
        uid = record.view["metadata"].get("uid", "")
        for dependent in self._dependents_of(uid):
            if not dependent.view["metadata"].get("deletionTimestamp"):
                self._judge(dependent)
        if not any(_blocks(dependent.view, uid) for dependent in self._dependents_of(uid)):
            self._drop_finalizer(record, FOREGROUND)

    def _orphan(self, record: Record) -> None:
        """Take the references to the owner away, then let it go."""
        uid = record.view["metadata"].get("uid", "")
        for dependent in self._dependents_of(uid):
            obj = dependent.copy()
            references = [o for o in obj["metadata"]["ownerReferences"] if o.get("uid") != uid]
            obj["metadata"]["ownerReferences"] = references
            if not references:
                del obj["metadata"]["ownerReferences"]
            self._store.update(dependent.resource, obj)
        self._drop_finalizer(record, ORPHAN)

    def _release_waiting_owners(self, gone: Record) -> None:
        for owner in _owners(gone.view):
            group, _, version = owner.get("apiVersion", "").rpartition("/")
            resource = self._registry.by_kind(group, version, owner.get("kind", ""))
            if resource is None:
                continue
            namespace = gone.namespace if resource.namespaced else None
            record = self._store.record(resource.stored_as, namespace, owner.get("name", ""))
            if record is not None and record.view["metadata"].get("uid") == owner.get("uid"):
                self._judge(record)

    def _drop_finalizer(self, record: Record, name: str) -> None:
        current = self._store.get(record.resource, record.namespace, record.name)
        if current is None:
            return
        finalizers = [f for f in current["metadata"].get("finalizers") or [] if f != name]
        current["metadata"]["finalizers"] = finalizers
        self._store.update(record.resource, current)

    def _resource(self, record: Record) -> Resource | None:
        return self._registry.stored().get(record.resource)


def _key(record: Record) -> Key:
    return (record.resource, record.namespace or "", record.name)


def _owners(obj: Obj) -> Iterable[Obj]:
    return obj["metadata"].get("ownerReferences") or ()


def _blocks(dependent: Obj, uid: str) -> bool:
    return any(o.get("uid") == uid and o.get("blockOwnerDeletion") for o in _owners(dependent))
