"""Is the schema of a CRD structural? A CRD with one that is not is refused.

Pure. Texts of the real server.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from onenode import causes
from onenode.causes import Cause
from onenode.cel_values import check_syntax, field_name
from onenode.defaulting import apply_defaults
from onenode.formats import is_pattern
from onenode.validation import validate

__all__ = ["ROOT", "check_structural"]

ROOT: Final = "spec.validation.openAPIV3Schema"
"""Path of the schema of a CRD with one version (or one schema for all), as the server names it."""

_EMPTY: Final = "must be empty to be structural"
_NOT_IN_JUNCTORS: Final = (
    "type", "additionalProperties", "default", "description", "title", "nullable",
    "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type",
)  # fmt: skip
_SELF_FIELDS: Final = re.compile(r"(?<![\w.'\"])self((?:\.[A-Za-z_]\w*)+)(?![\w(])")


def check_structural(schema: dict[str, Any], path: str = ROOT) -> list[Cause]:
    """Causes why a CRD schema is refused; empty if it is structural."""
    found: list[Cause] = []
    if not schema.get("type"):
        found.append(causes.required(f"{path}.type", "must not be empty at the root"))
    elif schema["type"] != "object":
        found.append(causes.invalid(f"{path}.type", schema["type"], "must be object at the root"))
    if schema.get("nullable"):
        found.append(causes.forbidden(f"{path}.nullable", "nullable cannot be true at the root"))
    _check_root_metadata(schema, path, found)
    _check_node(schema, path, found)
    if not found:
        _check_values(schema, path, found)
    return found


def _check_root_metadata(schema: dict[str, Any], path: str, found: list[Cause]) -> None:
    metadata = (schema.get("properties") or {}).get("metadata") or {}
    extra = set(metadata.get("properties") or {}) - {"name", "generateName"}
    if extra or metadata.get("required") or metadata.get("additionalProperties"):
        detail = (
            "must not specify anything other than name and generateName, but metadata is implicitly specified"
        )
        found.append(causes.forbidden(f"{path}.properties[metadata]", detail))


def _check_node(schema: dict[str, Any], path: str, found: list[Cause]) -> None:
    _check_junctors(schema, schema, path, found)
    pattern = schema.get("pattern")
    if pattern and not is_pattern(pattern):
        detail = "must be a valid regular expression, but isn't"
        found.append(causes.invalid(f"{path}.pattern", pattern, detail))
    if schema.get("uniqueItems"):
        detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        found.append(causes.forbidden(f"{path}.uniqueItems", detail))
    if schema.get("$ref"):
        found.append(causes.forbidden(f"{path}.$ref", "$ref is not supported"))
    if schema.get("properties") and schema.get("additionalProperties"):
        detail = "additionalProperties and properties are mutual exclusive"
        found.append(causes.forbidden(f"{path}.additionalProperties", detail))
    if schema.get("type") == "array" and not isinstance(schema.get("items"), dict):
        found.append(causes.required(f"{path}.items", "must be specified"))
    _check_list_type(schema, path, found)
    for name, member in (schema.get("properties") or {}).items():
        _check_member(member, f"{path}.properties[{name}]", "object fields", found)
    if isinstance(schema.get("additionalProperties"), dict):
        _check_member(schema["additionalProperties"], f"{path}.additionalProperties", "object fields", found)
    if isinstance(schema.get("items"), dict):
        _check_member(schema["items"], f"{path}.items", "array items", found)


def _check_member(schema: dict[str, Any], path: str, what: str, found: list[Cause]) -> None:
    untyped = schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
    if not schema.get("type") and not untyped:
        found.append(causes.required(f"{path}.type", f"must not be empty for specified {what}"))
    if schema.get("x-kubernetes-int-or-string") and schema.get("type"):
        detail = "must be empty if x-kubernetes-int-or-string is true"
        found.append(causes.invalid(f"{path}.type", schema["type"], detail))
    _check_node(schema, path, found)


def _check_junctor(one: dict[str, Any], outer: dict[str, Any], path: str, found: list[Cause]) -> None:
    int_or_string = outer.get("x-kubernetes-int-or-string")
    found.extend(
        causes.forbidden(f"{path}.{word}", _EMPTY)
        for word in _NOT_IN_JUNCTORS
        if one.get(word) and not (word == "type" and int_or_string)
    )
    properties = outer.get("properties") or {}
    for name, member in (one.get("properties") or {}).items():
        if name not in properties:
            where = path.rpartition(".")[0]
            detail = f"because it is defined in {path.removeprefix(where + '.')}.properties[{name}]"
            found.append(causes.required(f"{where}.properties[{name}]", detail))
        else:
            _check_junctor(member, properties[name], f"{path}.properties[{name}]", found)
    _check_junctors(one, outer, path, found)


def _check_junctors(one: dict[str, Any], outer: dict[str, Any], path: str, found: list[Cause]) -> None:
    for word in ("allOf", "anyOf", "oneOf"):
        for index, nested in enumerate(one.get(word) or ()):
            _check_junctor(nested, outer, f"{path}.{word}[{index}]", found)
    if isinstance(one.get("not"), dict):
        _check_junctor(one["not"], outer, f"{path}.not", found)


def _check_list_type(schema: dict[str, Any], path: str, found: list[Cause]) -> None:
    kind = schema.get("x-kubernetes-list-type")
    keys = schema.get("x-kubernetes-list-map-keys") or []
    if kind is None:
        if keys:
            detail = "must be map if x-kubernetes-list-map-keys is non-empty"
            found.append(causes.required(f"{path}.x-kubernetes-list-type", detail))
        return
    if kind not in ("atomic", "set", "map"):
        found.append(causes.not_supported(f"{path}.x-kubernetes-list-type", kind, ["atomic", "set", "map"]))
    if schema.get("type") != "array":
        detail = "must be array if x-kubernetes-list-type is specified"
        found.append(causes.invalid(f"{path}.type", schema.get("type", ""), detail))
    items = schema.get("items") or {}
    if kind == "map" and not keys:
        detail = "must not be empty if x-kubernetes-list-type is map"
        found.append(causes.required(f"{path}.x-kubernetes-list-map-keys", detail))
    if kind == "map" and items.get("type") != "object":
        detail = "must be object if parent array's x-kubernetes-list-type is map"
        found.append(causes.invalid(f"{path}.items.type", items.get("type", ""), detail))
    for index, key in enumerate(keys):
        member = (items.get("properties") or {}).get(key)
        if member is None:
            detail = "entries must all be names of item properties"
            found.append(causes.invalid(f"{path}.x-kubernetes-list-map-keys[{index}]", key, detail))
        elif "default" not in member and key not in (items.get("required") or ()):
            detail = (
                "this property is in x-kubernetes-list-map-keys, "
                "so it must have a default or be a required property"
            )
            found.append(causes.required(f"{path}.items.properties[{key}].default", detail))


def _check_values(schema: dict[str, Any], path: str, found: list[Cause]) -> None:
    """Defaults must be valid and rules must compile; judged only under a structural schema."""
    if schema.get("default") is not None:
        default = json.loads(json.dumps(schema["default"]))
        apply_defaults(default, schema)
        for cause in validate(default, schema):
            tail = "" if cause.field == causes.NO_FIELD else f".{cause.field}"
            found.append(Cause(cause.reason, cause.message, f"{path}.default{tail}"))
    for index, rule in enumerate(schema.get("x-kubernetes-validations") or ()):
        _check_rule(rule, schema, f"{path}.x-kubernetes-validations[{index}]", found)
    for name, member in (schema.get("properties") or {}).items():
        _check_values(member, f"{path}.properties[{name}]", found)
    for word in ("additionalProperties", "items"):
        if isinstance(schema.get(word), dict):
            _check_values(schema[word], f"{path}.{word}", found)


def _check_rule(rule: dict[str, Any], schema: dict[str, Any], path: str, found: list[Cause]) -> None:
    text = str(rule.get("rule") or "").strip()
    if not text:
        found.append(causes.required(f"{path}.rule", "rule is not specified"))
        return
    complaint = check_syntax(text) or _undefined_field(text, schema)
    if complaint:
        found.append(causes.invalid(f"{path}.rule", _shown_rule(rule), f"compilation failed: {complaint}"))
    expression = str(rule.get("messageExpression") or "").strip()
    if expression:
        complaint = check_syntax(expression) or _undefined_field(expression, schema)
        if complaint:
            detail = f"messageExpression compilation failed: {complaint}"
            found.append(causes.invalid(f"{path}.messageExpression", _shown_rule(rule), detail))


def _shown_rule(rule: dict[str, Any]) -> Any:
    return causes.GoStruct(
        Rule=rule.get("rule", ""),
        Message=rule.get("message", ""),
        MessageExpression=rule.get("messageExpression", ""),
        Reason=rule.get("reason"),
        FieldPath=rule.get("fieldPath", ""),
        OptionalOldSelf=rule.get("optionalOldSelf"),
    )


def _undefined_field(expression: str, schema: dict[str, Any]) -> str | None:
    """A member of ``self`` the schema does not declare, in the words of the type checker."""
    for match in _SELF_FIELDS.finditer(expression):
        node: dict[str, Any] | None = schema
        column = match.start() + len("self")
        for part in match[1].split(".")[1:]:
            if (
                node is None
                or node.get("type") != "object"
                or node.get("x-kubernetes-preserve-unknown-fields")
            ):
                break
            additional = node.get("additionalProperties")
            members = {field_name(name): member for name, member in (node.get("properties") or {}).items()}
            if members and part not in members and not additional:
                return (
                    f"ERROR: <input>:1:{column + 1}: undefined field '{part}'\n"
                    f" | {expression}\n | {'.' * column}^"
                )
            node = members.get(part, additional if isinstance(additional, dict) else None)
            column += len(part) + 1
    return None
