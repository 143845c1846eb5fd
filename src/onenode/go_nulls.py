"""Nulls in typed objects, read as the decoder of the real server reads them.

Pure. In a struct a null is as good as nothing; in a list or map, where the place itself counts, it becomes
the empty value of its type.
"""

from __future__ import annotations

from typing import Any, Final

from onenode.json_schema_props import exact_schema
from onenode.pruning import KEEP_DOCUMENT_ORDER, METADATA_SCHEMA

__all__ = ["read_nulls"]

_EMPTY: Final[dict[str, Any]] = {"string": "", "boolean": False, "integer": 0, "number": 0}


def read_nulls(obj: dict[str, Any], schema: dict[str, Any]) -> None:
    """Replace the nulls of a built-in object, or those in the metadata of a custom one; in place.

    A null time stays: the server shows it. Call it after ``decoding_problem`` found nothing.
    """
    if schema.get(KEEP_DOCUMENT_ORDER):
        _read(obj, schema)
    elif isinstance(obj.get("metadata"), dict):
        _read(obj["metadata"], METADATA_SCHEMA)


def _empty(schema: dict[str, Any]) -> Any:
    kind = str(schema.get("type", ""))
    if kind in ("object", "array"):
        return {} if kind == "object" else []
    # Without a type it is a quantity or an int-or-string: zero.
    return _EMPTY.get(kind, 0)


def _read(value: Any, schema: dict[str, Any]) -> None:
    schema = exact_schema(value, schema)
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        additional = schema.get("additionalProperties")
        for name in list(value):
            if name in properties:
                _read_member(value, name, properties[name])
            elif isinstance(additional, dict):
                if value[name] is None:
                    value[name] = _empty(additional)
                _read(value[name], additional)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        items = schema["items"]
        for index, item in enumerate(value):
            if item is None:
                value[index] = _empty(items)
            else:
                _read(item, items)


def _read_member(value: dict[str, Any], name: str, schema: dict[str, Any]) -> None:
    if value[name] is not None:
        _read(value[name], schema)
    elif not schema.get("nullable"):
        del value[name]
