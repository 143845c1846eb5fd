"""Nobody gives what they do not have: the check of roles and bindings that users write.

Who has the verb ``escalate`` on a role may write any rules, who has ``bind`` on it may bind it to anybody;
the others need every right that the write gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from onenode.authorization.authorizer import Authorizer
from onenode.authorization.kinds import RBAC
from onenode.authorization.rules import MASTERS, Attributes, PolicyRule
from onenode.causes import go_quote
from onenode.registry import Resource
from onenode.requests import User
from onenode.status import ApiError, forbidden
from onenode.store import Store

__all__ = ["check_escalation"]

Obj = Mapping[str, Any]

_FIELDS: Final = (
    ("apiGroups", "APIGroups"),
    ("resources", "Resources"),
    ("nonResourceURLs", "NonResourceURLs"),
    ("resourceNames", "ResourceNames"),
    ("verbs", "Verbs"),
)
_EVERYTHING: Final = (
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
)


def check_escalation(
    authorizer: Authorizer, store: Store, resource: Resource, user: User, obj: Obj, old: Obj | None
) -> None:
    """Judge a write of a role or binding; every other kind passes.

    Args:
        authorizer: the rules in force.
        store: holds the role that a binding names.
        resource: what is written.
        user: who writes.
        obj: the new object.
        old: the object before; a write that changes no right passes.

    Raises:
        ApiError: 403, with the rights that are missing.
    """
    if resource.group != RBAC or MASTERS in user.groups:
        return
    check = _Check(authorizer, store, resource, user, obj)
    if resource.plural in ("roles", "clusterroles"):
        check.role(old)
    elif resource.plural in ("rolebindings", "clusterrolebindings"):
        check.binding(old)


class _Check:
    def __init__(
        self, authorizer: Authorizer, store: Store, resource: Resource, user: User, obj: Obj
    ) -> None:
        self._authorizer = authorizer
        self._store = store
        self._resource = resource
        self._user = user
        self._obj = obj
        self._name = str(obj["metadata"].get("name") or "")
        self._namespace = str(obj["metadata"].get("namespace") or "")

    def role(self, old: Obj | None) -> None:
        """The rules of a role."""
        rules, aggregation = self._obj.get("rules") or [], self._obj.get("aggregationRule")
        if old is not None and (rules, aggregation) == (old.get("rules") or [], old.get("aggregationRule")):
            return
        if self._may("escalate", self._resource.plural, self._name):
            return
        if aggregation and self._missing(_EVERYTHING):
            raise self._refusal("must have cluster-admin privileges to use the aggregationRule")
        self._need(rules)

    def binding(self, old: Obj | None) -> None:
        """The rules of the role that a binding gives to somebody."""
        role = self._obj.get("roleRef") or {}
        subjects = self._obj.get("subjects") or []
        if old is not None and (role, subjects) == (old.get("roleRef") or {}, old.get("subjects") or []):
            return
        is_cluster_role = role.get("kind") == "ClusterRole"
        plural, name = "clusterroles" if is_cluster_role else "roles", str(role.get("name") or "")
        if self._may("bind", plural, name):
            return
        namespace = None if is_cluster_role else self._namespace
        record = self._store.record(f"{plural}.{RBAC}", namespace, name)
        if record is None:
            kind = "clusterrole" if is_cluster_role else "role"
            text = f"{kind}.{RBAC} {go_quote(name)} not found"
            raise ApiError(404, "NotFound", text, {"name": name, "group": RBAC, "kind": plural})
        self._need(record.view.get("rules") or [])

    def _may(self, verb: str, plural: str, name: str) -> bool:
        wanted = Attributes(
            verb=verb, group=RBAC, version="v1", resource=plural, name=name, namespace=self._namespace
        )
        return self._authorizer.decide(self._user, wanted).allowed

    def _need(self, rules: Iterable[Obj]) -> None:
        missing = self._missing(rules)
        if missing:
            groups = " ".join(go_quote(group) for group in self._user.groups)
            shown = "\n".join(sorted({_shown(rule) for rule in _joined(missing)}))
            raise self._refusal(
                f"user {go_quote(self._user.name)} (groups=[{groups}]) is attempting to grant RBAC "
                f"permissions not currently held:\n{shown}"
            )

    def _missing(self, rules: Iterable[Obj]) -> list[Obj]:
        """The single rights of some rules that the user does not have."""
        grants = self._authorizer.grants(self._user, self._namespace)
        held = [rule for grant in grants for rule in grant.rules]
        return [
            right for rule in rules for right in _rights(rule) if not any(_covers(h, right) for h in held)
        ]

    def _refusal(self, text: str) -> ApiError:
        return forbidden(self._resource, self._name, text)


def _rights(rule: Obj) -> Iterator[Obj]:
    """A rule taken apart: one verb, and one resource of one group (with one name) or one path each."""
    verbs = rule.get("verbs") or ()
    for group in rule.get("apiGroups") or ():
        for resource in rule.get("resources") or ():
            for verb in verbs:
                right = {"verbs": [verb], "apiGroups": [group], "resources": [resource]}
                names = rule.get("resourceNames") or ()
                yield from ({**right, "resourceNames": [name]} for name in names)
                if not names:
                    yield right
    for url in rule.get("nonResourceURLs") or ():
        yield from ({"verbs": [verb], "nonResourceURLs": [url]} for verb in verbs)


def _covers(held: PolicyRule, right: Obj) -> bool:
    """A rule gives a single right, wildcards included."""
    if not _has(held.verbs, right["verbs"][0]):
        return False
    if "nonResourceURLs" in right:
        url = right["nonResourceURLs"][0]
        return url in held.urls or "*" in held.urls or url.startswith(held.url_prefixes)
    if not _has(held.groups, right["apiGroups"][0]):
        return False
    if not _has_resource(held.resources, right["resources"][0]):
        return False
    return not held.names or bool(set(right.get("resourceNames") or ()) & held.names)


def _has(values: frozenset[str], wanted: str) -> bool:
    return wanted in values or "*" in values


def _has_resource(resources: frozenset[str], wanted: str) -> bool:
    if _has(resources, wanted):
        return True
    _, slash, subresource = wanted.partition("/")
    return bool(slash) and f"*/{subresource}" in resources


def _joined(rights: list[Obj]) -> list[Obj]:
    """Rights that differ only in their verbs as one rule."""
    found: dict[str, dict[str, list[str]]] = {}
    for right in rights:
        key = repr([right.get(field) for field, _ in _FIELDS[:-1]])
        rule = found.setdefault(key, {**right, "verbs": []})
        rule["verbs"] += [verb for verb in right["verbs"] if verb not in rule["verbs"]]
    return list(found.values())


def _shown(rule: Obj) -> str:
    parts = (
        f"{shown}:[{' '.join(go_quote(value) for value in rule[field])}]"
        for field, shown in _FIELDS
        if rule.get(field)
    )
    return f"{{{', '.join(parts)}}}"
