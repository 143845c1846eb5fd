"""PATCH: the four kinds of patches, each ends in a write like PUT."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Final

import yaml

from onenode import causes
from onenode.apply import ApplyConflict, ApplyTypeError, server_side_apply
from onenode.bodies import decode_patch_body
from onenode.clock import timestamp
from onenode.metadata import in_go_order, own_metadata
from onenode.patch import PatchError, json_patch, merge_patch
from onenode.requests import Request
from onenode.status import (
    ApiError,
    bad_request,
    conflict,
    internal_error,
    invalid,
    not_found,
    unsupported_media_type,
)
from onenode.strategic_merge import strategic_merge_patch
from onenode.watch import Record
from onenode.writing import Write, Written
from onenode.yaml_text import load_yaml, yaml_problem

__all__ = ["APPLY", "patch_object"]

JSON_PATCH: Final = "application/json-patch+json"
MERGE: Final = "application/merge-patch+json"
STRATEGIC: Final = "application/strategic-merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"

Obj = dict[str, Any]


async def patch_object(write: Write, request: Request) -> Written:
    """Apply the patch in a request.

    Raises:
        ApiError: it cannot be read, does not apply, or makes an object that is refused.
    """
    accepted = [JSON_PATCH, MERGE, *([] if write.resource.custom else [STRATEGIC]), APPLY]
    if request.content_type not in accepted:
        raise unsupported_media_type(accepted)
    write.is_patch = True
    kind = _Apply if request.content_type == APPLY else _Patch
    return await write.insist(kind(write, request).run)


@dataclass
class _Patch:
    write: Write
    request: Request

    async def run(self) -> Written:
        write = self.write
        old = write.stored()
        if old is None:
            raise not_found(write.resource, write.name)
        current = _served(write, old)
        body = self._body()
        try:
            patched = self._patched(current, body)
        except PatchError as error:
            details: Obj | None = {} if error.reason == "Invalid" else None
            raise ApiError(error.code, error.reason, error.message, details) from error
        self._check(patched, body)
        write.check_place(own_metadata(patched))
        return await write.update_object(old, patched)

    def _body(self) -> Any:
        is_list = self.request.content_type == JSON_PATCH
        return decode_patch_body(
            self.request, "[]handlers.jsonPatchOp" if is_list else "map[string]interface {}"
        )

    def _patched(self, current: Obj, body: Any) -> Obj:
        if self.request.content_type == JSON_PATCH:
            return json_patch(current, body)
        if self.request.content_type == MERGE:
            return merge_patch(current, body)
        return strategic_merge_patch(current, body, self.write.resource.schema)

    def _check(self, patched: Obj, body: Any) -> None:
        """Types and unknown fields of what the patch made."""
        write = self.write
        before = copy.deepcopy(patched)
        if not write.resource.custom:
            before = in_go_order(before)
        problem = write.type_problem(patched)
        if problem is not None:
            raise _patch_invalid(before, problem)
        found = [f"unknown field {causes.go_quote(path)}" for path in write.prune(patched)]
        if found and write.options.field_validation == "Strict":
            strategic = self.request.content_type == STRATEGIC
            shown = causes.go_print(body) if strategic else before
            raise _patch_invalid(shown, f"strict decoding error: {', '.join(found)}")
        if write.options.field_validation == "Warn":
            write.warnings += found


def _served(write: Write, record: Record) -> Obj:
    convert = write.resource.from_stored
    stored = record.copy()
    return stored if convert is None else convert(stored)


def _patch_invalid(value: Any, problem: str) -> ApiError:
    shown = value if isinstance(value, str) else causes.go_json(value)
    return invalid("", "", "", [causes.invalid("patch", shown, problem)])


@dataclass
class _Apply:
    write: Write
    request: Request

    async def run(self) -> Written:
        write = self.write
        applied = self._body()
        old = write.stored()
        if old is None and write.subresource:
            raise not_found(write.resource, write.name)
        self._check(applied, old)
        try:
            merged = server_side_apply(
                None if old is None else _served(write, old),
                applied,
                write.options.manager,
                write.options.force,
                write.resource.schema,
                write.resource.group_version,
                timestamp(write.context.clock()),
                write.subresource or None,
            )
        except ApplyConflict as error:
            details = {"causes": [cause.to_dict() for cause in error.causes]}
            raise ApiError(409, "Conflict", error.message, details) from error
        except ApplyTypeError as error:
            raise internal_error(error.message) from error
        if old is None:
            self._check_new(applied)
            write.may_create()
            return await write.create_object(merged, applied=True)
        metadata = own_metadata(merged)
        metadata["resourceVersion"] = str(old.revision)
        return await write.update_object(old, merged, applied=True)

    def _body(self) -> Obj:
        try:
            body = load_yaml(self.request.body)
        except yaml.YAMLError as error:
            text = yaml_problem(error)
            raise bad_request(f"error decoding YAML: error converting YAML to JSON: {text}") from error
        if not isinstance(body, dict):
            raise bad_request("error decoding YAML: json: cannot unmarshal into map[string]interface {}")
        return body

    def _check(self, applied: Obj, old: Record | None) -> None:
        resource = self.write.resource
        api_version, kind = str(applied.get("apiVersion") or ""), str(applied.get("kind") or "")
        if (api_version, kind) != (resource.group_version, resource.kind):
            shown = f"{api_version}, Kind={kind}" if "/" in api_version or api_version else f"/, Kind={kind}"
            raise bad_request(f"invalid object type: {shown}")
        metadata = applied.get("metadata")
        if not isinstance(metadata, dict):
            metadata = applied["metadata"] = {}
        if metadata.get("managedFields") is not None:
            raise bad_request("metadata.managedFields must be nil")
        metadata.setdefault("name", self.write.name)
        # In a copy: what the client did not state must not become its own.
        self.write.check_place(dict(metadata))
        if not resource.namespaced:
            metadata.pop("namespace", None)
        version = metadata.pop("resourceVersion", None)
        if old is not None and version and version != str(old.revision):
            raise conflict(resource, self.write.name)

    def _check_new(self, applied: Obj) -> None:
        uid = applied["metadata"].get("uid")
        if uid:
            resource = self.write.resource
            found = [causes.invalid("metadata.uid", uid, "field is immutable")]
            raise invalid(resource.kind, resource.group, self.write.name, found * 2)
