"""Structural schemas of the built-in kinds, derived from the type declarations of ``lightkube.models``.

Pure. Why derived and not stored: docs/decisions/0051. The declarations carry names, types and descriptions;
``builtin_facts`` adds what they lack. Schemas are built on first use, shared and must not be changed.
"""

from __future__ import annotations

import functools
import importlib
import re
from types import ModuleType
from typing import Any, Final

from onenode import builtin_facts as facts
from onenode.pruning import KEEP_DOCUMENT_ORDER, METADATA_SCHEMA

__all__ = ["GO_PACKAGE", "GO_TYPE", "UnknownKindError", "schema_of", "struct_schema"]

GO_TYPE: Final = "x-onenode-go-type"
"""Schema extension: name of the Go type, which decoding errors cite."""

GO_PACKAGE: Final = "x-onenode-go-package"
"""Schema extension: where that type is declared, such as ``core_v1``; only on structs."""

_SCALARS: Final[dict[str, dict[str, Any]]] = {
    "str": {"type": "string"},
    "bool": {"type": "boolean"},
    "float": {"type": "number", "format": "double"},
    "Time": {"type": "string", "format": "date-time", "nullable": True, GO_TYPE: "Time"},
    "MicroTime": {"type": "string", "format": "date-time", "nullable": True, GO_TYPE: "MicroTime"},
    "Quantity": {
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "x-kubernetes-int-or-string": True,
        GO_TYPE: "Quantity",
    },
    "IntOrString": {
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "x-kubernetes-int-or-string": True,
        GO_TYPE: "IntOrString",
    },
    "FieldsV1": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    "Patch": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    "RawExtension": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    "JSON": {"x-kubernetes-preserve-unknown-fields": True},
    "JSONSchemaPropsOrArray": {"x-kubernetes-preserve-unknown-fields": True},
    "JSONSchemaPropsOrBool": {"x-kubernetes-preserve-unknown-fields": True},
    "JSONSchemaPropsOrStringArray": {"x-kubernetes-preserve-unknown-fields": True},
    # Recursive: decoded by ``json_schema_props``, judged by ``check_structural``.
    "JSONSchemaProps": {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        GO_TYPE: "JSONSchemaProps",
    },
}
_PARAMETER: Final = re.compile(r"^ *\* \*\*(\w+)\*\* ``.*?`` - ?", re.MULTILINE)


class UnknownKindError(LookupError):
    """There is no built-in kind of this name."""


@functools.lru_cache(maxsize=256)
def schema_of(group: str, version: str, kind: str) -> dict[str, Any]:
    """The structural schema of a built-in kind; shared, not to be changed.

    Raises:
        UnknownKindError: the kind does not exist in that group and version.
    """
    short = group.removesuffix(".k8s.io").removesuffix(".authorization") or "core"
    module = _module(f"{short}_{version}")
    declared = getattr(module, kind, None) if module is not None else None
    if module is None or not hasattr(declared, "__struct_fields__"):
        raise UnknownKindError(f"no built-in kind {kind} in {group or 'core'}/{version}")
    schema = dict(_struct(module.__name__.rpartition(".")[2], kind))
    schema["x-kubernetes-group-version-kind"] = [{"group": group, "version": version, "kind": kind}]
    schema[KEEP_DOCUMENT_ORDER] = True
    return schema


@functools.lru_cache(maxsize=64)
def _module(name: str) -> ModuleType | None:
    if not name.isidentifier():
        return None
    try:
        return importlib.import_module(f"lightkube.models.{name}")
    except ModuleNotFoundError:
        return None


def struct_schema(package: str, name: str) -> dict[str, Any]:
    """The schema of a declared type, with its description and those of its fields."""
    return _struct(package, name)


@functools.lru_cache(maxsize=2048)
def _struct(module_name: str, name: str) -> dict[str, Any]:
    module = _module(module_name)
    declared = getattr(module, name)
    if not hasattr(declared, "__struct_fields__"):  # an alias of dict: the declarations do not tell more
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    own_text, texts = _descriptions(declared.__doc__ or "")
    qualified = f"{module_name}.{name}"
    properties: dict[str, Any] = {}
    required: list[str] = []
    for attribute, wire in zip(declared.__struct_fields__, declared.__struct_encode_fields__, strict=True):
        annotation = declared.__annotations__[attribute].strip("'\"")
        optional = annotation.startswith("Optional[")
        bare = annotation.removeprefix("Optional[").removesuffix("]") if optional else annotation
        field = dict(_field(module_name, qualified, wire, bare))
        if texts.get(attribute):
            field["description"] = texts[attribute]
        properties[wire] = field
        if not optional:
            required.append(wire)
    schema: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        GO_TYPE: name,
        GO_PACKAGE: module_name,
    }
    if required:
        schema["required"] = required
    if own_text:
        schema["description"] = own_text
    if qualified in facts.ATOMIC_STRUCTS:
        schema["x-kubernetes-map-type"] = "atomic"
    return schema


def _field(module_name: str, owner: str, name: str, annotation: str) -> dict[str, Any]:
    path = f"{owner}.{name}"
    if annotation.startswith("List["):
        return _list(module_name, path, name, annotation[len("List[") : -1])
    if annotation == "dict":
        return _map(path)
    schema = _type(module_name, name, annotation)
    extra: dict[str, Any] = {}
    if path in facts.DEFAULTS:
        extra["default"] = facts.DEFAULTS[path]
    if path in facts.RETAIN_KEYS_STRUCTS:
        extra["x-kubernetes-patch-strategy"] = "retainKeys"
    return {**schema, **extra} if extra else schema


def _list(module_name: str, path: str, name: str, item: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "array", "items": _type(module_name, name, item)}
    fact = facts.LIST_MAPS.get(path)
    if fact is not None:
        schema["x-kubernetes-list-type"] = "map" if fact.keys else "atomic"
        if fact.keys:
            schema["x-kubernetes-list-map-keys"] = list(fact.keys)
        if fact.merge_key is not None:
            schema["x-kubernetes-patch-strategy"] = fact.strategy
            schema["x-kubernetes-patch-merge-key"] = fact.merge_key
    elif path in facts.LIST_SETS:
        schema["x-kubernetes-list-type"] = "set"
        strategy = facts.LIST_SETS[path]
        if strategy:
            schema["x-kubernetes-patch-strategy"] = strategy
    else:
        schema["x-kubernetes-list-type"] = "atomic"
    return schema


def _map(path: str) -> dict[str, Any]:
    values = facts.MAP_VALUES.get(path.partition(".")[2], _SCALARS["str"])
    schema: dict[str, Any] = {
        "type": "object",
        "additionalProperties": _SCALARS["Quantity"] if isinstance(values, str) else values,
    }
    if path in facts.ATOMIC_MAPS:
        schema["x-kubernetes-map-type"] = "atomic"
    return schema


def _type(module_name: str, field: str, annotation: str) -> dict[str, Any]:
    other, _, name = annotation.rpartition(".")
    if name == "int":
        return {"type": "integer", "format": "int64" if field in facts.INT64_FIELDS else "int32"}
    if name in _SCALARS:
        return _SCALARS[name]
    if name == "dict":
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    if name == "ObjectMeta":
        return {**METADATA_SCHEMA, GO_PACKAGE: "meta_v1"}
    return _struct(other or module_name, name)


def _descriptions(doc: str) -> tuple[str, dict[str, str]]:
    """The text about a type and about each of its fields."""
    own, _, parameters = doc.partition("**parameters**")
    parts = _PARAMETER.split(parameters)
    texts = {name: _joined(text) for name, text in zip(parts[1::2], parts[2::2], strict=True)}
    return _joined(own), texts


def _joined(text: str) -> str:
    """Paragraphs unwrapped; an empty line stays."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
