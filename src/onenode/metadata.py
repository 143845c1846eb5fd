"""Rules for ``metadata`` that hold for every kind: what a client may set, what the server keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from onenode import causes
from onenode.causes import Cause, GoStruct
from onenode.object_names import qualified_name_problems, validate_annotations, validate_labels, validate_name
from onenode.pruning import METADATA_SCHEMA
from onenode.registry import Resource

__all__ = [
    "drop_system_fields",
    "finalizer_warnings",
    "in_go_order",
    "keep_system_fields",
    "own_metadata",
    "validate_metadata",
    "validate_metadata_update",
]

Obj = dict[str, Any]

_SYSTEM: Final = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "selfLink",
    "resourceVersion",
)
_KEPT: Final = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
_EMPTY_MAPS: Final = ("labels", "annotations", "finalizers", "ownerReferences")
_ENTRY_FIELDS: Final = (
    "manager",
    "operation",
    "apiVersion",
    "time",
    "fieldsType",
    "fieldsV1",
    "subresource",
)
_OWNER_FIELDS: Final = ("apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion")
_STANDARD_FINALIZERS: Final = frozenset({"orphan", "foregroundDeletion", "kubernetes"})


def in_go_order(obj: Obj) -> Obj:
    """A copy whose metadata is printed in the order of Go's ObjectMeta."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        return obj
    ordered = GoStruct({name: metadata[name] for name in METADATA_SCHEMA["properties"] if name in metadata})
    if "managedFields" in ordered:
        ordered["managedFields"] = [
            GoStruct({name: entry[name] for name in _ENTRY_FIELDS if name in entry})
            for entry in ordered["managedFields"]
            if isinstance(entry, dict)
        ]
    return {**obj, "metadata": ordered}


def own_metadata(obj: Obj) -> Obj:
    """The object's metadata; made if it is missing. Nulls and empty collections go, as Go drops them."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        metadata = obj["metadata"] = {}
    for name in [name for name, value in metadata.items() if value is None]:
        del metadata[name]
    for name in _EMPTY_MAPS:
        if name in metadata and not metadata[name]:
            del metadata[name]
    return metadata


def drop_system_fields(metadata: Obj) -> None:
    """On create these are the server's to set."""
    for name in _SYSTEM:
        metadata.pop(name, None)


def keep_system_fields(metadata: Obj, old: Mapping[str, Any]) -> None:
    """On update the server's own fields stay as they were."""
    for name in _KEPT:
        if name in old:
            metadata[name] = old[name]
        else:
            metadata.pop(name, None)
    metadata.pop("selfLink", None)


def validate_metadata(metadata: Obj, resource: Resource) -> list[Cause]:
    """Causes about the metadata of any object."""
    found = validate_name(metadata, resource.name_problems)
    found += validate_labels(metadata.get("labels") or {})
    found += validate_annotations(metadata.get("annotations") or {})
    found += _owner_causes(metadata.get("ownerReferences") or [])
    for finalizer in metadata.get("finalizers") or []:
        found += [
            causes.invalid("metadata.finalizers", finalizer, t) for t in qualified_name_problems(finalizer)
        ]
    return found


def _owner_causes(owners: list[Any]) -> list[Cause]:
    found: list[Cause] = []
    controllers: list[str] = []
    for owner in owners:
        for name, field in (("apiVersion", "version"), ("kind", "kind"), ("name", "name"), ("uid", "uid")):
            if not owner.get(name):
                shown = "apiVersion" if name == "apiVersion" else name
                text = "version must not be empty" if field == "version" else "must not be empty"
                found.append(causes.invalid(f"metadata.ownerReferences.{shown}", "", text))
        if owner.get("controller"):
            controllers.append(f"{owner.get('kind')}/{owner.get('name')}")
    if len(controllers) > 1:
        text = (
            'Only one reference can have Controller set to true. Found "true" in references for '
            f"{' and '.join(controllers[:2])}"
        )
        references = [
            GoStruct({name: owner[name] for name in _OWNER_FIELDS if name in owner}) for owner in owners
        ]
        found.append(causes.invalid("metadata.ownerReferences", references, text))
    return found


def validate_metadata_update(metadata: Obj, old: Mapping[str, Any], sent: Mapping[str, Any]) -> list[Cause]:
    """Causes about a change of metadata.

    ``sent`` is what the client sent, before the server's own fields were kept.
    """
    found: list[Cause] = []
    uid = sent.get("uid")
    if uid and uid != old.get("uid"):
        # The real server tells this one twice.
        found += [causes.invalid("metadata.uid", uid, "field is immutable")] * 2
    if old.get("deletionTimestamp"):
        before = set(old.get("finalizers") or [])
        new = sorted(set(metadata.get("finalizers") or []) - before)
        if new:
            shown = ", ".join(json.dumps(name) for name in new)
            text = "no new finalizers can be added if the object is being deleted, found new finalizers"
            # The real server tells this one twice.
            found += [causes.forbidden("metadata.finalizers", f"{text} []string{{{shown}}}")] * 2
    return found


def finalizer_warnings(metadata: Mapping[str, Any]) -> list[str]:
    """Advice about finalizers without a domain."""
    return [
        f"metadata.finalizers: {causes.go_quote(name)}: prefer a domain-qualified finalizer name to avoid "
        "accidental conflicts with other finalizer writers"
        for name in metadata.get("finalizers") or []
        if "/" not in name and name not in _STANDARD_FINALIZERS
    ]
