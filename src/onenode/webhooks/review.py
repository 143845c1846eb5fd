"""AdmissionReview v1: the question, and what may be answered.

Pure. The words of every refusal are those of the real server.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from onenode.bodies import json_problem
from onenode.causes import go_quote
from onenode.registry import Resource
from onenode.requests import User
from onenode.status import ApiError
from onenode.webhooks.matching import Target

__all__ = [
    "Attributes",
    "CallError",
    "Verdict",
    "denial",
    "failed_call",
    "question",
    "read_answer",
    "read_patch",
]

Obj = dict[str, Any]

_VERSION: Final = "admission.k8s.io/v1"
_KIND: Final = "AdmissionReview"
_GO_STRUCT: Final = (
    'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
)


class CallError(Exception):
    """A webhook could not be asked, or its answer means nothing; failurePolicy decides what follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """One request, as admission sees it."""

    operation: str
    resource: Resource
    subresource: str = ""
    namespace: str | None
    name: str
    """Empty while a generated name is not chosen, and for a collection."""
    user: User
    options: Obj
    """``kind``, ``apiVersion`` and what the client asked."""
    dry_run: bool = False
    kind: tuple[str, str, str] | None = None
    """Group, version and kind of the body, if it is not the resource's."""

    @property
    def target(self) -> Target:
        """As requested."""
        return Target(self.resource, self.subresource)


def question(attributes: Attributes, target: Target, uid: str, obj: Obj | None, old: Obj | None) -> Obj:
    """The AdmissionReview to send.

    Args:
        attributes: the request.
        target: the version that the webhook wants.
        uid: of this question.
        obj: the object in the target's version; ``None`` for a deletion.
        old: the object before; ``None`` for a creation.
    """
    asked = attributes.resource
    request: Obj = {
        "uid": uid,
        "kind": _kind(attributes, target.resource),
        "resource": _plural(target.resource),
    }
    if attributes.subresource:
        request["subResource"] = attributes.subresource
    request["requestKind"] = _kind(attributes, asked)
    request["requestResource"] = _plural(asked)
    if attributes.subresource:
        request["requestSubResource"] = attributes.subresource
    if attributes.name:
        request["name"] = attributes.name
    if attributes.namespace:
        request["namespace"] = attributes.namespace
    request |= {
        "operation": attributes.operation,
        "userInfo": _user(attributes.user),
        "object": obj,
        "oldObject": old,
        "dryRun": attributes.dry_run,
        "options": attributes.options,
    }
    return {"kind": _KIND, "apiVersion": _VERSION, "request": request}


def _kind(attributes: Attributes, resource: Resource) -> Obj:
    group, version, kind = attributes.kind or (resource.group, resource.version, resource.kind)
    return {"group": group, "version": version, "kind": kind}


def _plural(resource: Resource) -> Obj:
    return {"group": resource.group, "version": resource.version, "resource": resource.plural}


def _user(user: User) -> Obj:
    info: Obj = {"username": user.name}
    if user.uid:
        info["uid"] = user.uid
    info["groups"] = list(user.groups)
    if user.extra:
        info["extra"] = user.extra
    return info


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a webhook said."""

    allowed: bool
    status: Obj
    """Why not; as the webhook sent it."""
    patch: bytes
    """JSON text of the patch; empty without one."""
    patch_type: str
    warnings: list[str]


def read_answer(body: bytes, uid: str, *, mutating: bool) -> Verdict:
    """Understand an answer.

    Raises:
        CallError: it is not one, or not one to this question.
    """
    review = _decoded(body)
    response = review.get("response")
    if not isinstance(response, dict):
        raise _unusable("webhook response was absent")
    if response.get("uid") != uid:
        given = go_quote(str(response.get("uid") or ""))
        raise _unusable(f"expected response.uid={go_quote(uid)}, got {given}")
    if not isinstance(response.get("allowed", False), bool):
        raise _unusable("response.allowed is not a boolean")
    patch, patch_type = _patch_of(response), response.get("patchType")
    if mutating:
        _check_patch(patch, patch_type)
    elif patch:
        raise _unusable("validating webhook may not return response.patch")
    elif patch_type is not None:
        raise _unusable("validating webhook may not return response.patchType")
    status = response.get("status")
    warnings = response.get("warnings")
    return Verdict(
        bool(response.get("allowed", False)),
        status if isinstance(status, dict) else {},
        patch,
        str(patch_type or ""),
        [str(text) for text in warnings] if isinstance(warnings, list) else [],
    )


def _unusable(text: str) -> CallError:
    return CallError(f"received invalid webhook response: {text}")


def _undecodable(text: str) -> CallError:
    return CallError(f"failed to call webhook: {text}")


def _decoded(body: bytes) -> Obj:
    prefix = "couldn't get version/kind; json parse error:"
    problem = json_problem(body)
    if problem is not None:
        raise _undecodable(f"{prefix} {problem}")
    review = msgspec.json.decode(body)
    if not isinstance(review, dict):
        names = {str: "string", list: "array", bool: "bool", int: "number", float: "number"}
        if review is not None:
            kind = names.get(type(review), "value")
            raise _undecodable(f"{prefix} json: cannot unmarshal {kind} into Go value of type {_GO_STRUCT}")
        review = {}
    kind, version = str(review.get("kind") or ""), str(review.get("apiVersion") or "")
    scheme = 'in scheme "k8s.io/apiserver/pkg/admission/plugin/webhook/scheme.go"'
    if not kind:
        raise _undecodable(f"Object 'Kind' is missing in '{body[:1000].decode(errors='replace')}'")
    if kind != _KIND or not version.startswith("admission.k8s.io/"):
        raise _undecodable(f"no kind {go_quote(kind)} is registered for version {go_quote(version)} {scheme}")
    if version != _VERSION:
        group, _, number = version.partition("/")
        wanted = "admission.k8s.io/v1, Kind=AdmissionReview"
        raise _unusable(f"expected webhook response of {wanted}, got {group}/{number}, Kind={kind}")
    return review


def _patch_of(response: Obj) -> bytes:
    text = response.get("patch")
    if text is None:
        return b""
    try:
        return base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _undecodable(f"illegal base64 data in response.patch: {error}") from error


def _check_patch(patch: bytes, patch_type: Any) -> None:
    if patch and patch_type is None:
        raise _unusable("webhook returned response.patch but not response.patchType")
    if not patch and patch_type is not None:
        raise _unusable("webhook returned response.patchType but not response.patch")
    if patch_type is not None and not patch_type:
        raise _unusable('webhook returned invalid response.patchType of ""')


def read_patch(verdict: Verdict) -> list[Any]:
    """The operations of an answer's patch; empty without one.

    Raises:
        CallError: it is not a JSON patch.
    """
    if not verdict.patch:
        return []
    if verdict.patch_type != "JSONPatch":
        raise CallError(f"unsupported patch type {go_quote(verdict.patch_type)}")
    problem = json_problem(verdict.patch)
    operations = None if problem else msgspec.json.decode(verdict.patch)
    if operations is not None and not isinstance(operations, list):
        problem = "json: cannot unmarshal object into Go value of type jsonpatch.Patch"
    if problem is not None:
        raise CallError(f"received undecodable patch in webhook response: {problem}")
    return list(operations or ())


def denial(name: str, status: Obj) -> ApiError:
    """The answer to a client whose request a webhook denied."""
    denied = f"admission webhook {go_quote(name)} denied the request"
    code, reason = status.get("code"), str(status.get("reason") or "")
    said = str(status.get("message") or "") or reason
    message = f"{denied}: {said}" if said else f"{denied} without explanation"
    details = status.get("details")
    number = code if isinstance(code, int) and 400 <= code <= 599 else 400
    return ApiError(number, reason, message, details if isinstance(details, dict) else None)


def failed_call(name: str, error: CallError) -> ApiError:
    """The answer to a client if a webhook with failurePolicy Fail cannot be asked."""
    text = f"failed calling webhook {go_quote(name)}: {error}"
    return ApiError(500, "InternalError", f"Internal error occurred: {text}", {"causes": [{"message": text}]})
