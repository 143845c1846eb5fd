"""Values read through a schema: which fields they have, how two of them differ, how they merge.

Pure. The rules of structured merge and diff as the real server applies them: lists are atomic, sets or
maps; maps and structs are granular unless declared atomic; what the schema leaves open is deduced from the
value (maps granular, lists atomic).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from onenode.causes import go_value
from onenode.field_paths import SELF, FieldPath, path_text, to_tree
from onenode.list_types import canonical
from onenode.pruning import METADATA_SCHEMA

__all__ = [
    "Comparison",
    "compare",
    "field_set",
    "merge",
    "named_fields",
    "remove_items",
    "typed_schema",
    "typing_errors",
]

Schema = Mapping[str, Any]
_DEDUCED: Final[Schema] = {}
"""Schema of a value whose type nobody declared."""
_STRING: Final[Schema] = {"type": "string"}


class _Absent:
    """Stands for a member that does not exist; None is a value."""


_ABSENT: Final = _Absent()


def typed_schema(schema: Schema) -> Schema:
    """The schema of a whole object with the members every object has."""
    common = {"apiVersion": _STRING, "kind": _STRING, "metadata": METADATA_SCHEMA}
    return {**schema, "type": "object", "properties": {**(schema.get("properties") or {}), **common}}


def _kind(schema: Schema, value: Any) -> str:
    """``map``, ``list`` or ``scalar``."""
    if schema.get("x-kubernetes-int-or-string"):
        return "scalar"
    declared = schema.get("type")
    if not declared:
        return "map" if isinstance(value, dict) else ("list" if isinstance(value, list) else "scalar")
    return {"object": "map", "array": "list"}.get(declared, "scalar")


def _is_leaf(schema: Schema, kind: str) -> bool:
    """True for a scalar, and for a list or map that changes as a whole."""
    if kind == "map":
        return schema.get("x-kubernetes-map-type") == "atomic"
    return kind == "scalar" or schema.get("x-kubernetes-list-type") not in ("set", "map")


def _is_declared(schema: Schema, name: str) -> bool:
    return name in (schema.get("properties") or {})


def _member(schema: Schema, name: str) -> Schema | None:
    """Schema of a member of a map or struct; None if it may not exist."""
    properties = schema.get("properties") or {}
    if name in properties:
        member: Schema = properties[name]
        return member
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict):
        return additional
    if additional is True or schema.get("x-kubernetes-preserve-unknown-fields") or not schema.get("type"):
        return _DEDUCED
    return None


def _item_element(item: Any, schema: Schema) -> str:
    """The path element of an item of a set or map list."""
    if schema.get("x-kubernetes-list-type") == "set" or not isinstance(item, dict):
        return f"v:{canonical(item)}"
    properties = (schema.get("items") or {}).get("properties") or {}
    key: dict[str, Any] = {}
    for name in schema.get("x-kubernetes-list-map-keys") or ():
        if name in item:
            key[name] = item[name]
        elif "default" in properties.get(name, {}):
            key[name] = properties[name]["default"]
    return f"k:{canonical(key)}"


def typing_errors(value: Any, schema: Schema, path: FieldPath = ()) -> list[str]:
    """Why a value cannot be read through the schema, in the words of the real server."""
    kind = _kind(schema, value)
    where = path_text(path)
    if value is None:
        return []
    if kind == "map":
        if not isinstance(value, dict):
            return [f"{where}: expected map, got {go_value(value)}"]
        found: list[str] = []
        for name, held in value.items():
            child = (*path, f"f:{name}")
            member = _member(schema, name)
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
    keyed = not _is_leaf(schema, "list")
    seen: set[str] = set()
    items = schema.get("items") or _DEDUCED
    for index, item in enumerate(value):
        element = f"i:{index}"
        if keyed:
            keys = schema.get("x-kubernetes-list-map-keys") or ()
            if schema.get("x-kubernetes-list-type") == "map" and not isinstance(item, dict):
                found.append(f"{path_text((*path, element))}: expected map, got {go_value(item)}")
                continue
            element = _item_element(item, schema)
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
    kind = _kind(schema, value)
    if _is_leaf(schema, kind):
        found.add(path)
    elif isinstance(value, dict):
        for name, held in value.items():
            child = (*path, f"f:{name}")
            member = _member(schema, name)
            _collect(held, _DEDUCED if member is None else member, child, found)
            if held is None or held == {} or not _is_declared(schema, name):
                found.add(child)
    elif isinstance(value, list):
        for item in value:
            child = (*path, _item_element(item, schema))
            _collect(item, schema.get("items") or _DEDUCED, child, found)
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
        shown = old if new is _ABSENT or new is None else new
        kind = _kind(schema, shown)
        if not self._is_whole(old, new, schema, kind):
            if kind == "map":
                self._visit_members(old, new, schema, path)
            else:
                self._visit_items(old, new, schema, path)
        elif old is not _ABSENT and new is not _ABSENT and canonical(old) != canonical(new):
            self.modified.add(path)
        if old is _ABSENT:
            self.added.add(path)
        elif new is _ABSENT:
            self.removed.add(path)

    @staticmethod
    def _is_whole(old: Any, new: Any, schema: Schema, kind: str) -> bool:
        if _is_leaf(schema, kind) or not (_has_members(old) or _has_members(new)):
            return True
        wanted = dict if kind == "map" else list
        return not all(isinstance(one, wanted) or one is None or one is _ABSENT for one in (old, new))

    def _visit_members(self, old: Any, new: Any, schema: Schema, path: FieldPath) -> None:
        before = old if isinstance(old, dict) else {}
        after = new if isinstance(new, dict) else {}
        for name in {**before, **after}:
            member = _member(schema, name)
            self.visit(
                before.get(name, _ABSENT),
                after.get(name, _ABSENT),
                _DEDUCED if member is None else member,
                (*path, f"f:{name}"),
            )

    def _visit_items(self, old: Any, new: Any, schema: Schema, path: FieldPath) -> None:
        before = _by_element(old, schema)
        after = _by_element(new, schema)
        items = schema.get("items") or _DEDUCED
        for element in {**before, **after}:
            self.visit(before.get(element, _ABSENT), after.get(element, _ABSENT), items, (*path, element))


def _has_members(value: Any) -> bool:
    return isinstance(value, dict | list) and bool(value)


def _by_element(value: Any, schema: Schema) -> dict[str, Any]:
    items = value if isinstance(value, list) else []
    return {_item_element(item, schema): item for item in items}


def merge(live: Any, applied: Any, schema: Schema) -> Any:
    """``applied`` over ``live``; parts only one of them has are kept."""
    merged = _merge(live, applied, schema)
    return None if merged is _ABSENT else merged


def _merge(live: Any, applied: Any, schema: Schema) -> Any:
    if applied is _ABSENT:
        return live
    if live is _ABSENT:
        live = None
    kind = _kind(schema, applied if applied is not None else live)
    if _is_leaf(schema, kind) or not (_has_members(live) or _has_members(applied)):
        return applied
    if kind == "map" and isinstance(applied, dict | None) and isinstance(live, dict | None):
        before, after = live or {}, applied or {}
        merged: dict[str, Any] = {}
        for name in {**before, **after}:
            member = _member(schema, name)
            merged[name] = _merge(
                before.get(name, _ABSENT), after.get(name, _ABSENT), _DEDUCED if member is None else member
            )
        return merged
    if kind == "list" and isinstance(applied, list | None) and isinstance(live, list | None):
        return _merge_items(live or [], applied or [], schema)
    return applied


def _merge_items(live: list[Any], applied: list[Any], schema: Schema) -> list[Any]:
    """Items of both: shared ones in the order of ``applied``, the others near where they were."""
    items = schema.get("items") or _DEDUCED
    left = [_item_element(item, schema) for item in live]
    right = [_item_element(item, schema) for item in applied]
    lefts = dict(zip(left, live, strict=True))
    rights = dict(zip(right, applied, strict=True))
    shared = [element for element in right if element in lefts]
    merged: list[Any] = []
    done: set[str] = set()
    at_left = at_right = 0
    while at_left < len(left) or at_right < len(right):
        if at_left < len(left):
            element = left[at_left]
            if element not in rights:
                merged.append(live[at_left])
                at_left += 1
                continue
            out_of_turn = at_right < len(right) and bool(shared) and shared[0] != element
            if element in done or out_of_turn:
                at_left += 1
                continue
        if at_right < len(right):
            element = right[at_right]
            done.add(element)
            merged.append(_merge(lefts.get(element, _ABSENT), rights[element], items))
            at_right += 1
            if shared and shared[0] == element:
                shared.pop(0)
    return merged


def named_fields(paths: Iterable[FieldPath], schema: Schema) -> set[FieldPath]:
    """The set, and every declared field on the way to its members."""
    named = set(paths)

    def visit(node: Mapping[str, Any], at: Schema, path: FieldPath) -> None:
        for element, child in node.items():
            if element == SELF:
                continue
            here = (*path, element)
            if element.startswith("f:"):
                if set(child) != {SELF} and _is_declared(at, element[2:]):
                    named.add(here)
                member = _member(at, element[2:])
            else:
                member = at.get("items")
            visit(child, _DEDUCED if member is None else member, here)

    visit(to_tree(named), schema, ())
    return named


def remove_items(
    value: Any, paths: Iterable[FieldPath], schema: Schema, *, drop_emptied: bool = False
) -> Any:
    """The value without the fields and items at ``paths``.

    What becomes empty becomes null, or disappears with ``drop_emptied``.
    """
    return _Remover(drop_emptied).remove(value, to_tree(paths), schema)


class _Remover:
    def __init__(self, drop_emptied: bool) -> None:
        self.drop_emptied = drop_emptied

    def remove(self, value: Any, tree: Mapping[str, Any], schema: Schema) -> Any:
        if not isinstance(value, dict | list) or not value:
            return None if isinstance(value, dict | list) else value
        if _is_leaf(schema, _kind(schema, value)):
            return None
        if isinstance(value, dict):
            pairs = [(f"f:{name}", held) for name, held in value.items()]
            kept = self._remaining(pairs, tree, lambda element: _member(schema, element[2:]))
            return {element[2:]: held for element, held in kept} or None
        pairs = [(_item_element(item, schema), item) for item in value]
        kept = self._remaining(pairs, tree, lambda _: schema.get("items"))
        return [item for _, item in kept] or None

    def _remaining(
        self,
        pairs: Iterable[tuple[str, Any]],
        tree: Mapping[str, Any],
        schema_at: Callable[[str], Schema | None],
    ) -> list[tuple[str, Any]]:
        kept: list[tuple[str, Any]] = []
        for element, held in pairs:
            branch = tree.get(element)
            if branch is None:
                kept.append((element, held))
            elif SELF not in branch:
                left = self.remove(held, branch, schema_at(element) or _DEDUCED)
                if left is not None or not self.drop_emptied:
                    kept.append((element, left))
        return kept
