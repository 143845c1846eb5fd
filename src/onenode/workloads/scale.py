"""The subresource ``scale``: the replicas of a Deployment or ReplicaSet as an object of its own."""

from __future__ import annotations

import copy
from typing import Any, Final

from onenode import causes
from onenode.answers import Answer
from onenode.bodies import decode_object, decode_patch_body
from onenode.builtin_schema import schema_of
from onenode.clock import timestamp
from onenode.context import Context
from onenode.go_types import decoding_problem
from onenode.metadata import in_go_order
from onenode.negotiation import Form, encode
from onenode.patch import PatchError, json_patch, merge_patch
from onenode.registry import Resource
from onenode.requests import Options, Request
from onenode.status import (
    ApiError,
    bad_request,
    conflict,
    invalid,
    method_not_allowed,
    not_found,
    unsupported_media_type,
)
from onenode.watch import Record
from onenode.workloads.templates import format_selector
from onenode.writing import Write

__all__ = ["answer_scale"]

Obj = dict[str, Any]

_JSON_PATCH: Final = "application/json-patch+json"
_MERGE: Final = ("application/merge-patch+json", "application/strategic-merge-patch+json")
_GROUP: Final = "autoscaling"
_SHOWN: Final = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


async def answer_scale(
    context: Context, request: Request, resource: Resource, namespace: str | None, name: str
) -> Answer:
    """GET, PUT and PATCH of ``PLURAL/NAME/scale``.

    Raises:
        ApiError: the object does not exist, or the new scale is refused.
    """
    record = context.store.record(resource.stored_as, namespace, name)
    if request.method not in ("GET", "PUT", "PATCH"):
        raise method_not_allowed()
    if record is None:
        raise not_found(resource, name)
    current = scale_of(record.view)
    if request.method != "GET":
        wanted = _put(request) if request.method == "PUT" else _patched(request, current)
        current = await _write(context, request, resource, record, wanted)
    return Answer(200, encode(current, Form()), Form().media_type)


def scale_of(workload: Obj) -> Obj:
    """The Scale of a Deployment or ReplicaSet."""
    spec, metadata = workload["spec"], workload["metadata"]
    replicas = spec.get("replicas", 1)
    return {
        "kind": "Scale",
        "apiVersion": f"{_GROUP}/v1",
        "metadata": {name: metadata[name] for name in _SHOWN if name in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": {
            "replicas": (workload.get("status") or {}).get("replicas") or 0,
            "selector": format_selector(spec.get("selector")),
        },
    }


def _scale_resource() -> Resource:
    return Resource(
        group=_GROUP,
        version="v1",
        kind="Scale",
        plural="scales",
        singular="scale",
        namespaced=True,
        load_schema=lambda: schema_of(_GROUP, "v1", "Scale"),
    )


def _put(request: Request) -> Obj:
    scale = decode_object(request, _scale_resource())
    problem = decoding_problem(scale, schema_of(_GROUP, "v1", "Scale"))
    if problem is not None:
        raise bad_request(f'Scale in version "v1" cannot be handled as a Scale: {problem}')
    return dict(scale)


def _patched(request: Request, current: Obj) -> Obj:
    if request.content_type not in (_JSON_PATCH, *_MERGE):
        raise unsupported_media_type([_JSON_PATCH, *_MERGE])
    is_list = request.content_type == _JSON_PATCH
    body = decode_patch_body(request, "[]handlers.jsonPatchOp" if is_list else "map[string]interface {}")
    try:
        # A Scale has no lists: the strategic patch does what the merge patch does.
        patched = json_patch(current, body) if is_list else merge_patch(current, body)
    except PatchError as error:
        details: Obj | None = {} if error.reason == "Invalid" else None
        raise ApiError(error.code, error.reason, error.message, details) from error
    problem = decoding_problem(patched, schema_of(_GROUP, "v1", "Scale"))
    if problem is not None:
        shown = causes.go_json(in_go_order(copy.deepcopy(patched)))
        raise invalid("", "", "", [causes.invalid("patch", shown, problem)])
    return patched


async def _write(context: Context, request: Request, resource: Resource, record: Record, wanted: Obj) -> Obj:
    metadata = wanted.get("metadata") or {}
    if metadata.get("name", record.name) != record.name:
        raise bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({record.name})"
        )
    if metadata.get("resourceVersion", str(record.revision)) != str(record.revision):
        raise conflict(resource, record.name)
    replicas = (wanted.get("spec") or {}).get("replicas") or 0
    if replicas < 0:
        text = "must be greater than or equal to 0"
        raise invalid("Scale", _GROUP, record.name, [causes.invalid("spec.replicas", replicas, text)])
    obj = record.copy()
    options = Options.of(request, "UpdateOptions" if request.method == "PUT" else "PatchOptions")
    if not replicas or replicas != obj["spec"].get("replicas"):
        entry = {
            "manager": options.manager,
            "operation": "Update",
            "apiVersion": resource.group_version,
            "time": timestamp(context.clock()),
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:replicas": {}}},
            "subresource": "scale",
        }
        _hand_over(obj["metadata"], entry if replicas else None)
    obj["spec"]["replicas"] = replicas
    write = Write(
        context=context,
        resource=resource,
        namespace=record.namespace,
        name=record.name,
        options=options,
        user=request.user,
    )
    return scale_of((await write.update_object(record, obj, applied=True)).stored)


def _hand_over(metadata: Obj, owner: Obj | None) -> None:
    """Nobody but ``owner`` has the replicas now; a number of 0 is left out on the wire, so nobody has it."""
    kept: list[Obj] = []
    for entry in metadata.get("managedFields") or ():
        fields = entry["fieldsV1"]
        if fields.get("f:spec", {}).pop("f:replicas", None) is not None and not fields["f:spec"]:
            del fields["f:spec"]
        if fields:
            kept.append(entry)
    metadata["managedFields"] = [*kept, *([owner] if owner is not None else [])]
