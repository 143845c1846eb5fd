"""Server-side apply: one manager states the fields it wants, the server merges and keeps who owns what.

Pure. Follows the steps of the real server: merge the configuration into the live object, remove what this
manager owned alone and no longer states, look for fields of others that changed.
"""

from __future__ import annotations

import copy
import json
from typing import Any, Final

from onenode.causes import Cause
from onenode.field_paths import FieldPath, path_text
from onenode.go_types import decoding_problem
from onenode.managed_fields import (
    APPLY,
    UPDATE,
    ManagedFields,
    Manager,
    empty_object,
    record_update,
    without_record,
)
from onenode.pruning import KEEP_DOCUMENT_ORDER
from onenode.typed_merge import merge, remove_items
from onenode.typed_schema import Schema, typed_schema
from onenode.typed_values import compare, field_set, named_fields, typing_errors

__all__ = ["ApplyConflict", "ApplyTypeError", "server_side_apply"]

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_KUBECTL: Final = "kubectl"
_BEFORE_FIRST_APPLY: Final = "before-first-apply"
_ANNOTATIONS_LIMIT_BYTES: Final = 256 * 1024


class ApplyConflict(Exception):  # noqa: N818 - the word of the API: reason Conflict
    """Fields in the configuration belong to other managers; answered with 409."""

    def __init__(self, causes: list[Cause]) -> None:
        super().__init__(causes)
        self.causes = causes

    @property
    def message(self) -> str:
        """The message of the Status."""
        if len(self.causes) == 1:
            return f"Apply failed with 1 conflict: {self.causes[0].message}: {self.causes[0].field}"
        lines: list[str] = []
        for who in sorted({cause.message for cause in self.causes}):
            lines.append(f"{who.replace('conflict with', 'conflicts with', 1)}:")
            lines.extend(f"- {cause.field}" for cause in self.causes if cause.message == who)
        return f"Apply failed with {len(self.causes)} conflicts: {chr(10).join(lines)}"

    def __str__(self) -> str:
        return self.message


class ApplyTypeError(Exception):
    """The configuration does not fit the schema; the real server answers 500 with this text."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def server_side_apply(
    live: dict[str, Any] | None,
    applied: dict[str, Any],
    manager: str,
    force: bool,
    schema: Schema,
    api_version: str,
    now: str,
    subresource: str | None = None,
) -> dict[str, Any]:
    """Apply a configuration.

    Args:
        live: the stored object, or None.
        applied: the configuration, as the client sent it.
        manager: parameter fieldManager.
        force: take conflicting fields away from other managers.
        schema: schema of the kind.
        api_version: group and version of the request.
        now: time of the write, RFC 3339 in seconds.
        subresource: such as ``status``; None for the object itself.

    Returns:
        The new object with its managedFields. Pruning, defaulting and validation come next, then
        ``keep_times_if_unchanged``.

    Raises:
        ApplyConflict: a field belongs to another manager, has another value there, and not ``force``.
        ApplyTypeError: the configuration does not fit the schema.
    """
    types = typed_schema(schema)
    _check_types(applied, types, api_version)
    who = Manager(APPLY, manager, api_version, subresource or "")
    managed = ManagedFields.decode((live or {}).get("metadata", {}).get("managedFields"))
    kind = str(applied.get("kind", ""))
    before = without_record(live) if live is not None else empty_object(schema, kind)
    if live is not None and not managed.sets:
        first = Manager(UPDATE, _BEFORE_FIRST_APPLY, api_version, "")
        record_update(managed, empty_object(schema, kind), before, first, now, schema)
    attempt = _Attempt(before, without_record(applied), types, _reset_fields(schema, subresource))
    try:
        merged, changed = attempt.run(managed, who, force=force)
    except ApplyConflict as conflict:
        if manager != _KUBECTL or not _is_own_last_applied(conflict, before, types):
            raise
        merged, changed = attempt.run(managed, who, force=True)
    if changed:
        managed.times[managed.applier(who) or who] = now
    managed.strip()
    if manager == _KUBECTL and LAST_APPLIED in (merged.get("metadata", {}).get("annotations") or {}):
        merged["metadata"]["annotations"][LAST_APPLIED] = _last_applied_text(applied)
    entries = managed.encode()
    if entries:
        merged.setdefault("metadata", {})["managedFields"] = entries
    return merged


def _check_types(applied: dict[str, Any], types: Schema, api_version: str) -> None:
    errors = typing_errors(applied, types)
    if not errors and types.get(KEEP_DOCUMENT_ORDER):
        problem = decoding_problem(applied, dict(types))
        errors = [] if problem is None else [problem]
    if not errors:
        return
    metadata = applied.get("metadata")
    named = metadata if isinstance(metadata, dict) else {}
    which = (
        f"{named.get('namespace', '')}/{named.get('name', '')}; {api_version}, Kind={applied.get('kind', '')}"
    )
    text = errors[0] if len(errors) == 1 else "\n  ".join(["errors:", *errors])
    raise ApplyTypeError(f"failed to create typed patch object ({which}): {text}")


def _reset_fields(schema: Schema, subresource: str | None) -> tuple[str, ...]:
    """Top-level fields this endpoint does not write: naming them gives no ownership."""
    if subresource == "status":
        return ("f:spec",) if schema.get(KEEP_DOCUMENT_ORDER) else ("f:spec", "f:metadata")
    return () if subresource else ("f:status",)


class _Attempt:
    """One configuration against one live object; can be run again with force."""

    def __init__(
        self, live: dict[str, Any], applied: dict[str, Any], types: Schema, reset: tuple[str, ...]
    ) -> None:
        self.live = live
        self.applied = applied
        self.types = types
        self.reset = reset

    def run(self, managed: ManagedFields, who: Manager, *, force: bool) -> tuple[dict[str, Any], bool]:
        """The merged object and whether it differs from the live one; ``managed`` changes on success only."""
        sets = dict(managed.sets)
        known = managed.applier(who)
        last = sets.pop(known, frozenset()) if known is not None else frozenset()
        named = field_set(self.applied, self.types)
        sets[who] = frozenset(path for path in named if path[0] not in self.reset)
        merged = merge(self.live, self.applied, self.types)
        merged = self._prune(merged, sets, last)
        conflicts = self._settle(merged, sets, who)
        if conflicts and not force:
            raise ApplyConflict(_conflict_causes(conflicts))
        if known is not None and known != who:
            managed.times[who] = managed.times.pop(known, "")
        managed.sets = {manager: fields for manager, fields in sets.items() if fields}
        return merged, merged != self.live

    def _prune(
        self, merged: dict[str, Any], sets: dict[Manager, frozenset[FieldPath]], last: frozenset[FieldPath]
    ) -> dict[str, Any]:
        """Remove what this manager owned, nobody owns now, and the configuration no longer names."""
        if not last:
            return merged
        types = self.types
        was_ours = named_fields(last, types)
        everything = named_fields(field_set(merged, types), types)
        without_ours = remove_items(merged, was_ours, types) or {}
        kept = named_fields(field_set(without_ours, types), types)
        owned = named_fields(frozenset().union(*sets.values()), types)
        with_owned = remove_items(merged, everything - (kept | owned), types) or {}
        left = named_fields(field_set(with_owned, types), types)
        gone = (everything - left) & was_ours
        pruned: dict[str, Any] = remove_items(merged, gone, types, drop_emptied=True) or {}
        return pruned

    def _settle(
        self, merged: dict[str, Any], sets: dict[Manager, frozenset[FieldPath]], who: Manager
    ) -> dict[Manager, frozenset[FieldPath]]:
        """Take changed and removed fields from the other managers; the changed ones are conflicts."""
        difference = compare(self.live, merged, self.types)
        changed = difference.added | difference.modified
        conflicts: dict[Manager, frozenset[FieldPath]] = {}
        for other in list(sets):
            if other == who:
                continue
            if sets[other] & changed:
                conflicts[other] = sets[other] & changed
            sets[other] = sets[other] - changed - difference.removed
        return conflicts


def _conflict_causes(conflicts: dict[Manager, frozenset[FieldPath]]) -> list[Cause]:
    found: list[Cause] = []
    for manager in sorted(conflicts, key=lambda one: (one.name, one.operation)):
        text = f'conflict with "{manager.name}"'
        if manager.subresource:
            text += f' with subresource "{manager.subresource}"'
        if manager.operation == UPDATE:
            text += f" using {manager.api_version}"
        found.extend(
            Cause("FieldManagerConflict", text, path_text(path)) for path in sorted(conflicts[manager])
        )
    return found


def _is_own_last_applied(conflict: ApplyConflict, live: dict[str, Any], types: Schema) -> bool:
    """True if every conflict is about a field ``kubectl apply`` set before it applied on the server."""
    text = ((live.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED)
    try:
        before = json.loads(text or "")
    except ValueError:
        return False
    if not isinstance(before, dict):
        return False
    ours = {path_text(path) for path in field_set(before, types)}
    return all(cause.field in ours for cause in conflict.causes)


def _last_applied_text(applied: dict[str, Any]) -> str:
    """The configuration as ``kubectl apply`` keeps it; too large a one is not kept."""
    shown = copy.deepcopy(applied)
    annotations = (shown.get("metadata") or {}).get("annotations")
    if isinstance(annotations, dict):
        annotations.pop(LAST_APPLIED, None)
    text = json.dumps(shown, separators=(",", ":"), sort_keys=True, ensure_ascii=False) + "\n"
    return text if len(text.encode()) <= _ANNOTATIONS_LIMIT_BYTES else ""
