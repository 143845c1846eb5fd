"""Structs to structural OpenAPI schemas, as CustomResourceDefinitions demand them.

msgspec makes the JSON schema; this module inlines references, drops ``null`` and what Python alone needs,
and adds the descriptions: the docstring of a struct, and the string below a field.
"""

import ast
import inspect
import itertools
import textwrap
from typing import Any, Final

import msgspec

from spo.api.constraints import INT_OR_STRING, PRESERVE_UNKNOWN, STORED_DEFAULT
from spo.errors import SpoError

Schema = dict[str, Any]

_DROPPED: Final = frozenset({"title", "default"})
"""msgspec writes them; Python's defaults stay out of the API, see STORED_DEFAULT."""

_FIRST: Final = ("description", "type", "format", "enum", "pattern", "required")
_LAST: Final = ("properties", "additionalProperties", "items")

_METADATA: Final = "metadata"
"""The API server knows it by itself, and lets no schema describe it."""

_INT_OR_STRING_BRANCHES: Final = ({"type": "integer"}, {"type": "string"})


class UndescribedFieldError(SpoError):
    """A field has no string below it."""

    def __init__(self, struct: str, field: str) -> None:
        super().__init__(struct, field)
        self.struct = struct
        self.field = field

    def __str__(self) -> str:
        return f"{self.struct}.{self.field} has no description; write a string below the field"


class NotStructuralError(SpoError):
    """A type has no structural schema."""

    def __init__(self, schema: Schema) -> None:
        super().__init__(schema)
        self.schema = schema

    def __str__(self) -> str:
        return f"no structural schema for {self.schema}; use one type, or int_or_string"


def structural_schema(struct: type[msgspec.Struct]) -> Schema:
    """The schema of a struct with everything it holds.

    Raises:
        UndescribedFieldError: a field has no description.
        NotStructuralError: a field takes several types.
    """
    (root,), components = msgspec.json.schema_components((struct,), ref_template="{name}")
    structs = {found.__name__: found for found in _structs_in(struct)}
    described = {name: _described(components[name], found) for name, found in structs.items()}
    return _structural(root, described)


def _structs_in(struct: type[msgspec.Struct]) -> set[type[msgspec.Struct]]:
    found: set[type[msgspec.Struct]] = set()
    pending: list[Any] = [msgspec.inspect.type_info(struct)]
    while pending:
        node = pending.pop()
        if isinstance(node, msgspec.inspect.StructType):
            if node.cls not in found:
                found.add(node.cls)
                pending += [field.type for field in node.fields if field.name != _METADATA]
        elif isinstance(node, msgspec.inspect.UnionType):
            pending += node.types
        elif isinstance(node, msgspec.inspect.DictType):
            pending.append(node.value_type)
        elif isinstance(node, msgspec.inspect.ListType):
            pending.append(node.item_type)
        elif isinstance(node, msgspec.inspect.Metadata):
            pending.append(node.type)
    return found


def _described(component: Schema, struct: type[msgspec.Struct]) -> Schema:
    """The component with a description on each property, without the metadata of Kubernetes."""
    texts = _field_texts(struct)
    properties = dict(component["properties"])
    for field in msgspec.structs.fields(struct):
        if field.name == _METADATA:
            del properties[field.encode_name]
        elif field.name not in texts:
            raise UndescribedFieldError(struct.__name__, field.name)
        else:
            text = {"description": texts[field.name]}
            properties[field.encode_name] = {**text, **properties[field.encode_name]}
    required = [name for name in component.get("required", ()) if name != _METADATA]
    return {**component, "description": _one_line(component["description"]), "properties": properties} | {
        "required": required
    }


def _field_texts(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The strings below the fields of a struct and of its bases; Python itself does not keep them."""
    texts: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        if not _is_own_struct(base):
            continue
        for field, text in itertools.pairwise(_class_body(base)):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
                and isinstance(text.value.value, str)
            ):
                texts[field.target.id] = _one_line(text.value.value)
    return texts


def _class_body(struct: type) -> list[ast.stmt]:
    module = ast.parse(textwrap.dedent(inspect.getsource(struct)))
    return next(node.body for node in module.body if isinstance(node, ast.ClassDef))


def _is_own_struct(base: type) -> bool:
    return issubclass(base, msgspec.Struct) and base is not msgspec.Struct


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")


def _structural(node: Schema, components: dict[str, Schema]) -> Schema:
    """One node without references, null and foreign keywords; keys in a fixed order."""
    if "$ref" in node:
        beside = {key: value for key, value in node.items() if key != "$ref"}
        return _structural({**components[node["$ref"]], **beside}, components)
    if node.get(INT_OR_STRING):
        return _ordered({**node, "anyOf": [dict(branch) for branch in _INT_OR_STRING_BRANCHES]})
    if "anyOf" in node:
        beside = {key: value for key, value in node.items() if key != "anyOf"}
        branches = [branch for branch in node["anyOf"] if branch != {"type": "null"}]
        if len(branches) != 1:
            raise NotStructuralError(node)
        return _structural({**branches[0], **beside}, components)
    if "type" not in node:
        raise NotStructuralError(node)
    result = dict(node)
    if "properties" in node:
        result["properties"] = {
            name: _structural(member, components) for name, member in node["properties"].items()
        }
    if isinstance(node.get("additionalProperties"), dict):
        result["additionalProperties"] = _structural(node["additionalProperties"], components)
    if "items" in node:
        result["items"] = _structural(node["items"], components)
    if node.get(PRESERVE_UNKNOWN):
        result.pop("additionalProperties", None)
    return _ordered(result)


def _ordered(node: Schema) -> Schema:
    """What a reader looks for first comes first; empty ``required`` goes."""
    kept = {key: value for key, value in node.items() if key not in _DROPPED}
    if STORED_DEFAULT in kept:
        kept["default"] = kept.pop(STORED_DEFAULT)
    if not kept.get("required"):
        kept.pop("required", None)
    return {key: kept[key] for key in sorted(kept, key=_place)}


def _place(keyword: str) -> tuple[int, str]:
    if keyword in _FIRST:
        return _FIRST.index(keyword), ""
    return len(_FIRST) + _LAST.index(keyword) + 1 if keyword in _LAST else len(_FIRST), keyword
