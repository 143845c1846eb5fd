"""Defaults of a structural schema.

Pure. A missing member, or a null where null is not allowed, takes its default; a null that is not
allowed and has no default disappears.
"""

from __future__ import annotations

import copy
from typing import Any

__all__ = ["apply_defaults"]


def apply_defaults(obj: dict[str, Any], schema: dict[str, Any]) -> None:
    """Fill in defaults and drop forbidden nulls, in place. Idempotent."""
    _default_value(obj, schema)
    _drop_nulls(obj, schema)


def _is_forbidden_null(value: Any, schema: dict[str, Any]) -> bool:
    return value is None and not schema.get("nullable")


def _default_value(value: Any, schema: dict[str, Any]) -> None:
    if isinstance(value, dict):
        _default_members(value, schema)
    elif isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for index, item in enumerate(value):
                if "default" in items and _is_forbidden_null(item, items):
                    value[index] = copy.deepcopy(items["default"])
                _default_value(value[index], items)


def _default_members(value: dict[str, Any], schema: dict[str, Any]) -> None:
    properties: dict[str, dict[str, Any]] = schema.get("properties") or {}
    for name, member in properties.items():
        if "default" in member and (name not in value or _is_forbidden_null(value[name], member)):
            value[name] = copy.deepcopy(member["default"])
    additional = schema.get("additionalProperties")
    for name, held in value.items():
        if name in properties:
            _default_value(held, properties[name])
        elif isinstance(additional, dict):
            if "default" in additional and _is_forbidden_null(held, additional):
                value[name] = copy.deepcopy(additional["default"])
            _default_value(value[name], additional)


def _drop_nulls(value: Any, schema: dict[str, Any]) -> None:
    if isinstance(value, dict):
        properties: dict[str, dict[str, Any]] = schema.get("properties") or {}
        additional = schema.get("additionalProperties")
        for name in list(value):
            member = properties.get(name, additional if isinstance(additional, dict) else None)
            if member is None:
                continue
            if _is_forbidden_null(value[name], member):
                del value[name]
            else:
                _drop_nulls(value[name], member)
    elif isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for item in value:
                _drop_nulls(item, items)
