"""``metadata.managedFields``: who wrote which field.

Pure. ``track_update`` keeps the record for every write that is not an apply; ``onenode.apply`` builds on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from onenode.field_paths import FieldPath, FieldsError, fields_v1, parse_fields_v1
from onenode.pruning import KEEP_DOCUMENT_ORDER
from onenode.typed_schema import Schema, typed_schema
from onenode.typed_values import compare

__all__ = ["ManagedFields", "Manager", "empty_object", "keep_times_if_unchanged", "track_update"]

APPLY: Final = "Apply"
UPDATE: Final = "Update"
ANCIENT: Final = "ancient-changes"
"""Manager of the changes of updaters that were crowded out."""
_MOST_UPDATERS: Final = 10

_STRIPPED: Final = frozenset(
    {("f:apiVersion",), ("f:kind",), ("f:metadata",)}
    | {
        ("f:metadata", f"f:{name}")
        for name in (
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "generation",
            "managedFields",
        )
    }
    | {("f:metadata", "f:resourceVersion")}
)
"""Fields of the server: nobody manages them."""

_POD_TEMPLATE: Final[dict[str, Any]] = {"metadata": {}, "spec": {"containers": None}}
_EMPTY_SPECS: Final[dict[str, dict[str, Any]]] = {
    "Pod": {"containers": None},
    "Deployment": {"selector": None, "strategy": {}, "template": _POD_TEMPLATE},
    "ReplicaSet": {"selector": None, "template": _POD_TEMPLATE},
    "StatefulSet": {"selector": None, "serviceName": "", "template": _POD_TEMPLATE, "updateStrategy": {}},
    "DaemonSet": {"selector": None, "template": _POD_TEMPLATE, "updateStrategy": {}},
    "Job": {"template": _POD_TEMPLATE},
}
"""What an empty object of a built-in kind consists of: these parts are never added by anyone."""


@dataclass(frozen=True, slots=True, order=True)
class Manager:
    """Who: an entry of managedFields without its fields and time."""

    operation: str
    name: str
    api_version: str
    subresource: str = ""

    def same_applier(self, other: Manager) -> bool:
        """True if both are one applier; appliers keep their record over versions."""
        return (self.operation, self.name, self.subresource) == (
            other.operation,
            other.name,
            other.subresource,
        )


@dataclass(slots=True)
class ManagedFields:
    """All entries of one object."""

    sets: dict[Manager, frozenset[FieldPath]] = field(default_factory=dict)
    times: dict[Manager, str] = field(default_factory=dict)

    @classmethod
    def decode(cls, entries: Any) -> ManagedFields:
        """Read the wire form; a malformed one counts as empty, as on the real server."""
        managed = cls()
        try:
            for entry in entries or ():
                manager = Manager(
                    str(entry["operation"]),
                    str(entry.get("manager", "")),
                    str(entry.get("apiVersion", "")),
                    str(entry.get("subresource", "")),
                )
                if manager.operation not in (APPLY, UPDATE):
                    return cls()
                managed.sets[manager] = parse_fields_v1(entry.get("fieldsV1") or {})
                if entry.get("time"):
                    managed.times[manager] = str(entry["time"])
        except (FieldsError, KeyError, TypeError, AttributeError):
            return cls()
        return managed

    def encode(self) -> list[dict[str, Any]]:
        """The wire form: appliers first, then by time and name."""
        order = sorted(
            self.sets,
            key=lambda m: (m.operation, self.times.get(m, ""), m.name, m.api_version, m.subresource),
        )
        return [self._entry(manager) for manager in order if self.sets[manager]]

    def _entry(self, manager: Manager) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "manager": manager.name,
            "operation": manager.operation,
            "apiVersion": manager.api_version,
            "time": self.times.get(manager),
            "fieldsType": "FieldsV1",
            "fieldsV1": fields_v1(self.sets[manager]),
            "subresource": manager.subresource,
        }
        return {name: value for name, value in entry.items() if value not in (None, "")}

    def applier(self, manager: Manager) -> Manager | None:
        """The recorded identity of an applier, perhaps under another version."""
        return next((known for known in self.sets if known.same_applier(manager)), None)

    def take(self, manager: Manager, fields: Iterable[FieldPath]) -> None:
        """Remove fields from a manager; without any it is forgotten."""
        left = self.sets[manager].difference(fields)
        if left:
            self.sets[manager] = left
        else:
            self.forget(manager)

    def forget(self, manager: Manager) -> None:
        """Drop an entry."""
        self.sets.pop(manager, None)
        self.times.pop(manager, None)

    def strip(self) -> None:
        """Drop the fields of the server from every entry."""
        for manager in list(self.sets):
            self.take(manager, _STRIPPED)

    def cap_updaters(self) -> None:
        """Merge the oldest updaters into one per version when there are too many."""
        updaters = sorted(
            (manager for manager in self.sets if manager.operation == UPDATE),
            key=lambda m: (self.times.get(m, ""), m.name),
        )
        excess = len(updaters) - _MOST_UPDATERS
        for oldest in updaters if excess > 0 else ():
            if excess <= 0:
                break
            bucket = Manager(UPDATE, ANCIENT, oldest.api_version, oldest.subresource)
            if oldest == bucket:
                continue
            time = max(self.times.get(bucket, ""), self.times.get(oldest, ""))
            excess -= bucket in self.sets
            self.sets[bucket] = self.sets.get(bucket, frozenset()) | self.sets[oldest]
            self.times[bucket] = time
            self.forget(oldest)


def empty_object(schema: Schema, kind: str) -> dict[str, Any]:
    """What a new object is compared with."""
    if not schema.get(KEEP_DOCUMENT_ORDER):
        return {"metadata": {}}
    properties = schema.get("properties") or {}
    empty: dict[str, Any] = {"metadata": {}}
    for name in ("spec", "status"):
        if name in properties and (properties[name].get("properties") or kind in _EMPTY_SPECS):
            empty[name] = _EMPTY_SPECS.get(kind, {}) if name == "spec" else {}
    return empty


def is_reset(entries: Any) -> bool:
    """True if a client asks to forget all managers: an empty list, or one empty entry."""
    return entries in ([], [{}])


def _requested(old: dict[str, Any] | None, new: dict[str, Any], subresource: str | None) -> ManagedFields:
    """The record to start from: the client may edit it, except through a subresource."""
    live = (old or {}).get("metadata", {}).get("managedFields")
    sent = (new.get("metadata") or {}).get("managedFields")
    if subresource:
        return ManagedFields.decode(live)
    if sent is not None and is_reset(sent):
        return ManagedFields()
    managed = ManagedFields.decode(sent)
    return managed if managed.sets else ManagedFields.decode(live)


def without_record(obj: dict[str, Any]) -> dict[str, Any]:
    """The object without managedFields, for comparing."""
    metadata = {name: value for name, value in (obj.get("metadata") or {}).items() if name != "managedFields"}
    return {**obj, "metadata": metadata}


def record_update(
    managed: ManagedFields,
    old: dict[str, Any],
    new: dict[str, Any],
    manager: Manager,
    now: str,
    schema: Schema,
) -> None:
    """Give the changed fields to ``manager`` and take them from everybody else."""
    difference = compare(without_record(old), without_record(new), typed_schema(schema))
    changed = difference.added | difference.modified
    before = managed.sets.get(manager, frozenset())
    for other in list(managed.sets):
        managed.take(other, difference.removed | (frozenset() if other == manager else changed))
    changed = changed - _STRIPPED
    if changed:
        managed.sets[manager] = managed.sets.get(manager, frozenset()) | changed
    if changed or managed.sets.get(manager, frozenset()) != before:
        managed.times[manager] = now
    if manager not in managed.sets:
        managed.forget(manager)


def track_update(
    old: dict[str, Any] | None,
    new: dict[str, Any],
    manager: str,
    now: str,
    schema: Schema,
    api_version: str,
    subresource: str | None = None,
) -> None:
    """Keep ``metadata.managedFields`` of ``new`` for a create, update or patch; in place.

    Args:
        old: the stored object; None on a create.
        new: the object about to be stored, defaulted.
        manager: parameter fieldManager, or the User-Agent up to the first slash.
        now: time of the write, RFC 3339 in seconds.
        schema: schema of the kind.
        api_version: group and version the client used.
        subresource: such as ``status``; None for the object itself.
    """
    managed = _requested(old, new, subresource)
    metadata = new.setdefault("metadata", {})
    if old is None or managed.sets:
        who = Manager(UPDATE, manager, api_version, subresource or "")
        before = empty_object(schema, str(new.get("kind", ""))) if old is None else old
        record_update(managed, before, new, who, now, schema)
        managed.strip()
        managed.cap_updaters()
    entries = managed.encode()
    if entries:
        metadata["managedFields"] = entries
    else:
        metadata.pop("managedFields", None)


def keep_times_if_unchanged(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Take the record of ``old`` if ``new`` differs only in the times of its record; in place.

    Call it last, after defaulting: a write that changes nothing must not change the stored object.
    """
    before, after = old.get("metadata") or {}, new.get("metadata") or {}
    entries, changed = before.get("managedFields"), after.get("managedFields")
    if entries == changed or not isinstance(entries, list) or not isinstance(changed, list):
        return

    def timeless(record: list[Any]) -> list[Any]:
        return sorted(
            ({name: value for name, value in entry.items() if name != "time"} for entry in record), key=str
        )

    if timeless(entries) != timeless(changed):
        return
    ignored = ("managedFields", "resourceVersion")
    same_metadata = {k: v for k, v in before.items() if k not in ignored} == {
        k: v for k, v in after.items() if k not in ignored
    }
    if same_metadata and {**old, "metadata": None} == {**new, "metadata": None}:
        after["managedFields"] = entries
