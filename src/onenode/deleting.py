"""DELETE of one name and of a collection."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from onenode import causes
from onenode.answers import Answer, Renderer
from onenode.bodies import decode_protobuf_body, json_problem
from onenode.builtin_schema import schema_of
from onenode.causes import Cause
from onenode.context import Context
from onenode.deletion import delete_record, review_deletion
from onenode.go_types import decoding_problem
from onenode.negotiation import PROTOBUF, encode
from onenode.registry import Resource
from onenode.requests import Request, dry_run_causes, propagation_causes
from onenode.selection import Selection
from onenode.status import (
    ApiError,
    bad_request,
    conflict,
    forbidden,
    invalid_options,
    not_found,
    warning_headers,
)
from onenode.strategies import strategy_of
from onenode.watch import Record
from onenode.webhooks.review import Attributes

__all__ = ["DeleteOptions", "delete_collection", "delete_object"]

_IMMORTAL: Final = frozenset({"default", "kube-system", "kube-public"})


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """How to delete; the body wins over the query."""

    grace_s: int | None = None
    policy: str | None = None
    dry_run: bool = False
    uid: str | None = None
    version: str | None = None
    sent: dict[str, Any] = field(default_factory=dict)
    """As the client asked, for webhooks."""

    @classmethod
    def of(cls, request: Request) -> DeleteOptions:
        """Understand a DELETE.

        Raises:
            ApiError: the body is no DeleteOptions, or an option has a value that does not exist.
        """
        body = _body(request)
        query_policy = request.parameter("propagationPolicy") or None
        grace = request.integer("gracePeriodSeconds")
        dry_run = body.get("dryRun") if body else request.query.get("dryRun")
        policy = body.get("propagationPolicy") if body else query_policy
        orphan = body.get("orphanDependents")
        found: list[Cause] = []
        if orphan is not None and policy:
            text = "orphanDependents and deletionPropagation cannot be both set"
            found.append(causes.invalid("propagationPolicy", policy, text))
        found += propagation_causes(policy)
        found += dry_run_causes(dry_run or [])
        if found:
            raise invalid_options("DeleteOptions", found)
        if orphan is not None:
            policy = "Orphan" if orphan else "Background"
        if body.get("gracePeriodSeconds") is not None:
            grace = int(body["gracePeriodSeconds"])
        preconditions = body.get("preconditions") or {}
        told = {
            "gracePeriodSeconds": grace,
            "preconditions": preconditions or None,
            "propagationPolicy": policy,
            "dryRun": list(dry_run) if dry_run else None,
        }
        return cls(
            grace,
            policy,
            bool(dry_run),
            preconditions.get("uid"),
            preconditions.get("resourceVersion"),
            {name: value for name, value in told.items() if value is not None},
        )


def _body(request: Request) -> dict[str, Any]:
    if not request.body.strip():
        return {}
    if request.content_type == PROTOBUF:
        body: Any = decode_protobuf_body(request.body)
    else:
        problem = json_problem(request.body)
        if problem is not None:
            raise bad_request(f"couldn't get version/kind; json parse error: {problem}")
        body = msgspec.json.decode(request.body)
    if not isinstance(body, dict):
        raise bad_request("couldn't get version/kind; json parse error: json: cannot unmarshal")
    kind, version = body.get("kind", "DeleteOptions"), body.get("apiVersion", "v1")
    if kind != "DeleteOptions":
        scheme = 'in scheme "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27"'
        raise bad_request(f'no kind "{kind}" is registered for version "{version}" {scheme}')
    problem = decoding_problem(body, schema_of("meta", "v1", "DeleteOptions"))
    if problem is not None:
        raise bad_request(problem)
    return body


async def delete_object(
    context: Context, request: Request, selection: Selection, renderer: Renderer
) -> Answer:
    """Answer DELETE of one name."""
    resource, name = selection.resource, selection.name
    options = DeleteOptions.of(request)
    if resource.stored_as == "namespaces" and name in _IMMORTAL:
        raise forbidden(resource, name, "this namespace may not be deleted")
    record = context.store.record(resource.stored_as, selection.namespace, name)
    if record is None:
        raise not_found(resource, name)
    _check_preconditions(resource, record, options)
    warnings: list[str] = []
    await _review(context, request, selection, record, options, warnings)
    record = context.store.record(resource.stored_as, selection.namespace, name)
    if record is None:
        raise not_found(resource, name)
    _check_preconditions(resource, record, options)
    deletion = delete_record(
        context.store,
        resource,
        record,
        grace_s=options.grace_s,
        policy=options.policy,
        dry_run=options.dry_run,
    )
    if deletion.removed and not strategy_of(resource).answers_object_on_delete:
        return _success(resource, record, renderer, warnings)
    return renderer.one(deletion.obj, 200, warning_headers(warnings))


async def _review(
    context: Context,
    request: Request,
    selection: Selection,
    record: Record,
    options: DeleteOptions,
    warnings: list[str],
) -> None:
    """Ask the webhooks about the deletion of one object."""
    resource = selection.resource
    attributes = Attributes(
        operation="DELETE",
        resource=resource,
        namespace=record.namespace,
        name=selection.name,
        user=request.user,
        options={"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", **options.sent},
        dry_run=options.dry_run,
    )
    await review_deletion(context, attributes, record, warnings)


def _success(resource: Resource, record: Record, renderer: Renderer, warnings: list[str]) -> Answer:
    details = {"name": record.name, "group": resource.group, "kind": resource.plural}
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {k: v for k, v in details.items() if v} | {"uid": record.view["metadata"]["uid"]},
    }
    form = renderer.form
    return Answer(200, encode(body, form), form.media_type, warning_headers(warnings))


def _check_preconditions(resource: Resource, record: Record, options: DeleteOptions) -> None:
    uid, version = record.view["metadata"].get("uid"), str(record.revision)
    if options.uid is not None and options.uid != uid:
        text = (
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({uid}). "
            "The object might have been deleted and then recreated"
        )
    elif options.version is not None and options.version != version:
        text = (
            f"the ResourceVersion in the precondition ({options.version}) does not match the ResourceVersion "
            f"in record ({version}). The object might have been modified"
        )
    else:
        return
    # The kind, not the resource, stands in this one.
    error = conflict(resource, record.name, text)
    qualified = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    message = error.message.replace(f' {resource.full_name} "', f' {qualified} "', 1)
    raise ApiError(409, "Conflict", message, {**(error.details or {}), "kind": resource.kind})


async def delete_collection(
    context: Context, request: Request, selection: Selection, renderer: Renderer
) -> Answer:
    """Answer DELETE of a collection: the objects as they were."""
    options = DeleteOptions.of(request)
    store, resource = context.store, selection.resource
    found = [r for r in store.records(resource.stored_as, selection.namespace) if selection.matches(r)]
    revision = store.revision
    warnings: list[str] = []
    for record in found:
        await _review(context, request, selection, record, options, warnings)
        current = store.record(resource.stored_as, record.namespace, record.name)
        if current is None:
            continue
        delete_record(
            store,
            resource,
            current,
            grace_s=options.grace_s,
            policy=options.policy,
            dry_run=options.dry_run,
        )
    return renderer.many(found, {"resourceVersion": str(revision)})
