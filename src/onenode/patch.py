"""JSON patch and JSON merge patch with the semantics of the real server.

Pure. Documents are not changed; every failure is a ``PatchError`` that carries the answer.
"""

from __future__ import annotations

import copy
import json
from typing import Any, Final

import jsonpatch
import jsonpointer

__all__ = ["REJECTED", "PatchError", "json_patch", "merge_patch"]

_MOST_OPERATIONS: Final = 10_000
_MOST_COPIED_BYTES: Final = 3 * 1024 * 1024
"""Copies may repeat what they copied: without a limit a small patch makes an endless document."""
REJECTED: Final = "the server rejected our request due to an error in our request"
"""All the server says about a JSON patch that cannot be applied."""


class PatchError(Exception):
    """A patch cannot be applied.

    ``code``, ``reason`` and ``message`` are those of the Status answer; ``detail`` says what was wrong, in
    the words used when the patch came from a webhook.
    """

    def __init__(self, code: int, reason: str, message: str, detail: str = "") -> None:
        super().__init__(code, reason, message, detail)
        self.code = code
        self.reason = reason
        self.message = message
        self.detail = detail or message

    def __str__(self) -> str:
        return self.detail


def _go_kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def json_patch(doc: dict[str, Any], ops: Any) -> dict[str, Any]:
    """Apply a JSON patch (RFC 6902); ``replace`` of a missing member adds it, as on the server.

    Raises:
        PatchError: 400 if ``ops`` is not a list of operations, 422 if one of them cannot be applied.
    """
    if not isinstance(ops, list) or not all(isinstance(op, dict) for op in ops):
        kind = _go_kind(
            ops if not isinstance(ops, list) else next(op for op in ops if not isinstance(op, dict))
        )
        wanted = "[]handlers.jsonPatchOp" if not isinstance(ops, list) else "handlers.jsonPatchOp"
        text = f"error decoding patch: json: cannot unmarshal {kind} into Go value of type {wanted}"
        raise PatchError(400, "BadRequest", text)
    if len(ops) > _MOST_OPERATIONS:
        text = f"The allowed maximum operations in a JSON patch is {_MOST_OPERATIONS}, got {len(ops)}"
        raise PatchError(413, "RequestEntityTooLarge", f"Request entity too large: {text}")
    patched: Any = copy.deepcopy(doc)
    copied_bytes = 0
    for op in ops:
        if op.get("op") == "copy":
            copied_bytes += _size(patched, op.get("from"))
            if copied_bytes > _MOST_COPIED_BYTES:
                detail = f"the patch copies more than {_MOST_COPIED_BYTES} bytes"
                raise PatchError(422, "Invalid", REJECTED, detail)
        patched = _apply(patched, op)
    if not isinstance(patched, dict):
        raise PatchError(422, "Invalid", REJECTED, "the patched document is not an object")
    return patched


def _size(doc: Any, pointer: Any) -> int:
    """Length of what a pointer names; 0 if it names nothing."""
    try:
        return len(json.dumps(jsonpointer.JsonPointer(pointer).resolve(doc)))
    except (jsonpointer.JsonPointerException, TypeError):
        return 0


def _apply(doc: Any, op: dict[str, Any]) -> Any:
    kind, path = op.get("op"), op.get("path")
    if not isinstance(path, str) or not path.startswith("/"):
        raise PatchError(
            422, "Invalid", REJECTED, f"{kind} operation does not apply: doc is missing path: {path}"
        )
    try:
        if kind in ("add", "replace"):
            return _set(doc, op, path)
        if kind == "test" and "value" not in op:
            op = {**op, "value": None}
        return jsonpatch.JsonPatch([op]).apply(doc, in_place=True)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, LookupError, TypeError) as error:
        detail = f"{kind} operation does not apply: {error}"
        raise PatchError(422, "Invalid", REJECTED, detail) from error


def _set(doc: Any, op: dict[str, Any], path: str) -> Any:
    """``add`` or ``replace``: the parent must exist, a member of an object need not."""
    missing = f"{op['op']} operation does not apply: doc is missing path: {path}: missing value"
    if "value" not in op:
        raise PatchError(422, "Invalid", REJECTED, missing)
    parent_path, _, last = path.rpartition("/")
    try:
        parent = jsonpointer.JsonPointer(parent_path).resolve(doc)
    except jsonpointer.JsonPointerException as error:
        raise PatchError(422, "Invalid", REJECTED, missing) from error
    value = copy.deepcopy(op["value"])
    if isinstance(parent, dict):
        parent[last.replace("~1", "/").replace("~0", "~")] = value
        return doc
    if not isinstance(parent, list):
        raise PatchError(422, "Invalid", REJECTED, missing)
    return jsonpatch.JsonPatch([{**op, "value": value}]).apply(doc, in_place=True)


def merge_patch(doc: dict[str, Any], patch: Any) -> dict[str, Any]:
    """Apply a JSON merge patch (RFC 7386).

    Raises:
        PatchError: 400 if the patch is not an object.
    """
    if not isinstance(patch, dict):
        kind = _go_kind(patch)
        wanted = "map[string]interface {}"
        text = f"error decoding patch: json: cannot unmarshal {kind} into Go value of type {wanted}"
        raise PatchError(400, "BadRequest", text)
    merged: dict[str, Any] = _merge(doc, patch)
    return merged


def _merge(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge(merged.get(name), value)
    return merged
