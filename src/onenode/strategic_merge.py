"""Strategic merge patch: a merge patch that knows which lists are keyed.

Pure. Follows the algorithm of the real server, its order rules included: the schema says per field with
``x-kubernetes-patch-strategy`` and ``x-kubernetes-patch-merge-key`` how lists merge.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Final

from onenode.causes import go_print
from onenode.list_types import canonical
from onenode.patch import REJECTED, PatchError

__all__ = ["strategic_merge_patch"]

_DIRECTIVE: Final = "$patch"
_RETAIN_KEYS: Final = "$retainKeys"
_DELETE_FROM_LIST: Final = "$deleteFromPrimitiveList/"
_ELEMENT_ORDER: Final = "$setElementOrder/"

Schema = dict[str, Any]


def strategic_merge_patch(doc: dict[str, Any], patch: Any, schema: Schema) -> dict[str, Any]:
    """Apply a strategic merge patch.

    Args:
        doc: the current object; it is not changed.
        patch: the decoded body.
        schema: schema of the kind, from ``builtin_schema``.

    Raises:
        PatchError: 400 if the patch or a directive is malformed, 422 if it contradicts itself, 500 if a list
            item lacks its merge key or a directive is unknown, as the real server answers.
    """
    if not isinstance(patch, dict):
        kind = {list: "array", str: "string", bool: "bool", type(None): "null"}.get(type(patch), "number")
        text = f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
        raise PatchError(400, "BadRequest", text)
    return _merge_map(copy.deepcopy(doc), copy.deepcopy(patch), schema)


def _broken(text: str) -> PatchError:
    return PatchError(500, "", text)


def _malformed(what: str) -> PatchError:
    return PatchError(400, "BadRequest", f"invalid patch format of {what}")


def _rejected(detail: str) -> PatchError:
    return PatchError(422, "Invalid", REJECTED, detail)


def _member(schema: Schema, name: str) -> Schema:
    member = (schema.get("properties") or {}).get(name)
    if member is None:
        member = schema.get("additionalProperties")
    return member if isinstance(member, dict) else {}


def _strategy(member: Schema) -> set[str]:
    return set(str(member.get("x-kubernetes-patch-strategy", "")).split(","))


def _merge_map(original: dict[str, Any], patch: dict[str, Any], schema: Schema) -> dict[str, Any]:
    if _DIRECTIVE in patch:
        return _whole_map(patch)
    _retain_keys(original, patch)
    _merge_ordered_lists(original, patch, schema)
    for key, value in patch.items():
        if key.startswith(_DELETE_FROM_LIST):
            _delete_from_list(original, key.removeprefix(_DELETE_FROM_LIST), value)
        elif value is None:
            original.pop(key, None)
        elif key in original:
            original[key] = _merge_value(original[key], value, _member(schema, key))
        else:
            original[key] = _plain(value)
    return original


def _whole_map(patch: dict[str, Any]) -> dict[str, Any]:
    match patch.pop(_DIRECTIVE):
        case "replace":
            return patch
        case "delete":
            return {}
        case other:
            raise _broken(f"unknown patch type: {go_print(other)} in map: {go_print(patch)}")


def _retain_keys(original: dict[str, Any], patch: dict[str, Any]) -> None:
    kept = patch.pop(_RETAIN_KEYS, None)
    if kept is None:
        return
    if not isinstance(kept, list):
        raise _malformed("retainKeys")
    for key in patch:
        if key not in kept and not key.startswith("$"):
            raise _rejected("patch content doesn't match retainKeys list")
    for key in list(original):
        if key not in kept:
            del original[key]


def _delete_from_list(original: dict[str, Any], key: str, values: Any) -> None:
    if not isinstance(values, list):
        raise _malformed("primitive list")
    gone = {canonical(value) for value in values}
    if isinstance(original.get(key), list):
        original[key] = [item for item in original[key] if canonical(item) not in gone]


def _merge_value(original: Any, patch: Any, member: Schema) -> Any:
    if isinstance(original, dict) and isinstance(patch, dict):
        return patch if "replace" in _strategy(member) else _merge_map(original, patch, member)
    if isinstance(original, list) and isinstance(patch, list):
        if "merge" in _strategy(member):
            return _merge_list(original, patch, member)
        return patch
    return _plain(patch)


def _plain(value: Any) -> Any:
    """A value new to the document: without nulls and directives."""
    if isinstance(value, dict):
        return {
            key: _plain(item)
            for key, item in value.items()
            if item is not None
            and key not in (_DIRECTIVE, _RETAIN_KEYS)
            and not key.startswith((_DELETE_FROM_LIST, _ELEMENT_ORDER))
        }
    if isinstance(value, list):
        return [_plain(item) for item in value if not _is_deletion(item)]
    return value


def _is_deletion(item: Any) -> bool:
    return isinstance(item, dict) and item.get(_DIRECTIVE) == "delete"


def _merge_list(original: list[Any], patch: list[Any], member: Schema) -> list[Any]:
    if not original and not patch:
        return original
    key = member.get("x-kubernetes-patch-merge-key")
    items = [*original, *patch]
    if not all(isinstance(item, dict) for item in items):
        if any(isinstance(item, dict | list) for item in items):
            raise _broken("list element types are not identical")
        merged = list({canonical(item): item for item in items}.values())
        return _in_order(merged, patch, original, canonical)
    if not key:
        raise _broken("cannot merge lists without merge key")
    kept, plain = _apply_item_directives(original, patch, key)
    merged = _merge_items(kept, plain, key, member.get("items") or {})
    return _in_order(merged, plain, original, _key_of(key))


def _key_of(key: str) -> Callable[[Any], str]:
    return lambda item: canonical(item.get(key) if isinstance(item, dict) else item)


def _require_key(item: dict[str, Any], key: str) -> None:
    if key not in item:
        raise _broken(f"map: {go_print(item)} does not contain declared merge key: {key}")


def _apply_item_directives(
    original: list[dict[str, Any]], patch: list[dict[str, Any]], key: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Items left of the original, and the patch items that are plain."""
    plain: list[dict[str, Any]] = []
    deleted: set[str] = set()
    replace = False
    for item in patch:
        match item.get(_DIRECTIVE):
            case None:
                plain.append(item)
            case "delete":
                _require_key(item, key)
                deleted.add(canonical(item[key]))
            case "replace":
                replace = True
            case other:
                raise _broken(f"unknown patch type: {go_print(other)} in map: {go_print(item)}")
    if replace:
        return plain, []
    return [held for held in original if canonical(held.get(key)) not in deleted], plain


def _merge_items(
    original: list[dict[str, Any]], patch: list[dict[str, Any]], key: str, items: Schema
) -> list[dict[str, Any]]:
    merged = list(original)
    at: dict[str, int] = {}
    for index, held in enumerate(merged):
        at.setdefault(canonical(held.get(key)), index)
    for item in patch:
        _require_key(item, key)
        index = at.setdefault(canonical(item[key]), len(merged))
        if index < len(merged):
            merged[index] = _merge_map(merged[index], item, items)
        else:
            merged.append(_plain(item))
    return merged


def _in_order(
    merged: Sequence[Any], wanted: Sequence[Any], server: Sequence[Any], key: Callable[[Any], str]
) -> list[Any]:
    """Items of the patch in the order of the patch, the others where the server had them."""
    wanted_at = {key(item): index for index, item in enumerate(wanted)}
    server_at = {key(item): index for index, item in enumerate(server)}
    ours = sorted((item for item in merged if key(item) in wanted_at), key=lambda item: wanted_at[key(item)])
    theirs = sorted(
        (item for item in merged if key(item) not in wanted_at),
        key=lambda item: server_at.get(key(item), len(server_at)),
    )
    ordered: list[Any] = []
    at = 0
    for item in ours:
        right = server_at.get(key(item))
        while right is not None and at < len(theirs) and server_at.get(key(theirs[at]), right) < right:
            ordered.append(theirs[at])
            at += 1
        ordered.append(item)
    return ordered + theirs[at:]


def _merge_ordered_lists(original: dict[str, Any], patch: dict[str, Any], schema: Schema) -> None:
    """Merge the lists whose order the patch gives; they are then done."""
    for directive in [key for key in patch if key.startswith(_ELEMENT_ORDER)]:
        order = patch.pop(directive)
        name = directive.removeprefix(_ELEMENT_ORDER)
        if not isinstance(order, list):
            raise _malformed("setElementOrder list")
        changed = patch.get(name)
        before = original.get(name)
        if changed is None and name in patch:
            continue
        if not isinstance(before, list) and not isinstance(changed, list):
            continue
        member = _member(schema, name)
        before = before if isinstance(before, list) else []
        merge_key = member.get("x-kubernetes-patch-merge-key")
        key = _key_of(merge_key) if merge_key else canonical
        if isinstance(changed, list):
            _check_order(changed, order, key)
            merged = _merge_value(copy.deepcopy(before), changed, member) if before else _plain(changed)
        else:
            merged = before
        original[name] = _in_order(merged, order, before, key)
        patch.pop(name, None)


def _check_order(changed: list[Any], order: list[Any], key: Callable[[Any], str]) -> None:
    listed = [key(item) for item in order]
    position = 0
    for item in changed:
        if isinstance(item, dict) and _DIRECTIVE in item:
            continue
        try:
            position = listed.index(key(item), position) + 1
        except ValueError:
            text = f"The order in patch list:\n{go_print(changed)}\n doesn't match $setElementOrder list:\n"
            raise _broken(f"{text}{go_print(order)}\n") from None
