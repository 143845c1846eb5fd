"""Removal of fields a structural schema does not know.

Pure. Custom resources report unknown fields sorted, the ones of metadata first; built-in kinds report
them in the order of the document, as their decoder meets them.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["KEEP_DOCUMENT_ORDER", "METADATA_SCHEMA", "prune"]

KEEP_DOCUMENT_ORDER: Final = "x-onenode-typed"
"""Schema extension on the root of built-in kinds: they are decoded into declared types."""

_STRING: Final[dict[str, Any]] = {"type": "string"}
_STRING_MAP: Final[dict[str, Any]] = {"type": "object", "additionalProperties": _STRING}
_TIME: Final[dict[str, Any]] = {"type": "string", "format": "date-time", "x-onenode-go-type": "Time"}
_OWNER_REFERENCE: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "apiVersion": _STRING,
        "kind": _STRING,
        "name": _STRING,
        "uid": _STRING,
        "controller": {"type": "boolean"},
        "blockOwnerDeletion": {"type": "boolean"},
    },
    "x-kubernetes-map-type": "atomic",
}
_MANAGED_FIELDS_ENTRY: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "manager": _STRING,
        "operation": _STRING,
        "apiVersion": _STRING,
        "time": _TIME,
        "fieldsType": _STRING,
        "fieldsV1": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "subresource": _STRING,
    },
}
METADATA_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "x-onenode-go-type": "ObjectMeta",
    "properties": {
        "name": _STRING,
        "generateName": _STRING,
        "namespace": _STRING,
        "selfLink": _STRING,
        "uid": _STRING,
        "resourceVersion": _STRING,
        "generation": {"type": "integer", "format": "int64"},
        "creationTimestamp": _TIME,
        "deletionTimestamp": _TIME,
        "deletionGracePeriodSeconds": {"type": "integer", "format": "int64"},
        "labels": _STRING_MAP,
        "annotations": _STRING_MAP,
        "ownerReferences": {
            "type": "array",
            "items": {**_OWNER_REFERENCE, "x-onenode-go-type": "OwnerReference"},
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["uid"],
            "x-kubernetes-patch-strategy": "merge",
            "x-kubernetes-patch-merge-key": "uid",
        },
        "finalizers": {
            "type": "array",
            "items": _STRING,
            "x-kubernetes-list-type": "set",
            "x-kubernetes-patch-strategy": "merge",
        },
        "managedFields": {
            "type": "array",
            "items": {**_MANAGED_FIELDS_ENTRY, "x-onenode-go-type": "ManagedFieldsEntry"},
            "x-kubernetes-list-type": "atomic",
        },
    },
}
"""ObjectMeta, common to every kind."""

_RESOURCE_KEYS: Final = frozenset({"apiVersion", "kind", "metadata"})


def prune(obj: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """Drop unknown fields of a whole object, in place.

    Args:
        obj: an object with apiVersion, kind and metadata.
        schema: its structural schema.

    Returns:
        Paths of the dropped fields as the server names them, such as ``spec.syscalls[0].zzz``.
    """
    if schema.get(KEEP_DOCUMENT_ORDER):
        dropped: list[str] = []
        _prune_value(obj, schema, "", dropped)
        return dropped
    in_metadata: list[str] = []
    elsewhere: list[str] = []
    metadata = obj.get("metadata")
    if isinstance(metadata, dict):
        _prune_value(metadata, METADATA_SCHEMA, "metadata", in_metadata)
    _prune_object(obj, schema, "", elsewhere, is_resource=True)
    return sorted(in_metadata) + sorted(elsewhere)


def _prune_value(value: Any, schema: dict[str, Any] | None, path: str, dropped: list[str]) -> None:
    if isinstance(value, dict):
        _prune_object(
            value,
            schema,
            path,
            dropped,
            is_resource=bool(schema and schema.get("x-kubernetes-embedded-resource")),
        )
    elif isinstance(value, list):
        items = schema.get("items") if schema is not None else None
        if schema is not None and items is None and schema.get("x-kubernetes-preserve-unknown-fields"):
            return
        for index, item in enumerate(value):
            if isinstance(item, dict | list):
                _prune_value(item, items, f"{path}[{index}]", dropped)


def _prune_object(
    value: dict[str, Any],
    schema: dict[str, Any] | None,
    path: str,
    dropped: list[str],
    *,
    is_resource: bool = False,
) -> None:
    properties = schema.get("properties") or {} if schema is not None else {}
    additional = schema.get("additionalProperties") if schema is not None else None
    preserved = bool(schema is not None and schema.get("x-kubernetes-preserve-unknown-fields"))
    for name in list(value):
        child = f"{path}.{name}" if path else name
        member = value[name]
        if is_resource and name in _RESOURCE_KEYS:
            if name == "metadata" and path and isinstance(member, dict):
                _prune_value(member, METADATA_SCHEMA, child, dropped)
        elif name in properties:
            if isinstance(member, dict | list):
                _prune_value(member, properties[name], child, dropped)
        elif isinstance(additional, dict):
            if isinstance(member, dict | list):
                _prune_value(member, additional, child, dropped)
        elif additional is not True and not preserved:
            dropped.append(child)
            del value[name]
