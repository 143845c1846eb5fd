"""Parts of objects with rules of their own: binding, finalize, token, log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from onenode import causes
from onenode.answers import TEXT, Answer
from onenode.auth import DEFAULT_TOKEN_S, ISSUER
from onenode.bodies import decode_protobuf_body, json_problem
from onenode.builtin_schema import schema_of
from onenode.causes import Cause
from onenode.clock import timestamp
from onenode.context import Context
from onenode.go_nulls import read_nulls
from onenode.go_types import decoding_problem
from onenode.negotiation import PROTOBUF, Form, encode
from onenode.pod_access import InvalidLogOptionError, LogError, log_request
from onenode.registry import Resource
from onenode.requests import Request
from onenode.status import ApiError, bad_request, conflict, internal_error, invalid, not_found

__all__ = ["bind_pod", "finalize_namespace", "make_token", "read_log"]

Obj = dict[str, Any]

_SHORTEST_TOKEN_S: Final = 600
_LONGEST_TOKEN_S: Final = 1 << 32


def _body(request: Request, group: str, kind: str) -> Obj:
    if request.content_type == PROTOBUF:
        return decode_protobuf_body(request.body)
    problem = json_problem(request.body)
    if problem is not None:
        raise bad_request(f"couldn't get version/kind; json parse error: {problem}")
    body = msgspec.json.decode(request.body)
    if not isinstance(body, dict):
        raise bad_request("the body of the request is not an object")
    schema = schema_of(group, "v1", kind)
    problem = decoding_problem(body, schema)
    if problem is not None:
        raise bad_request(f'{kind} in version "v1" cannot be handled as a {kind}: {problem}')
    read_nulls(body, schema)
    return body


def _required(context: Context, resource: Resource, namespace: str | None, name: str) -> Obj:
    found = context.store.get(resource.stored_as, namespace, name)
    if found is None:
        raise not_found(resource, name)
    return found


def bind_pod(
    context: Context, request: Request, resource: Resource, namespace: str | None, name: str = ""
) -> Answer:
    """``pods/NAME/binding``, or ``bindings`` with the name in the body: choose the node."""
    body = _body(request, "", "Binding")
    name = name or str((body.get("metadata") or {}).get("name", ""))
    target = body.get("target") or {}
    if not target.get("name"):
        raise internal_error("target.name: Required value")
    pod = _required(context, resource, namespace, name)
    bound = pod["spec"].get("nodeName")
    if bound:
        error = conflict(resource, name, f'pod {name} is already assigned to node "{bound}"')
        details = {"name": name, "kind": "pods/binding"}
        raise ApiError(409, error.reason, error.message.replace(" pods ", " pods/binding ", 1), details)
    pod["spec"]["nodeName"] = target["name"]
    status = pod.setdefault("status", {})
    kept = [c for c in status.get("conditions") or [] if c.get("type") != "PodScheduled"]
    condition = {"type": "PodScheduled", "status": "True", "lastProbeTime": None}
    status["conditions"] = [*kept, {**condition, "lastTransitionTime": timestamp(context.clock())}]
    if not request.query.get("dryRun"):
        context.store.update(resource.stored_as, pod)
    answer = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    return Answer(201, encode(answer, Form()), Form().media_type)


def finalize_namespace(context: Context, request: Request, resource: Resource, name: str) -> Obj:
    """``namespaces/NAME/finalize``: replace the finalizers; the Namespace as it is now."""
    wanted = (_body(request, "", "Namespace").get("spec") or {}).get("finalizers") or []
    namespace = _required(context, resource, None, name)
    spec = namespace.setdefault("spec", {})
    if wanted:
        spec["finalizers"] = wanted
    else:
        spec.pop("finalizers", None)
    return context.store.update(resource.stored_as, namespace)


def make_token(
    context: Context, request: Request, resource: Resource, namespace: str | None, name: str
) -> Answer:
    """``serviceaccounts/NAME/token``: answer a TokenRequest."""
    spec = _body(request, "authentication.k8s.io", "TokenRequest").get("spec") or {}
    account = _required(context, resource, namespace, name)
    expiration = spec.get("expirationSeconds") or DEFAULT_TOKEN_S
    _check_expiration(expiration)
    bound = spec.get("boundObjectRef")
    pod_name, pod_uid = _bound_pod(context, namespace, bound)
    audiences = spec.get("audiences") or [ISSUER]
    token, expiry = context.auth.issue_token(
        namespace or "", name, pod_name, pod_uid, expiration_s=int(expiration), audiences=audiences
    )
    body = {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": account["metadata"]["uid"],
            "creationTimestamp": timestamp(context.clock()),
        },
        "spec": {"audiences": audiences, "expirationSeconds": expiration, "boundObjectRef": bound},
        "status": {"token": token, "expirationTimestamp": timestamp(expiry)},
    }
    return Answer(201, encode(body, Form()), Form().media_type)


def _check_expiration(seconds: Any) -> None:
    if seconds < _SHORTEST_TOKEN_S:
        text = "may not specify a duration less than 10 minutes"
    elif seconds > _LONGEST_TOKEN_S:
        text = "may not specify a duration larger than 2^32 seconds"
    else:
        return
    found = [causes.invalid("spec.expirationSeconds", seconds, text)]
    raise invalid("TokenRequest", "authentication.k8s.io", "", found)


def _bound_pod(context: Context, namespace: str | None, bound: Obj | None) -> tuple[str | None, str | None]:
    if bound is None:
        return None, None
    if (bound.get("kind"), bound.get("apiVersion")) != ("Pod", "v1"):
        group, _, version = bound.get("apiVersion", "").rpartition("/")
        shown = f"{group}/{version}, Kind={bound.get('kind', '')}"
        raise bad_request(f"cannot bind token to object of type {shown}")
    name = bound.get("name", "")
    record = context.store.record("pods", namespace, name)
    if record is None:
        raise ApiError(404, "NotFound", f'pods "{name}" not found', {"name": name, "kind": "pods"})
    uid = record.view["metadata"]["uid"]
    if bound.get("uid") not in (None, "", uid):
        text = (
            f'Operation cannot be fulfilled on Pod "{name}": the UID in the bound object reference '
            f"({bound['uid']}) does not match the UID in record. The object might have been deleted and then "
            "recreated"
        )
        raise ApiError(409, "Conflict", text, {"name": name, "kind": "Pod"})
    return name, uid


async def read_log(
    context: Context, request: Request, resource: Resource, namespace: str | None, name: str
) -> Answer:
    """``pods/NAME/log``."""
    pod = _required(context, resource, namespace, name)
    if context.pods is None:
        raise ApiError(501, "", "this server runs no pods, so there are no logs")
    try:
        wanted = log_request(pod, request.query)
        lines: AsyncIterator[bytes] = await context.pods.read_logs(
            pod, wanted.container, wanted.options, previous=wanted.previous
        )
    except LogError as error:
        raise bad_request(str(error)) from error
    except InvalidLogOptionError as error:
        found = [Cause(error.reason, error.message, error.field)]
        raise invalid("PodLogOptions", "", "", found) from error
    return Answer(200, lines, TEXT)
