"""Validation of a value against a structural schema, in the words of the real server.

Pure. The checks, their order and their texts follow the validator of the recorded server; the odd ones
(a cause without a field, ``float64`` as a type name) are the server's, clients may match on them.
"""

from __future__ import annotations

from typing import Any, Final

from onenode import causes
from onenode.causes import NO_FIELD, Cause
from onenode.formats import check_format, is_checked_pattern
from onenode.list_types import map_key

__all__ = ["validate"]

_JSON_INTEGER_LIMIT: Final = 2**53
_INT_RANGES: Final = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}


class _Failure:
    """One failed check: a cause, and its path relative to the validated root."""

    __slots__ = ("cause", "is_composite")

    def __init__(self, cause: Cause, *, is_composite: bool = False) -> None:
        self.cause = cause
        self.is_composite = is_composite


class _Walk:
    """Collects failures of one validation; ``prefix`` is put before the fields, not into the texts."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.causes: list[Cause] = []

    def field(self, path: str) -> str:
        """The field of a cause at ``path``."""
        if not self.prefix:
            return path or NO_FIELD
        if not path:
            return self.prefix
        return f"{self.prefix}{path}" if path.startswith("[") else f"{self.prefix}.{path}"

    def composite(self, detail: str) -> None:
        """A failure that names its place only in the text."""
        self.causes.append(causes.invalid(self.prefix or NO_FIELD, "", detail))

    def invalid(self, path: str, value: Any, rule: str) -> None:
        """A value that breaks a rule."""
        self.causes.append(causes.invalid(self.field(path), value, f"{path} in body {rule}"))


def validate(obj: Any, schema: dict[str, Any], old: Any = None, *, prefix: str = "") -> list[Cause]:
    """Check a value against its schema; x-kubernetes-validations are checked by ``cel_rules``.

    Args:
        obj: the object after pruning and defaulting, or a part of it.
        schema: the structural schema of ``obj``.
        old: the value before an update: what did not change is not an error (ratcheting).
        prefix: field path of ``obj`` when it is a part, such as ``status``; it does not appear in the
            texts, as on the real server.

    Returns:
        The causes; empty if the value is valid.
    """
    walk = _Walk(prefix)
    _check(obj, schema, "", walk)
    if walk.causes and old is not None:
        walk = _Walk(prefix)
        _check_changed(obj, old, schema, "", walk)
    return walk.causes


def _check(value: Any, schema: dict[str, Any], path: str, walk: _Walk) -> None:
    """All checks of one node and everything below it."""
    _check_node(value, schema, path, walk)
    if isinstance(value, dict):
        _check_members(value, schema, path, walk)
    elif isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for index, item in enumerate(value):
                _check(item, items, f"{path}[{index}]", walk)


def _check_members(value: dict[str, Any], schema: dict[str, Any], path: str, walk: _Walk) -> None:
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    base = f"{path}." if path else ""
    for name, member in value.items():
        member_schema = properties.get(name, additional)
        if isinstance(member_schema, dict):
            _check(member, member_schema, base + name, walk)
    _check_required(value, schema, base, walk)


def _check_required(value: dict[str, Any], schema: dict[str, Any], base: str, walk: _Walk) -> None:
    for name in schema.get("required") or ():
        if name not in value:
            walk.causes.append(causes.required(walk.field(base + name)))


def _check_changed(value: Any, old: Any, schema: dict[str, Any], path: str, walk: _Walk) -> None:
    """As ``_check``, but a part equal to its old value is not looked at."""
    if value == old and type(value) is type(old):
        return
    if isinstance(value, dict) and isinstance(old, dict):
        _check_node(value, schema, path, walk)
        properties = schema.get("properties") or {}
        additional = schema.get("additionalProperties")
        base = f"{path}." if path else ""
        for name, member in value.items():
            member_schema = properties.get(name, additional)
            if not isinstance(member_schema, dict):
                continue
            if name in old:
                _check_changed(member, old[name], member_schema, base + name, walk)
            else:
                _check(member, member_schema, base + name, walk)
        _check_required(value, schema, base, walk)
    elif isinstance(value, list) and isinstance(old, list) and schema.get("x-kubernetes-list-type") == "map":
        _check_node(value, schema, path, walk)
        old_by_key = {map_key(item, schema): item for item in old}
        for index, item in enumerate(value):
            before = old_by_key.get(map_key(item, schema))
            _check_changed(item, before, schema.get("items") or {}, f"{path}[{index}]", walk)
    else:
        _check(value, schema, path, walk)


def _check_node(value: Any, schema: dict[str, Any], path: str, walk: _Walk) -> None:
    """The checks of one node, not of its members."""
    _check_type(value, schema, path, walk)
    if value is not None:
        for word in ("allOf", "anyOf", "oneOf", "not"):
            if word in schema:
                _COMBINATIONS[word](value, schema[word], path, walk)
    if isinstance(value, str):
        _check_string(value, schema, path, walk)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _check_number(value, schema, path, walk)
    elif isinstance(value, list):
        _check_count(len(value), schema, path, walk, "Items", "items")
    elif isinstance(value, dict):
        _check_count(len(value), schema, path, walk, "Properties", "properties")
    if schema.get("enum") and not any(_is_same(value, one) for one in schema["enum"]):
        walk.causes.append(causes.not_supported(walk.field(path), value, schema["enum"]))


def _is_same(left: Any, right: Any) -> bool:
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def _types_of(schema: dict[str, Any]) -> tuple[str, ...]:
    if schema.get("x-kubernetes-int-or-string"):
        return ("integer", "string")
    kind = schema.get("type")
    return (kind,) if kind else ()


def type_name(value: Any) -> tuple[str, str]:
    """JSON type of a value and the format the server gives it."""
    if value is None:
        return "null", ""
    if isinstance(value, bool):
        return "boolean", ""
    if isinstance(value, int):
        return "integer", "int64"
    if isinstance(value, float):
        return "number", "float64"
    if isinstance(value, str):
        return "string", ""
    return ("array", "") if isinstance(value, list) else ("object", "")


def _check_type(value: Any, schema: dict[str, Any], path: str, walk: _Walk) -> None:
    types = _types_of(schema)
    if not types:
        return
    actual, actual_format = type_name(value)
    wanted_format = schema.get("format") or ""
    if value is None:
        if not schema.get("nullable"):
            _add_type_cause(path, ",".join(types), "null", walk)
        return
    is_integral = isinstance(value, float) and value.is_integer() and abs(value) < _JSON_INTEGER_LIMIT
    fits = (
        actual in types or (is_integral and "integer" in types) or (actual == "integer" and "number" in types)
    )
    if fits:
        return
    if actual not in ("string", "array") and wanted_format and actual_format != wanted_format:
        _add_type_cause(path, wanted_format, actual_format, walk)
    elif not (wanted_format and actual in ("string", "array") and not {"integer", "number"} & set(types)):
        _add_type_cause(path, ",".join(types), actual, walk)


def _add_type_cause(path: str, wanted: str, actual: str, walk: _Walk) -> None:
    detail = f'{path} in body must be of type {wanted}: "{actual}"'
    walk.causes.append(causes.type_invalid(walk.field(path), actual, detail))


def _check_string(value: str, schema: dict[str, Any], path: str, walk: _Walk) -> None:
    longest = schema.get("maxLength")
    if longest is not None and len(value) > longest:
        walk.causes.append(causes.too_long(walk.field(path), int(longest)))
    shortest = schema.get("minLength")
    if shortest is not None and len(value) < shortest:
        walk.invalid(path, value, f"should be at least {int(shortest)} chars long")
    pattern = schema.get("pattern")
    if pattern and not is_checked_pattern(pattern, value):
        walk.invalid(path, value, f"should match '{pattern}'")
    wanted = schema.get("format")
    if wanted and not check_format(wanted, value):
        detail = f"{path} in body must be of type {wanted}: {causes.go_quote(value)}"
        walk.causes.append(causes.type_invalid(walk.field(path), value, detail))


def _check_number(value: float, schema: dict[str, Any], path: str, walk: _Walk) -> None:
    types = _types_of(schema)
    if types == ("integer",):
        wanted = schema.get("format") or ""
        low, high = _INT_RANGES.get(wanted, _INT_RANGES["int64"])
        if (isinstance(value, float) and not value.is_integer()) or not low <= value <= high:
            kind = f"with format {wanted}" if wanted else "(default format)"
            walk.composite(f"Checked value must be of type integer {kind} in {path}")
    factor = schema.get("multipleOf")
    if factor and (value / factor) % 1 != 0:
        walk.invalid(path, value, f"should be a multiple of {causes.go_value(float(factor))}")
    low_limit = schema.get("minimum")
    if low_limit is not None:
        exclusive = bool(schema.get("exclusiveMinimum"))
        if value < low_limit or (exclusive and value == low_limit):
            than = "greater than" if exclusive else "greater than or equal to"
            walk.invalid(path, value, f"should be {than} {causes.go_value(float(low_limit))}")
    high_limit = schema.get("maximum")
    if high_limit is not None:
        exclusive = bool(schema.get("exclusiveMaximum"))
        if value > high_limit or (exclusive and value == high_limit):
            than = "less than" if exclusive else "less than or equal to"
            walk.invalid(path, value, f"should be {than} {causes.go_value(float(high_limit))}")


def _check_count(count: int, schema: dict[str, Any], path: str, walk: _Walk, word: str, what: str) -> None:
    most = schema.get(f"max{word}")
    if most is not None and count > most:
        walk.causes.append(causes.too_many(walk.field(path), count, int(most)))
    fewest = schema.get(f"min{word}")
    if fewest is not None and count < fewest:
        walk.invalid(path, count, f"should have at least {int(fewest)} {what}")


def _try(value: Any, schema: dict[str, Any], path: str, walk: _Walk) -> list[Cause]:
    branch = _Walk(walk.prefix)
    _check(value, schema, path, branch)
    return branch.causes


def _check_all_of(value: Any, schemas: list[dict[str, Any]], path: str, walk: _Walk) -> None:
    valid = 0
    for one in schemas:
        failed = _try(value, one, path, walk)
        valid += not failed
        walk.causes.extend(failed)
    if valid != len(schemas):
        tail = "" if valid else ". None validated"
        walk.composite(f'"{path}" must validate all the schemas (allOf){tail}')


def _check_any_of(value: Any, schemas: list[dict[str, Any]], path: str, walk: _Walk) -> None:
    best: list[Cause] | None = None
    for one in schemas:
        failed = _try(value, one, path, walk)
        if not failed:
            return
        best = failed if best is None else best
    walk.composite(f'"{path}" must validate at least one schema (anyOf)')
    walk.causes.extend(best or ())


def _check_one_of(value: Any, schemas: list[dict[str, Any]], path: str, walk: _Walk) -> None:
    failures = [_try(value, one, path, walk) for one in schemas]
    valid = sum(not failed for failed in failures)
    if valid == 1:
        return
    found = f"Found {valid} valid alternatives" if valid else "Found none valid"
    walk.composite(f'"{path}" must validate one and only one schema (oneOf). {found}')
    if not valid and failures:
        walk.causes.extend(failures[0])


def _check_not(value: Any, schema: dict[str, Any], path: str, walk: _Walk) -> None:
    if not _try(value, schema, path, walk):
        walk.composite(f'"{path}" must not validate the schema (not)')


_COMBINATIONS: Final[dict[str, Any]] = {
    "allOf": _check_all_of,
    "anyOf": _check_any_of,
    "oneOf": _check_one_of,
    "not": _check_not,
}
