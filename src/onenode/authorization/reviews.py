"""Answers to who somebody is and what they may do; nothing is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from onenode import causes
from onenode.answers import Answer
from onenode.auth import ISSUER
from onenode.authorization.kinds import AUTHORIZATION
from onenode.authorization.rules import MASTERS, Attributes, PolicyRule
from onenode.causes import Cause
from onenode.clock import timestamp
from onenode.context import Context
from onenode.negotiation import Form, encode
from onenode.registry import Resource
from onenode.requests import Options, Request, User
from onenode.status import bad_request, invalid, method_not_allowed
from onenode.writing import Write

__all__ = ["review"]

Obj = dict[str, Any]
_Parts = tuple[Obj, Obj | None, Obj]
"""Metadata, spec and status of the answer; no spec for a kind without one."""

_RESOURCE_FIELDS: Final = ("namespace", "verb", "group", "version", "resource", "subresource", "name")
_EVERYTHING: Final = PolicyRule.of({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})
_EVERY_PATH: Final = PolicyRule.of({"verbs": ["*"], "nonResourceURLs": ["*"]})


def review(context: Context, request: Request, resource: Resource, namespace: str | None) -> Answer:
    """Answer a review.

    Raises:
        ApiError: the review makes no sense.
    """
    if request.method != "POST":
        raise method_not_allowed()
    options = Options.of(request, "CreateOptions")
    write = Write(context=context, resource=resource, namespace=namespace, options=options)
    body = write.decoded(request)
    metadata, spec, status = _KINDS[resource.kind](context, request, body, namespace)
    answer: Obj = {"kind": resource.kind, "apiVersion": resource.group_version, "metadata": metadata}
    if spec is not None:
        answer["spec"] = spec
    answer["status"] = status
    return Answer(201, encode(answer, Form()), Form().media_type)


# Who


def _user_info(user: User) -> Obj:
    info: Obj = {"username": user.name, "uid": user.uid, "groups": list(user.groups), "extra": user.extra}
    return {name: value for name, value in info.items() if value}


def _self(context: Context, request: Request, _body: Obj, _namespace: str | None) -> _Parts:
    status = {"userInfo": _user_info(request.user)}
    return {"creationTimestamp": timestamp(context.clock())}, None, status


def _token(context: Context, _request: Request, body: Obj, _namespace: str | None) -> _Parts:
    spec: Obj = body.get("spec") or {}
    token, wanted = spec.get("token") or "", spec.get("audiences") or [ISSUER]
    if not token:
        raise bad_request("token is required for TokenReview in authentication")
    user, audiences = context.auth.review(token, wanted)
    if user is not None:
        granted = [one for one in wanted if one in audiences]
        return {}, spec, {"authenticated": True, "user": _user_info(user), "audiences": granted}
    problem = "invalid bearer token"
    if audiences:
        problem = (
            f"[{problem}, token audiences {_quoted(audiences)} is invalid for the target audiences "
            f"{_quoted(wanted)}]"
        )
    return {}, spec, {"user": {}, "error": problem}


def _quoted(texts: list[str]) -> str:
    return f"[{' '.join(causes.go_quote(text) for text in texts)}]"


# What


def _access(user: User, context: Context, spec: Obj) -> Obj:
    decision = context.authorizer.decide(user, _attributes(spec))
    status: Obj = {"allowed": decision.allowed}
    return {**status, "reason": decision.reason} if decision.reason else status


def _attributes(spec: Obj) -> Attributes:
    asked = spec.get("resourceAttributes")
    if asked is None:
        asked = spec["nonResourceAttributes"]
        # A path is never empty, and so is never taken for a resource.
        return Attributes(verb=asked.get("verb") or "", path=asked.get("path") or "/")
    return Attributes(**{name: asked.get(name) or "" for name in _RESOURCE_FIELDS})


def _shown_spec(spec: Obj) -> Obj:
    """In the order in which the fields are declared, without empty ones."""
    shown: Obj = {}
    if spec.get("resourceAttributes") is not None:
        asked = spec["resourceAttributes"]
        names = (*_RESOURCE_FIELDS, "fieldSelector", "labelSelector")
        shown["resourceAttributes"] = {name: asked[name] for name in names if asked.get(name)}
    if spec.get("nonResourceAttributes") is not None:
        asked = spec["nonResourceAttributes"]
        shown["nonResourceAttributes"] = {name: asked[name] for name in ("path", "verb") if asked.get(name)}
    return shown | {name: spec[name] for name in ("user", "groups", "extra", "uid") if spec.get(name)}


def _about_what(spec: Obj) -> list[Cause]:
    both = [spec.get(name) for name in ("resourceAttributes", "nonResourceAttributes")]
    if both.count(None) == 1:
        return []
    field, text = "spec.resourceAttributes", "exactly one of nonResourceAttributes or resourceAttributes"
    if None not in both:
        field, text = (
            "spec.nonResourceAttributes",
            "cannot be specified in combination with resourceAttributes",
        )
        return [causes.invalid(field, both[1], text)]
    return [causes.invalid(field, None, f"{text} must be specified")]


def _about_whom(spec: Obj) -> list[Cause]:
    if spec.get("user") or spec.get("groups"):
        return []
    return [causes.invalid("spec.user", "", "at least one of user or group must be specified")]


def _refuse(found: list[Cause]) -> None:
    if found:
        # A real server does not name the kind here.
        raise invalid("", AUTHORIZATION, "", found)


def _subject_access(context: Context, _request: Request, body: Obj, _namespace: str | None) -> _Parts:
    spec: Obj = body.get("spec") or {}
    _refuse(_about_what(spec) + _about_whom(spec))
    return {}, _shown_spec(spec), _access(_named_user(spec), context, spec)


def _named_user(spec: Obj) -> User:
    groups = tuple(spec.get("groups") or ())
    return User(spec.get("user") or "", groups, spec.get("uid") or "", spec.get("extra") or {})


def _self_access(context: Context, request: Request, body: Obj, _namespace: str | None) -> _Parts:
    spec: Obj = body.get("spec") or {}
    _refuse(_about_what(spec))
    return {}, _shown_spec(spec), _access(request.user, context, spec)


def _local_access(context: Context, _request: Request, body: Obj, namespace: str | None) -> _Parts:
    spec: Obj = body.get("spec") or {}
    found = _about_what(spec) + _about_whom(spec)
    asked = spec.get("resourceAttributes")
    if asked is None:
        text = "disallowed on this kind of request"
        found = [
            *found,
            causes.invalid("spec.nonResourceAttributes", spec.get("nonResourceAttributes"), text),
        ]
    _refuse(found)
    place = (body.get("metadata") or {}).get("namespace") or namespace
    told = (asked or {}).get("namespace") or ""
    if place != namespace or told != namespace:
        text = f"must match metadata.namespace: {namespace}"
        _refuse([causes.invalid("spec.resourceAttributes.namespace", told, text)])
    return {"namespace": namespace}, _shown_spec(spec), _access(_named_user(spec), context, spec)


def _self_rules(context: Context, request: Request, body: Obj, _namespace: str | None) -> _Parts:
    namespace = (body.get("spec") or {}).get("namespace") or ""
    if not namespace:
        raise bad_request("no namespace on request")
    grants = context.authorizer.grants(request.user, namespace)
    rules = [rule for grant in grants for rule in grant.rules]
    if MASTERS in request.user.groups:
        rules = [_EVERYTHING, _EVERY_PATH, *rules]
    status = {
        "resourceRules": [_shown_rule(rule, _OF_RESOURCES) for rule in rules if rule.resources],
        "nonResourceRules": [_shown_rule(rule, _OF_PATHS) for rule in rules if rule.urls],
        "incomplete": False,
    }
    return {}, {}, status


_OF_RESOURCES: Final = ("verbs", "apiGroups", "resources", "resourceNames")
_OF_PATHS: Final = ("verbs", "nonResourceURLs")


def _shown_rule(rule: PolicyRule, names: tuple[str, ...]) -> Obj:
    return {name: list(rule.source[name]) for name in names if rule.source.get(name)}


_KINDS: Final[dict[str, Callable[[Context, Request, Obj, str | None], _Parts]]] = {
    "SelfSubjectReview": _self,
    "TokenReview": _token,
    "SubjectAccessReview": _subject_access,
    "SelfSubjectAccessReview": _self_access,
    "LocalSubjectAccessReview": _local_access,
    "SelfSubjectRulesReview": _self_rules,
}
