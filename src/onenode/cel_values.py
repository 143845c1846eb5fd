"""Expressions of the Common Expression Language over JSON values.

Pure. The one place that knows the library ``cel``: values go in typed by their schema, every failure comes
out as ``CelError`` with the words of the real server.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import functools
import itertools
import re
from typing import Any, Final

import cel
import cel.stdlib

__all__ = [
    "CelError",
    "check_syntax",
    "evaluate",
    "field_name",
    "names_old_self",
    "to_cel",
    "undeclared_reference",
]

_RESERVED: Final = frozenset(
    {"true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if"}
    | {"import", "let", "loop", "package", "namespace", "return", "var", "void", "while"}
)
_IDENTIFIER: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_COMPREHENSION: Final = re.compile(r"\.(?:all|exists|exists_one|map|filter)\(\s*([A-Za-z_]\w*)\s*,")
_TYPE_NAMES: Final = frozenset(
    {"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint", "math", "sets"}
)
_LONGEST: Final = 8_000
"""The library recurses over the expression without a limit: a chain of 25,000 ``.a`` overflows its stack."""
_OLD_SELF: Final = re.compile(r"\boldSelf\b")


class CelError(Exception):
    """An expression cannot be parsed or evaluated; the text says why, as the real server says it."""


def field_name(name: str) -> str | None:
    """The name of a property inside an expression; None if it cannot be written."""
    if name in _RESERVED:
        return f"__{name}__"
    escaped = name.replace("__", "__underscores__")
    for char, word in ((".", "__dot__"), ("-", "__dash__"), ("/", "__slash__")):
        escaped = escaped.replace(char, word)
    return escaped if _IDENTIFIER.fullmatch(escaped) else None


def names_old_self(expression: str) -> bool:
    """True for a transition rule."""
    return bool(_OLD_SELF.search(expression))


def to_cel(value: Any, schema: dict[str, Any] | None, *, optional: bool = False) -> Any:
    """The value an expression sees: times, bytes and doubles are typed by the schema.

    Args:
        value: a JSON value valid under ``schema``.
        schema: structural schema, or None for values without one.
        optional: wrap it as an optional, empty for None.
    """
    if optional:
        return cel.OptionalValue.none() if value is None else cel.OptionalValue.of(to_cel(value, schema))
    if schema is None:
        return value
    if isinstance(value, dict):
        return _object_to_cel(value, schema)
    if isinstance(value, list):
        items = schema.get("items")
        return [to_cel(item, items) for item in value]
    if isinstance(value, str):
        return _string_to_cel(value, schema.get("format"))
    return _number_to_cel(value, schema.get("type"))


def _number_to_cel(value: Any, kind: str | None) -> Any:
    if kind == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return int(value) if kind == "integer" and isinstance(value, float) else value


def _object_to_cel(value: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    seen: dict[str, Any] = {}
    for name, member in value.items():
        if name in properties:
            written = field_name(name)
            if written is not None and (member is not None or properties[name].get("nullable")):
                seen[written] = to_cel(member, properties[name])
        else:
            seen[name] = to_cel(member, additional if isinstance(additional, dict) else None)
    return seen


def _string_to_cel(value: str, kind: str | None) -> Any:
    try:
        if kind in ("date-time", "datetime"):
            return datetime.datetime.fromisoformat(value)
        if kind == "byte":
            return base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        return value
    return value


@functools.lru_cache(maxsize=1024)
def _compiled(expression: str) -> cel.Program:
    if len(expression) > _LONGEST:
        raise ValueError(f"the expression is longer than {_LONGEST} characters")
    return cel.compile(expression)


def check_syntax(expression: str) -> str | None:
    """The complaint of the parser, or None."""
    try:
        _compiled(expression)
    except ValueError as error:
        _, _, complaint = str(error).partition("': ")
        return complaint or str(error)
    return None


def undeclared_reference(expression: str, declared: frozenset[str]) -> str | None:
    """The complaint about the first variable that is not declared, or None.

    The parser does not tell the variables of ``all``, ``map`` and their kin from free ones, nor names of
    types; both are known here.
    """
    bound = {match[1] for match in _COMPREHENSION.finditer(expression)}
    known = declared | bound | _TYPE_NAMES
    for name in _compiled(expression).variables():
        if name not in known:
            found = re.search(rf"(?<![\w.]){re.escape(name)}\b", expression)
            column = found.start() if found else 0
            return (
                f"ERROR: <input>:1:{column + 1}: undeclared reference to '{name}' (in container '')\n"
                f" | {expression}\n | {'.' * column}^"
            )
    return None


def _find(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    return found[0] if found else ""


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    found = [match[0] for match in re.finditer(pattern, text)]
    return found if limit < 0 else found[:limit]


def _is_sorted(items: list[Any]) -> bool:
    return all(left <= right for left, right in itertools.pairwise(items))


def evaluate(expression: str, variables: dict[str, Any]) -> Any:
    """Value of an expression.

    Raises:
        CelError: it cannot be parsed, or its evaluation fails.
    """
    context = cel.Context(variables=variables)
    cel.stdlib.add_stdlib_to_context(context)
    context.add_function("find", _find)
    context.add_function("findAll", _find_all)
    context.add_function("isSorted", _is_sorted)
    try:
        return _compiled(expression).execute(context)
    except KeyError as error:
        raise CelError(f"no such key: {error.args[0]}") from error
    except (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError, re.error) as error:
        raise CelError(str(error)) from error
