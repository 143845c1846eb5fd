"""The type of a schema inside a CustomResourceDefinition, which contains itself.

Pure. The schema of built-in kinds leaves it open (documents made from it could not end); decoding follows the
value, not the schema, and uses this one.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["exact_schema"]

Schema = dict[str, Any]

_STRING: Final[Schema] = {"type": "string"}
_BOOLEAN: Final[Schema] = {"type": "boolean"}
_NUMBER: Final[Schema] = {"type": "number"}
_COUNT: Final[Schema] = {"type": "integer", "format": "int64"}
_ANY: Final[Schema] = {}
_RULE: Final[Schema] = {
    "type": "object",
    "x-onenode-go-type": "ValidationRule",
    "properties": {
        **dict.fromkeys(("rule", "message", "messageExpression", "reason", "fieldPath"), _STRING),
        "optionalOldSelf": _BOOLEAN,
    },
}


def _build() -> Schema:
    props: Schema = {"type": "object", "x-onenode-go-type": "JSONSchemaProps"}
    schemas: Schema = {"type": "array", "items": props}
    by_name: Schema = {"type": "object", "additionalProperties": props}
    strings = ("id", "$schema", "$ref", "description", "type", "format", "title", "pattern")
    flags = ("exclusiveMaximum", "exclusiveMinimum", "uniqueItems", "nullable")
    counts = ("maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties")
    extensions = ("preserve-unknown-fields", "embedded-resource", "int-or-string")
    props["properties"] = {
        **dict.fromkeys(strings, _STRING),
        **dict.fromkeys(flags, _BOOLEAN),
        **dict.fromkeys(counts, _COUNT),
        **dict.fromkeys(("maximum", "minimum", "multipleOf"), _NUMBER),
        **dict.fromkeys(("allOf", "anyOf", "oneOf"), schemas),
        **dict.fromkeys(("properties", "patternProperties", "definitions"), by_name),
        **{f"x-kubernetes-{name}": _BOOLEAN for name in extensions},
        "not": props,
        "items": {"x-onenode-either": [props, schemas]},
        "additionalProperties": {"x-onenode-either": [props, _BOOLEAN]},
        "required": {"type": "array", "items": _STRING},
        "enum": {"type": "array", "items": _ANY},
        "x-kubernetes-list-type": _STRING,
        "x-kubernetes-map-type": _STRING,
        "x-kubernetes-list-map-keys": {"type": "array", "items": _STRING},
        "x-kubernetes-validations": {"type": "array", "items": _RULE},
    }
    return props


_PROPS: Final = _build()
"""``x-onenode-either`` lists the two forms a member may have."""


def exact_schema(value: Any, schema: Schema) -> Schema:
    """The schema to decode a value with, where the declared one leaves it open."""
    if schema.get("x-onenode-go-type") == "JSONSchemaProps":
        return _PROPS
    if "x-onenode-either" not in schema:
        return schema
    first: Schema
    second: Schema
    first, second = schema["x-onenode-either"]
    if second["type"] == "array":
        return second if isinstance(value, list) else first
    return second if isinstance(value, bool) else first
