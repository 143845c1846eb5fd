"""Paths of fields and sets of them, as ``metadata.managedFields`` stores them.

Pure. A path is a tuple of elements in their stored form: ``f:spec`` (field), ``k:{"name":"c"}`` (item by
key), ``v:"x"`` (item by value), ``i:0`` (item by position).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from onenode.causes import go_value

__all__ = ["SELF", "FieldPath", "FieldsError", "fields_v1", "parse_fields_v1", "path_text", "to_tree"]

FieldPath = tuple[str, ...]

SELF: Final = "."
"""Marks in a tree that the path to this node is itself a member of the set."""

_MAX_DEPTH: Final = 200


class FieldsError(ValueError):
    """A ``fieldsV1`` document is malformed."""


def to_tree(paths: Iterable[FieldPath]) -> dict[str, Any]:
    """A set as nested objects; every member node carries ``SELF``."""
    root: dict[str, Any] = {}
    for path in paths:
        node = root
        for element in path:
            node = node.setdefault(element, {})
        node[SELF] = {}
    return root


def fields_v1(paths: Iterable[FieldPath]) -> dict[str, Any]:
    """The stored form of a set: sorted, ``SELF`` only where a node has children."""

    def plain(node: dict[str, Any]) -> dict[str, Any]:
        if set(node) == {SELF}:
            return {}
        return {name: {} if name == SELF else plain(node[name]) for name in sorted(node)}

    return plain(to_tree(paths))


def parse_fields_v1(document: Any) -> frozenset[FieldPath]:
    """The set a stored form stands for.

    Raises:
        FieldsError: it is not a form this module writes.
    """
    found: set[FieldPath] = set()
    _collect(document, (), found)
    return frozenset(found)


def _collect(node: Any, path: FieldPath, found: set[FieldPath]) -> None:
    if not isinstance(node, dict) or len(path) > _MAX_DEPTH:
        raise FieldsError("fieldsV1 must be nested objects")
    if path and not node:
        found.add(path)
    for name, child in node.items():
        if name == SELF:
            if path:
                found.add(path)
        elif name[:2] in ("f:", "k:", "v:", "i:"):
            _check_element(name)
            _collect(child, (*path, name), found)
        else:
            raise FieldsError(f"unknown path element {name!r}")


def _check_element(name: str) -> None:
    if name.startswith("f:"):
        return
    try:
        value = json.loads(name[2:])
    except ValueError as error:
        raise FieldsError(f"unreadable path element {name!r}") from error
    if name.startswith("k:") and not isinstance(value, dict):
        raise FieldsError(f"unreadable path element {name!r}")


def path_text(path: FieldPath) -> str:
    """A path as error texts show it, such as ``.spec.containers[name="c"].image``."""
    return "".join(_element_text(element) for element in path)


def _element_text(element: str) -> str:
    kind, text = element[:2], element[2:]
    if kind == "f:":
        return f".{text}"
    if kind == "i:":
        return f"[{text}]"
    value = json.loads(text)
    if kind == "v:":
        return f"[={go_value(value)}]"
    return f"[{','.join(f'{name}={go_value(value[name])}' for name in sorted(value))}]"
