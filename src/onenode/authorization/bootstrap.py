"""The roles and bindings that every cluster has from the start."""

from __future__ import annotations

from typing import Any, Final

from onenode.authorization.authorizer import CLUSTER_BINDINGS, CLUSTER_ROLES
from onenode.authorization.kinds import AUTHENTICATION, AUTHORIZATION, RBAC
from onenode.authorization.rules import MASTERS
from onenode.store import Store

__all__ = ["AGGREGATE_LABEL", "default_objects", "ensure_defaults"]

Obj = dict[str, Any]

AGGREGATE_LABEL: Final = f"{RBAC}/aggregate-to-"
"""Followed by ``admin``, ``edit`` or ``view``."""
_AUTOUPDATE: Final = "rbac.authorization.kubernetes.io/autoupdate"
_LABELS: Final = {"kubernetes.io/bootstrapping": "rbac-defaults"}

_EVERYBODY: Final = ("system:authenticated", "system:unauthenticated")
_READ: Final = ("get", "list", "watch")
_WRITE: Final = ("create", "delete", "deletecollection", "patch", "update")
_HEALTH: Final = ("/healthz", "/livez", "/readyz", "/version", "/version/")
_API: Final = ("/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*")
_DISCOVERY: Final = (*_API, "/readyz", "/version", "/version/")

_OPENID: Final = (
    "/.well-known/openid-configuration",
    "/.well-known/openid-configuration/",
    "/openid/v1/jwks",
)
_SCALED: Final = ("deployments", "replicasets")
_WORKLOADS: Final = ("daemonsets", *_SCALED)


def _rule(verbs: tuple[str, ...], group: str, *resources: str) -> Obj:
    return {"verbs": list(verbs), "apiGroups": [group], "resources": list(resources)}


def _paths(*paths: str) -> Obj:
    return {"verbs": ["get"], "nonResourceURLs": list(paths)}


def _all() -> list[Obj]:
    return [
        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
        {"verbs": ["*"], "nonResourceURLs": ["*"]},
    ]


def _role(name: str, rules: list[Obj], **labels: str) -> Obj:
    return {
        "kind": "ClusterRole",
        "apiVersion": f"{RBAC}/v1",
        "metadata": {
            "name": name,
            "labels": {**_LABELS, **{AGGREGATE_LABEL + key: value for key, value in labels.items()}},
            "annotations": {_AUTOUPDATE: "true"},
        },
        "rules": rules,
    }


def _aggregated(name: str, **labels: str) -> Obj:
    role = _role(name, [], **labels)
    selector = {"matchLabels": {AGGREGATE_LABEL + name: "true"}}
    return {**role, "aggregationRule": {"clusterRoleSelectors": [selector]}}


def _binding(role: str, *groups: str) -> Obj:
    subjects = [{"kind": "Group", "apiGroup": RBAC, "name": group} for group in groups]
    return {
        "kind": "ClusterRoleBinding",
        "apiVersion": f"{RBAC}/v1",
        "metadata": {"name": role, "labels": dict(_LABELS), "annotations": {_AUTOUPDATE: "true"}},
        "subjects": subjects,
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
    }


def _user_roles() -> list[Obj]:
    """What ``view``, ``edit`` and ``admin`` consist of, for the kinds that are served here."""
    admin = [
        _rule((*_WRITE, *_READ), RBAC, "rolebindings", "roles"),
        _rule(("create",), AUTHORIZATION, "localsubjectaccessreviews"),
    ]
    edit = [
        _rule(_READ, "", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets"),
        _rule(("impersonate",), "", "serviceaccounts"),
        _rule(_WRITE, "", "pods", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy"),
        _rule(("create",), "", "pods/eviction"),
        _rule(_WRITE, "", "configmaps", "events", "secrets", "serviceaccounts"),
        _rule(("create",), "", "serviceaccounts/token"),
        _rule((*_WRITE, *_READ), "coordination.k8s.io", "leases"),
        _rule(_WRITE, "apps", *_WORKLOADS, *(f"{name}/scale" for name in _SCALED)),
        _rule(_WRITE, "batch", "jobs"),
    ]
    view = [
        _rule(_READ, "", "configmaps", "pods", "serviceaccounts"),
        _rule(_READ, "", "bindings", "events", "namespaces/status", "pods/log", "pods/status"),
        _rule(_READ, "", "namespaces"),
        _rule(_READ, "apps", *_WORKLOADS, *(f"{name}/status" for name in _WORKLOADS)),
        _rule(_READ, "apps", *(f"{name}/scale" for name in _SCALED)),
        _rule(_READ, "batch", "jobs", "jobs/status"),
    ]
    return [
        _aggregated("admin"),
        _aggregated("edit", admin="true"),
        _aggregated("view", edit="true"),
        _role("system:aggregate-to-admin", admin, admin="true"),
        _role("system:aggregate-to-edit", edit, edit="true"),
        _role("system:aggregate-to-view", view, view="true"),
    ]


def default_objects() -> tuple[list[Obj], list[Obj]]:
    """Cluster roles and cluster role bindings."""
    basic = [
        _rule(("create",), AUTHORIZATION, "selfsubjectaccessreviews", "selfsubjectrulesreviews"),
        _rule(("create",), AUTHENTICATION, "selfsubjectreviews"),
    ]
    delegator = [
        _rule(("create",), AUTHENTICATION, "tokenreviews"),
        _rule(("create",), AUTHORIZATION, "subjectaccessreviews"),
    ]
    roles = [
        _role("cluster-admin", _all()),
        _role("system:basic-user", basic),
        _role("system:discovery", [_paths(*_DISCOVERY)]),
        _role("system:public-info-viewer", [_paths(*_HEALTH)]),
        _role("system:auth-delegator", delegator),
        _role("system:service-account-issuer-discovery", [_paths(*_OPENID)]),
        *_user_roles(),
    ]
    bindings = [
        _binding("cluster-admin", MASTERS),
        _binding("system:basic-user", _EVERYBODY[0]),
        _binding("system:discovery", _EVERYBODY[0]),
        _binding("system:public-info-viewer", *_EVERYBODY),
        _binding("system:service-account-issuer-discovery", "system:serviceaccounts"),
    ]
    return roles, bindings


def ensure_defaults(store: Store) -> None:
    """Make what is missing, and give defaults back the rules or subjects they have lost.

    An object whose annotation ``autoupdate`` is ``false`` is left alone.
    """
    roles, bindings = default_objects()
    for resource, part, wanted in ((CLUSTER_ROLES, "rules", roles), (CLUSTER_BINDINGS, "subjects", bindings)):
        for obj in wanted:
            _ensure(store, resource, part, obj)


def _ensure(store: Store, resource: str, part: str, wanted: Obj) -> None:
    current = store.get(resource, None, wanted["metadata"]["name"])
    if current is None:
        store.create(resource, wanted)
        return
    if (current["metadata"].get("annotations") or {}).get(_AUTOUPDATE) != "true":
        return
    present = current.get(part) or []
    missing = [one for one in wanted[part] if one not in present]
    if missing:
        current[part] = [*present, *missing]
        store.update(resource, current)
