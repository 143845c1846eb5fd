"""Lists with a declared meaning: sets hold an item once, maps a key once.

Pure.
"""

from __future__ import annotations

import json
from typing import Any

from onenode import causes
from onenode.causes import Cause

__all__ = ["canonical", "check_list_types", "map_key"]


def canonical(value: Any) -> str:
    """A text equal for equal JSON values; 1 and 1.0 are equal, 1 and true are not."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def map_key(item: Any, schema: dict[str, Any]) -> str:
    """The key of an item of a map list as canonical text; missing members take their default."""
    return canonical(_key_members(item, schema))


def _key_members(item: Any, schema: dict[str, Any]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    if not isinstance(item, dict):
        return members
    properties = (schema.get("items") or {}).get("properties") or {}
    for name in schema.get("x-kubernetes-list-map-keys") or ():
        if name in item:
            members[name] = item[name]
        elif "default" in properties.get(name, {}):
            members[name] = properties[name]["default"]
    return members


def check_list_types(value: Any, schema: dict[str, Any], path: str = "") -> list[Cause]:
    """Duplicate causes of every set and map list at or below ``value``."""
    found: list[Cause] = []
    _check(value, schema, path, found)
    return found


def _check(value: Any, schema: dict[str, Any], path: str, found: list[Cause]) -> None:
    if isinstance(value, dict):
        _check_members(value, schema, path, found)
    elif isinstance(value, list):
        kind = schema.get("x-kubernetes-list-type")
        if kind in ("set", "map"):
            _check_duplicates(value, schema, path, kind, found)
        items = schema.get("items")
        if isinstance(items, dict):
            for index, item in enumerate(value):
                if isinstance(item, dict | list):
                    _check(item, items, f"{path}[{index}]", found)


def _check_members(value: dict[str, Any], schema: dict[str, Any], path: str, found: list[Cause]) -> None:
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    for name, member in value.items():
        if not isinstance(member, dict | list):
            continue
        if name in properties:
            _check(member, properties[name], f"{path}.{name}" if path else name, found)
        elif isinstance(additional, dict):
            _check(member, additional, f"{path}[{name}]", found)


def _check_duplicates(
    value: list[Any], schema: dict[str, Any], path: str, kind: str, found: list[Cause]
) -> None:
    seen: set[str] = set()
    for index, item in enumerate(value):
        if kind == "map" and not isinstance(item, dict):
            continue
        shown = _key_members(item, schema) if kind == "map" else item
        key = canonical(shown)
        if key in seen:
            found.append(causes.duplicate(f"{path}[{index}]", shown))
        seen.add(key)
