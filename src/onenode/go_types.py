"""Would this JSON decode into the declared Go types? If not, the error text of the decoder.

Pure. The real server decodes built-in kinds, and the metadata of every object, into typed structs before it
validates anything; a number where a text belongs is answered with 400 in these words.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

from onenode.builtin_schema import GO_TYPE
from onenode.causes import go_quote, go_value
from onenode.json_schema_props import exact_schema

__all__ = ["decoding_problem"]

_KINDS: Final = {
    "string": "string",
    "boolean": "bool",
    "integer": "number",
    "number": "number",
    "array": "array",
    "object": "object",
}
"""JSON schema type -> what the decoder calls a fitting value."""

_INT_LIMITS: Final = {"int32": 2**31, "int64": 2**63}
_QUANTITY: Final = re.compile(r"[+-]?([0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)")
_NUMBER: Final = re.compile(r"\d+(\.\d*)?|\.\d+")
_SUFFIX: Final = re.compile(r"|[KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+")
_QUANTITY_FORM: Final = "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"

_DATE: Final = (("2006", r"\d{4}"), ("-", "-"), ("01", r"\d\d"), ("-", "-"), ("02", r"\d\d"), ("T", "T"))
_CLOCK: Final = (("15", r"\d\d"), (":", ":"), ("04", r"\d\d"), (":", ":"), ("05", r"\d\d"))
_ZONE: Final = ("Z07:00", r"Z|[+-]\d\d:\d\d")
_MICROS: Final = (".000000", r"\.\d{6}")
_LAYOUTS: Final = {
    "Time": ("2006-01-02T15:04:05Z07:00", (*_DATE, *_CLOCK, ("", r"(?:\.\d+)?"), _ZONE)),
    "MicroTime": ("2006-01-02T15:04:05.000000Z07:00", (*_DATE, *_CLOCK, _MICROS, _ZONE)),
}
_RANGES: Final = {
    "01": ("month", 1, 12),
    "02": ("day", 1, 31),
    "15": ("hour", 0, 23),
    "04": ("minute", 0, 59),
    "05": ("second", 0, 59),
}


def decoding_problem(value: Any, schema: dict[str, Any], path: str = "") -> str | None:
    """The first error of decoding a value.

    Args:
        value: decoded JSON.
        schema: its schema from ``builtin_schema``, or that of ObjectMeta.
        path: where the value stands inside the decoded object; empty for the whole.

    Returns:
        The text of the decoder, or None.
    """
    return _problem(value, schema, str(schema.get(GO_TYPE, "")), path)


def _json_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _go_name(schema: dict[str, Any]) -> str:
    kind = str(schema.get("type", ""))
    if kind == "array":
        return f"[]{_go_name(schema.get('items') or {})}"
    if kind == "object":
        additional = schema.get("additionalProperties")
        if isinstance(additional, dict):
            return f"map[string]{_go_name(additional)}"
        return f"v1.{schema.get(GO_TYPE, 'Object')}"
    if kind == "string":
        return "[]uint8" if schema.get("format") == "byte" else "string"
    return {"boolean": "bool", "number": "float64"}.get(kind, str(schema.get("format", "int64")))


def _problem(value: Any, schema: dict[str, Any], owner: str, path: str) -> str | None:
    if value is None:
        return None
    custom = _CUSTOM.get(schema.get(GO_TYPE, ""))
    if custom is not None:
        return custom(value, str(schema[GO_TYPE]))
    schema = exact_schema(value, schema)
    kind = schema.get("type")
    if kind is None:
        return None
    if _json_kind(value) != _KINDS[kind]:
        return _mismatch(_json_kind(value), owner, path, schema)
    return _inner_problem(value, schema, owner, path)


def _inner_problem(value: Any, schema: dict[str, Any], owner: str, path: str) -> str | None:
    if isinstance(value, dict):
        return _member_problem(value, schema, owner, path)
    if isinstance(value, list):
        items = schema.get("items") or {}
        return next((text for item in value if (text := _problem(item, items, owner, path))), None)
    return _scalar_problem(value, schema, owner, path)


def _mismatch(shown: str, owner: str, path: str, schema: dict[str, Any]) -> str:
    where = f"Go struct field {owner}.{path}" if path else "Go value"
    return f"json: cannot unmarshal {shown} into {where} of type {_go_name(schema)}"


def _member_problem(value: dict[str, Any], schema: dict[str, Any], owner: str, path: str) -> str | None:
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    inside = str(schema.get(GO_TYPE, owner))
    for name, member in value.items():
        if name in properties:
            problem = _problem(member, properties[name], inside, f"{path}.{name}" if path else name)
        elif isinstance(additional, dict):
            problem = _problem(member, additional, owner, path)
        else:
            continue
        if problem is not None:
            return problem
    return None


def _scalar_problem(value: Any, schema: dict[str, Any], owner: str, path: str) -> str | None:
    if schema["type"] == "integer":
        limit = _INT_LIMITS.get(str(schema.get("format")), 2**63)
        if isinstance(value, float) or not -limit <= value < limit:
            return _mismatch(f"number {go_value(value)}", owner, path, schema)
    elif schema.get("format") == "byte":
        try:
            base64.b64decode(value.replace("\r", "").replace("\n", ""), validate=True)
        except (binascii.Error, ValueError):
            return f"illegal base64 data at input byte {_first_illegal(value)}"
    return None


def _first_illegal(text: str) -> int:
    """Where a base64 text goes wrong: the first foreign character, or the end of the last whole group."""
    match = re.search(r"[^A-Za-z0-9+/=\r\n]", text)
    return match.start() if match else len(text) - len(text) % 4


def _quantity_problem(value: Any, _name: str) -> str | None:
    text = value if isinstance(value, str) else go_value(value)
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return f"quantities must match the regular expression {_QUANTITY_FORM}"
    if not _NUMBER.fullmatch(match[1]):
        return "unable to parse numeric part of quantity"
    if not _SUFFIX.fullmatch(match[2]):
        return "unable to parse quantity's suffix"
    return None


def _time_problem(value: Any, name: str) -> str | None:
    if not isinstance(value, str):
        return f"json: cannot unmarshal {_json_kind(value)} into Go value of type string"
    layout, parts = _LAYOUTS[name]
    start = f"parsing time {go_quote(value)}"
    rest = value
    for element, pattern in parts:
        match = re.match(pattern, rest, re.ASCII)
        if match is None:
            return f"{start} as {go_quote(layout)}: cannot parse {go_quote(rest)} as {go_quote(element)}"
        rest = rest[match.end() :]
        if element in _RANGES:
            what, low, high = _RANGES[element]
            if not low <= int(match[0]) <= high:
                return f"{start}: {what} out of range"
    return f"{start}: extra text: {go_quote(rest)}" if rest else None


def _int_or_string_problem(value: Any, _name: str) -> str | None:
    if isinstance(value, str) or (type(value) is int and -(2**31) <= value < 2**31):
        return None
    shown = f"number {go_value(value)}" if _json_kind(value) == "number" else _json_kind(value)
    return f"json: cannot unmarshal {shown} into Go value of type int32"


_CUSTOM: Final = {
    "Quantity": _quantity_problem,
    "Time": _time_problem,
    "MicroTime": _time_problem,
    "IntOrString": _int_or_string_problem,
}
"""Types that decode themselves; their errors do not name the field."""
