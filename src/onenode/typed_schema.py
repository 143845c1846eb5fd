"""How a schema lets a value be read: a scalar, a map (granular or atomic), or a list (set, keyed, atomic).

Pure. The ground that ``typed_values`` and ``typed_merge`` stand on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from onenode.list_types import canonical
from onenode.pruning import METADATA_SCHEMA

__all__ = [
    "ABSENT",
    "DEDUCED",
    "Schema",
    "has_members",
    "is_declared",
    "is_leaf",
    "item_element",
    "kind_of",
    "member_of",
    "typed_schema",
]

Schema = Mapping[str, Any]
DEDUCED: Final[Schema] = {}
"""Schema of a value whose type nobody declared."""
_STRING: Final[Schema] = {"type": "string"}


class Absent:
    """Stands for a member that does not exist; None is a value."""


ABSENT: Final = Absent()


def typed_schema(schema: Schema) -> Schema:
    """The schema of a whole object with the members every object has."""
    common = {"apiVersion": _STRING, "kind": _STRING, "metadata": METADATA_SCHEMA}
    return {**schema, "type": "object", "properties": {**(schema.get("properties") or {}), **common}}


def kind_of(schema: Schema, value: Any) -> str:
    """How a value is treated: ``map``, ``list`` or ``scalar``."""
    if schema.get("x-kubernetes-int-or-string"):
        return "scalar"
    declared = schema.get("type")
    if not declared:
        return "map" if isinstance(value, dict) else ("list" if isinstance(value, list) else "scalar")
    return {"object": "map", "array": "list"}.get(declared, "scalar")


def is_leaf(schema: Schema, kind: str) -> bool:
    """True for a scalar, and for a list or map that changes as a whole."""
    if kind == "map":
        return schema.get("x-kubernetes-map-type") == "atomic"
    return kind == "scalar" or schema.get("x-kubernetes-list-type") not in ("set", "map")


def is_declared(schema: Schema, name: str) -> bool:
    """True for a member of a struct, false for a key of a map."""
    return name in (schema.get("properties") or {})


def member_of(schema: Schema, name: str) -> Schema | None:
    """Schema of a member of a map or struct; None if it may not exist."""
    properties = schema.get("properties") or {}
    if name in properties:
        member: Schema = properties[name]
        return member
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict):
        return additional
    if additional is True or schema.get("x-kubernetes-preserve-unknown-fields") or not schema.get("type"):
        return DEDUCED
    return None


def item_element(item: Any, schema: Schema) -> str:
    """The path element of an item of a set or map list."""
    if schema.get("x-kubernetes-list-type") == "set" or not isinstance(item, dict):
        return f"v:{canonical(item)}"
    properties = (schema.get("items") or {}).get("properties") or {}
    key: dict[str, Any] = {}
    for name in schema.get("x-kubernetes-list-map-keys") or ():
        if name in item:
            key[name] = item[name]
        elif "default" in properties.get(name, {}):
            key[name] = properties[name]["default"]
    return f"k:{canonical(key)}"


def has_members(value: Any) -> bool:
    """True for a map or list that is not empty."""
    return isinstance(value, dict | list) and bool(value)
