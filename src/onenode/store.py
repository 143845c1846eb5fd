"""The objects: in SQLite for the next start, in memory for every read.

One process, one event loop. Objects are plain dicts at this border and JSON text inside, so nobody can
change a stored object by accident. ``resourceVersion`` is a counter over all writes of all resources.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from onenode.clock import Clock, system_clock, timestamp
from onenode.watch import HISTORY_LENGTH, Event, ExpiredError, Hub, Record, Watch

__all__ = [
    "AlreadyExistsError",
    "ConflictError",
    "Event",
    "ExpiredError",
    "NotStoredError",
    "Record",
    "Store",
    "StoreError",
    "Watch",
    "is_released",
]

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS objects (
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    revision INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (resource, namespace, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO counters VALUES ('revision', 1);
"""

Obj = dict[str, Any]


class StoreError(Exception):
    """A write that the store refuses; names the object."""

    def __init__(self, resource: str, namespace: str | None, name: str) -> None:
        super().__init__(resource, namespace, name)
        self.resource = resource
        self.namespace = namespace
        self.name = name

    def __str__(self) -> str:
        return f'{self.resource} "{self.name}": {self.__doc__}'


class AlreadyExistsError(StoreError):
    """an object of this name exists"""


class ConflictError(StoreError):
    """the object was changed meanwhile; read it again"""


class NotStoredError(StoreError):
    """there is no such object"""


class _Table:
    """The objects of one resource, by key."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], Record] = {}
        self._sorted: list[tuple[str, str]] | None = None

    def put(self, record: Record) -> None:
        if record.key not in self.records:
            self._sorted = None
        self.records[record.key] = record

    def remove(self, key: tuple[str, str]) -> None:
        del self.records[key]
        self._sorted = None

    def ordered(self, namespace: str | None) -> list[Record]:
        if self._sorted is None:
            self._sorted = sorted(self.records)
        if namespace is None:
            return [self.records[key] for key in self._sorted]
        return [self.records[key] for key in self._sorted if key[0] == namespace]


class Store:
    """All objects of one onenode.

    Args:
        path: the database file, or ``":memory:"``.
        clock: gives creation times.
        new_uid: gives uids.
        history_length: how many changes watchers may be behind.
    """

    def __init__(
        self,
        path: Path | str,
        clock: Clock = system_clock,
        new_uid: Callable[[], str] = lambda: str(uuid.uuid4()),
        history_length: int = HISTORY_LENGTH,
    ) -> None:
        self.clock = clock
        self.new_uid = new_uid
        """Makes the uid of a new object."""
        self._db = sqlite3.connect(path, isolation_level=None)
        # NORMAL: a killed process loses nothing; a power cut may lose the last writes, never the file.
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=5000"):
            self._db.execute(f"PRAGMA {pragma}").fetchall()
        self._db.executescript(_SCHEMA)
        self._tables: dict[str, _Table] = {}
        self._revision: int
        (self._revision,) = self._db.execute("SELECT value FROM counters WHERE name='revision'").fetchone()
        for resource, namespace, name, revision, body in self._db.execute("SELECT * FROM objects"):
            self._table(resource).put(Record(resource, namespace or None, name, revision, bytes(body)))
        self._hub = Hub(self._revision, history_length)

    @property
    def revision(self) -> int:
        """The ``resourceVersion`` of the last write."""
        return self._revision

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    # Reading

    def record(self, resource: str, namespace: str | None, name: str) -> Record | None:
        """One object as stored, or ``None``."""
        table = self._tables.get(resource)
        return None if table is None else table.records.get((namespace or "", name))

    def records(self, resource: str, namespace: str | None = None) -> list[Record]:
        """The objects of a resource ordered by key; all namespaces if ``namespace`` is ``None``."""
        table = self._tables.get(resource)
        return [] if table is None else table.ordered(namespace)

    def records_at(self, resource: str, namespace: str | None, revision: int) -> list[Record]:
        """The objects as they were at a revision.

        Raises:
            ExpiredError: the revision is older than the history.
        """
        later = self._hub.after(revision)
        past = {record.key: record for record in self.records(resource, namespace)}
        for event in reversed(later):
            if event.record.resource != resource:
                continue
            if namespace is not None and event.record.namespace != namespace:
                continue
            if event.old_record is None:
                past.pop(event.record.key, None)
            else:
                past[event.record.key] = event.old_record
        return [past[key] for key in sorted(past)]

    def resources(self) -> list[str]:
        """The resources that have objects."""
        return sorted(resource for resource, table in self._tables.items() if table.records)

    def get(self, resource: str, namespace: str | None, name: str) -> Obj | None:
        """One object (a copy), or ``None``."""
        record = self.record(resource, namespace, name)
        return None if record is None else record.copy()

    def list(self, resource: str, namespace: str | None = None) -> tuple[list[Obj], int]:
        """All objects of a resource (copies) ordered by key, and the revision to watch from."""
        return [record.copy() for record in self.records(resource, namespace)], self._revision

    def watch(self, resource: str | None, since: int | None = None) -> Watch:
        """Changes of one resource, or of all (``None``), after ``since`` or from now on.

        Nothing is missed from this call on.

        Raises:
            ExpiredError: ``since`` is older than the history.
        """
        return self._hub.subscribe(resource, since)

    @property
    def oldest_revision(self) -> int:
        """Changes after this revision can be watched."""
        return self._hub.oldest

    def forget_history(self) -> None:
        """Drop the history, so that every older revision answers 410."""
        self._hub.forget()

    # Writing

    def create(self, resource: str, obj: Obj) -> Obj:
        """Store a new object; uid, creationTimestamp and resourceVersion are set here.

        Raises:
            AlreadyExistsError: the name is taken.
        """
        metadata = obj["metadata"]
        namespace, name = metadata.get("namespace"), metadata["name"]
        if self.record(resource, namespace, name) is not None:
            raise AlreadyExistsError(resource, namespace, name)
        metadata.setdefault("uid", self.new_uid())
        metadata.setdefault("creationTimestamp", timestamp(self.clock()))
        return self._write("ADDED", resource, obj, None)

    def update(self, resource: str, obj: Obj, *, keep: bool = False) -> Obj:
        """Replace an object. Removes it if it is being deleted and nothing holds it, unless ``keep``.

        An object without ``metadata.resourceVersion`` is written whatever was there. Writing what is stored
        already changes nothing.

        Raises:
            NotStoredError: there is no such object.
            ConflictError: it is not the version that was read.
        """
        metadata = obj["metadata"]
        namespace, name = metadata.get("namespace"), metadata["name"]
        old = self.record(resource, namespace, name)
        if old is None:
            raise NotStoredError(resource, namespace, name)
        if metadata.get("resourceVersion", str(old.revision)) != str(old.revision):
            raise ConflictError(resource, namespace, name)
        metadata["resourceVersion"] = str(old.revision)
        if obj == old.view:
            return obj
        if is_released(obj) and not keep:
            # Watchers see the last state that was stored, not the one that let it go.
            self.remove(resource, old.copy())
            return obj
        return self._write("MODIFIED", resource, obj, old)

    def delete_now(self, resource: str, namespace: str | None, name: str) -> Obj:
        """End the grace of an object: it goes, or waits for its finalizers only.

        Raises:
            NotStoredError: there is no such object.
        """
        old = self.record(resource, namespace, name)
        if old is None:
            raise NotStoredError(resource, namespace, name)
        obj = old.copy()
        metadata = obj["metadata"]
        if metadata.get("finalizers"):
            metadata.setdefault("deletionTimestamp", timestamp(self.clock()))
            metadata["deletionGracePeriodSeconds"] = 0
            return self.update(resource, obj)
        return self.remove(resource, obj)

    def remove(self, resource: str, obj: Obj) -> Obj:
        """Take an object away whatever holds it; ``obj`` is the last state that watchers see.

        Raises:
            NotStoredError: there is no such object.
        """
        metadata = obj["metadata"]
        namespace, name = metadata.get("namespace"), metadata["name"]
        old = self.record(resource, namespace, name)
        if old is None:
            raise NotStoredError(resource, namespace, name)
        revision = self._revision + 1
        metadata["resourceVersion"] = str(revision)
        record = Record(resource, old.namespace, name, revision, _encode(obj))
        with self._transaction(revision):
            self._db.execute(
                "DELETE FROM objects WHERE resource=? AND namespace=? AND name=?", (resource, *old.key)
            )
        self._table(resource).remove(old.key)
        self._hub.publish(Event("DELETED", record, old))
        return obj

    def _write(self, kind: str, resource: str, obj: Obj, old: Record | None) -> Obj:
        revision = self._revision + 1
        metadata = obj["metadata"]
        metadata["resourceVersion"] = str(revision)
        raw = _encode(obj)
        record = Record(resource, metadata.get("namespace") or None, metadata["name"], revision, raw)
        with self._transaction(revision):
            self._db.execute(
                "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)",
                (resource, *record.key, revision, raw),
            )
        self._table(resource).put(record)
        self._hub.publish(Event(kind, record, old))
        return obj

    @contextmanager
    def _transaction(self, revision: int) -> Iterator[None]:
        """One write and its revision, both or none."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("UPDATE counters SET value=? WHERE name='revision'", (revision,))
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
        self._revision = revision

    def _table(self, resource: str) -> _Table:
        return self._tables.setdefault(resource, _Table())


def _encode(obj: Obj) -> bytes:
    """Keys in order at every level, as custom resources are answered."""
    return msgspec.json.encode(obj, order="sorted")


def is_released(obj: Obj) -> bool:
    """The object is being deleted, its grace is over and no finalizer holds it."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    # A Namespace is also held by spec.finalizers, until its content is gone.
    held = obj.get("kind") == "Namespace" and (obj.get("spec") or {}).get("finalizers")
    return not held and not metadata.get("deletionGracePeriodSeconds")
