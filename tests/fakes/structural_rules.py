"""Rules for the schemas of CustomResourceDefinitions, told strictly: what a real API server would refuse."""

from collections.abc import Iterator
from typing import Any, Final

PLAIN: Final = {"description", "type", "format", "enum", "pattern", "required", "default", "anyOf"}
NESTING: Final = {"properties", "additionalProperties", "items"}
LIMITS: Final = {"maxItems", "maxLength", "maximum", "minItems", "minLength", "minimum"}
KUBERNETES: Final = {
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
}
ALLOWED: Final = PLAIN | NESTING | LIMITS | KUBERNETES
TYPES: Final = frozenset({"array", "boolean", "integer", "number", "object", "string"})
FORMATS: Final = frozenset({"date-time", "int32", "int64"})
BOUNDED: Final = {"array": "maxItems", "string": "maxLength"}
TYPE_META: Final = frozenset({"apiVersion", "kind", "metadata"})
METADATA: Final = {"type": "object"}
"""The API server takes nothing else about metadata, not even a description."""


def problems(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """What is wrong with a schema of whole objects, one sentence each, with the path of the field."""
    if schema.get("type") != "object":
        yield f"{path or '.'}: the root must be an object"
    for name in ("apiVersion", "kind"):
        if schema.get("properties", {}).get(name, {}).keys() != {"description", "type"}:
            yield f".{name}: must be a string without limits"
    if schema.get("properties", {}).get("metadata") != METADATA:
        yield ".metadata: must be an object without any further word"
    yield from _node(schema, path)


def _node(schema: dict[str, Any], path: str) -> Iterator[str]:
    for word in sorted(schema.keys() - ALLOWED):
        yield f"{path}: {word} is not allowed"
    int_or_string = schema.get("x-kubernetes-int-or-string")
    if int_or_string:
        if "type" in schema:
            yield f"{path}: an int-or-string has no type"
        if schema.get("anyOf") != [{"type": "integer"}, {"type": "string"}]:
            yield f"{path}: an int-or-string is any of integer and string"
    elif "anyOf" in schema:
        yield f"{path}: anyOf is for int-or-string only"
    elif schema.get("type") not in TYPES:
        yield f"{path}: no type"
    yield from _words(schema, path)
    yield from _children(schema, path)


def _words(schema: dict[str, Any], path: str) -> Iterator[str]:
    kind = schema.get("type", "")
    if "properties" in schema and "additionalProperties" in schema:
        yield f"{path}: additionalProperties beside properties"
    for name in schema.get("required", ()):
        if name not in schema.get("properties", {}):
            yield f"{path}: required {name} is no property"
    if "format" in schema and schema["format"] not in FORMATS:
        yield f"{path}: unknown format {schema['format']}"
    if len(set(schema.get("enum", ()))) != len(schema.get("enum", ())):
        yield f"{path}: a word twice in enum"
    if kind in BOUNDED and not schema.keys() & {BOUNDED[kind], "enum", "format"}:
        yield f"{path}: no {BOUNDED[kind]}"
    if "default" in schema and not _fits(schema["default"], schema):
        yield f"{path}: the default does not fit"
    yield from _merge_words(schema, kind, path)


def _merge_words(schema: dict[str, Any], kind: str, path: str) -> Iterator[str]:
    if "x-kubernetes-map-type" in schema and kind != "object":
        yield f"{path}: map-type on {kind}"
    if "x-kubernetes-list-type" in schema and kind != "array":
        yield f"{path}: list-type on {kind}"
    if kind != "array":
        return
    if schema.get("x-kubernetes-list-type") not in {"atomic", "map", "set"}:
        yield f"{path}: a list without list-type"
    if schema.get("x-kubernetes-list-type") == "map":
        items = schema.get("items", {})
        for key in schema.get("x-kubernetes-list-map-keys", [""]):
            defaulted = "default" in items.get("properties", {}).get(key, {})
            if key not in items.get("required", ()) and not defaulted:
                yield f"{path}: list-map key {key!r} is neither required nor defaulted"


def _children(schema: dict[str, Any], path: str) -> Iterator[str]:
    for name, member in schema.get("properties", {}).items():
        if path or name not in TYPE_META:
            if not member.get("description"):
                yield f"{path}.{name}: no description"
            yield from _node(member, f"{path}.{name}")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _node(schema["additionalProperties"], f"{path}.*")
    elif "additionalProperties" in schema:
        yield f"{path}: additionalProperties must be a schema"
    if schema.get("type") == "array":
        if isinstance(schema.get("items"), dict):
            yield from _node(schema["items"], f"{path}[]")
        else:
            yield f"{path}: no items"


def _fits(value: Any, schema: dict[str, Any]) -> bool:
    if "enum" in schema:
        return value in schema["enum"]
    match schema.get("type"):
        case "array":
            return isinstance(value, list) and all(_fits(item, schema["items"]) for item in value)
        case "object":
            members = schema.get("properties", {})
            return (
                isinstance(value, dict)
                and value.keys() <= members.keys()
                and set(schema.get("required", ())) <= value.keys()
                and all(_fits(item, members[name]) for name, item in value.items())
            )
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
    return False
