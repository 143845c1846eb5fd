"""Values merged and cut through a schema, by the rules of structured merge and diff.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from onenode.field_paths import SELF, FieldPath, to_tree
from onenode.typed_schema import (
    ABSENT,
    DEDUCED,
    Schema,
    has_members,
    is_leaf,
    item_element,
    kind_of,
    member_of,
)

__all__ = ["merge", "remove_items"]


def merge(live: Any, applied: Any, schema: Schema) -> Any:
    """``applied`` over ``live``; parts only one of them has are kept."""
    merged = _merge(live, applied, schema)
    return None if merged is ABSENT else merged


def _merge(live: Any, applied: Any, schema: Schema) -> Any:
    if applied is ABSENT:
        return live
    if live is ABSENT:
        live = None
    kind = kind_of(schema, applied if applied is not None else live)
    if is_leaf(schema, kind) or not (has_members(live) or has_members(applied)):
        return applied
    if kind == "map" and isinstance(applied, dict | None) and isinstance(live, dict | None):
        before, after = live or {}, applied or {}
        merged: dict[str, Any] = {}
        for name in {**before, **after}:
            member = member_of(schema, name)
            merged[name] = _merge(
                before.get(name, ABSENT), after.get(name, ABSENT), DEDUCED if member is None else member
            )
        return merged
    if kind == "list" and isinstance(applied, list | None) and isinstance(live, list | None):
        return _merge_items(live or [], applied or [], schema)
    return applied


def _merge_items(live: list[Any], applied: list[Any], schema: Schema) -> list[Any]:
    """Items of both: shared ones in the order of ``applied``, the others near where they were."""
    items = schema.get("items") or DEDUCED
    left = [item_element(item, schema) for item in live]
    right = [item_element(item, schema) for item in applied]
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
            merged.append(_merge(lefts.get(element, ABSENT), rights[element], items))
            at_right += 1
            if shared and shared[0] == element:
                shared.pop(0)
    return merged


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
        if is_leaf(schema, kind_of(schema, value)):
            return None
        if isinstance(value, dict):
            pairs = [(f"f:{name}", held) for name, held in value.items()]
            kept = self._remaining(pairs, tree, lambda element: member_of(schema, element[2:]))
            return {element[2:]: held for element, held in kept} or None
        pairs = [(item_element(item, schema), item) for item in value]
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
                left = self.remove(held, branch, schema_at(element) or DEDUCED)
                if left is not None or not self.drop_emptied:
                    kept.append((element, left))
        return kept
