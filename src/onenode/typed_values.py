"""Values read through a schema: which fields they have, and how two of them differ.

Pure. The rules of structured merge and diff as the real server applies them: lists are atomic, sets or
maps; maps and structs are granular unless declared atomic; what the schema leaves open is deduced from the
value (maps granular, lists atomic).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from onenode.causes import go_value
from onenode.field_paths import SELF, FieldPath, path_text, to_tree
from onenode.list_types import canonical
from onenode.typed_schema import (
    ABSENT,
    DEDUCED,
    Schema,
    has_members,
    is_declared,
    is_leaf,
    item_element,
    kind_of,
    member_of,
)

__all__ = ["Comparison", "compare", "field_set", "named_fields", "typing_errors"]


def typing_errors(value: Any, schema: Schema, path: FieldPath = ()) -> list[str]:
    """Why a value cannot be read through the schema, in the words of the real server."""
    kind = kind_of(schema, value)
    where = path_text(path)
    if value is None:
        return []
    if kind == "map":
        if not isinstance(value, dict):
            return [f"{where}: expected map, got {go_value(value)}"]
        found: list[str] = []
        for name, held in value.items():
            child = (*path, f"f:{name}")
            member = member_of(schema, name)
            if member is None:
                found.append(f"{path_text(child)}: field not declared in schema")
            else:
                found.extend(typing_errors(held, member, child))
        return found
    if kind == "list":
        if not isinstance(value, list):
            return [f"{where}: expected list, got {go_value(value)}"]
        return _item_errors(value, schema, path)
    return _scalar_errors(value, schema, where)


def _scalar_errors(value: Any, schema: Schema, where: str) -> list[str]:
    wanted = schema.get("type")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if wanted == "string" and not isinstance(value, str):
        return [f"{where}: expected string, got {go_value(value)}"]
    if wanted in ("integer", "number") and not number:
        return [f"{where}: expected numeric (int or float), got {go_value(value)}"]
    if wanted == "boolean" and not isinstance(value, bool):
        return [f"{where}: expected boolean, got {go_value(value)}"]
    if isinstance(value, dict | list):
        return [f"{where}: expected scalar, got {go_value(value)}"]
    return []


def _item_errors(value: list[Any], schema: Schema, path: FieldPath) -> list[str]:
    found: list[str] = []
    keyed = not is_leaf(schema, "list")
    seen: set[str] = set()
    items = schema.get("items") or DEDUCED
    for index, item in enumerate(value):
        element = f"i:{index}"
        if keyed:
            keys = schema.get("x-kubernetes-list-map-keys") or ()
            if schema.get("x-kubernetes-list-type") == "map" and not isinstance(item, dict):
                found.append(f"{path_text((*path, element))}: expected map, got {go_value(item)}")
                continue
            element = item_element(item, schema)
            missing = [name for name in keys if f'"{name}":' not in element]
            if missing:
                what = (
                    f"associative list with keys has an element that omits key field {go_value(missing[0])}"
                )
                found.append(f"{path_text(path)}: element {index}: {what}")
                continue
            if element in seen:
                found.append(f"{path_text(path)}: duplicate entries for key {path_text((element,))}")
            seen.add(element)
        found.extend(typing_errors(item, items, (*path, element)))
    return found


def field_set(value: Any, schema: Schema) -> set[FieldPath]:
    """The fields an applied configuration names."""
    found: set[FieldPath] = set()
    _collect(value, schema, (), found)
    return found


def _collect(value: Any, schema: Schema, path: FieldPath, found: set[FieldPath]) -> None:
    kind = kind_of(schema, value)
    if is_leaf(schema, kind):
        found.add(path)
    elif isinstance(value, dict):
        for name, held in value.items():
            child = (*path, f"f:{name}")
            member = member_of(schema, name)
            _collect(held, DEDUCED if member is None else member, child, found)
            if held is None or held == {} or not is_declared(schema, name):
                found.add(child)
    elif isinstance(value, list):
        for item in value:
            child = (*path, item_element(item, schema))
            _collect(item, schema.get("items") or DEDUCED, child, found)
            found.add(child)


class Comparison(NamedTuple):
    """Fields that differ between two values."""

    added: frozenset[FieldPath]
    modified: frozenset[FieldPath]
    removed: frozenset[FieldPath]


def compare(old: Any, new: Any, schema: Schema) -> Comparison:
    """Which fields were added, modified or removed."""
    walk = _Compare()
    walk.visit(old, new, schema, ())
    return Comparison(frozenset(walk.added), frozenset(walk.modified), frozenset(walk.removed))


class _Compare:
    def __init__(self) -> None:
        self.added: set[FieldPath] = set()
        self.modified: set[FieldPath] = set()
        self.removed: set[FieldPath] = set()

    def visit(self, old: Any, new: Any, schema: Schema, path: FieldPath) -> None:
        if old is new:
            return
        shown = old if new is ABSENT or new is None else new
        kind = kind_of(schema, shown)
        if not self._is_whole(old, new, schema, kind):
            if kind == "map":
                self._visit_members(old, new, schema, path)
            else:
                self._visit_items(old, new, schema, path)
        elif old is not ABSENT and new is not ABSENT and canonical(old) != canonical(new):
            self.modified.add(path)
        if old is ABSENT:
            self.added.add(path)
        elif new is ABSENT:
            self.removed.add(path)

    @staticmethod
    def _is_whole(old: Any, new: Any, schema: Schema, kind: str) -> bool:
        if is_leaf(schema, kind) or not (has_members(old) or has_members(new)):
            return True
        wanted = dict if kind == "map" else list
        return not all(isinstance(one, wanted) or one is None or one is ABSENT for one in (old, new))

    def _visit_members(self, old: Any, new: Any, schema: Schema, path: FieldPath) -> None:
        before = old if isinstance(old, dict) else {}
        after = new if isinstance(new, dict) else {}
        for name in {**before, **after}:
            member = member_of(schema, name)
            self.visit(
                before.get(name, ABSENT),
                after.get(name, ABSENT),
                DEDUCED if member is None else member,
                (*path, f"f:{name}"),
            )

    def _visit_items(self, old: Any, new: Any, schema: Schema, path: FieldPath) -> None:
        before = _by_element(old, schema)
        after = _by_element(new, schema)
        items = schema.get("items") or DEDUCED
        for element in {**before, **after}:
            self.visit(before.get(element, ABSENT), after.get(element, ABSENT), items, (*path, element))


def _by_element(value: Any, schema: Schema) -> dict[str, Any]:
    items = value if isinstance(value, list) else []
    return {item_element(item, schema): item for item in items}


def named_fields(paths: Iterable[FieldPath], schema: Schema) -> set[FieldPath]:
    """The set, and every declared field on the way to its members."""
    named = set(paths)

    def visit(node: Mapping[str, Any], at: Schema, path: FieldPath) -> None:
        for element, child in node.items():
            if element == SELF:
                continue
            here = (*path, element)
            if element.startswith("f:"):
                if set(child) != {SELF} and is_declared(at, element[2:]):
                    named.add(here)
                member = member_of(at, element[2:])
            else:
                member = at.get("items")
            visit(child, DEDUCED if member is None else member, here)

    visit(to_tree(named), schema, ())
    return named
