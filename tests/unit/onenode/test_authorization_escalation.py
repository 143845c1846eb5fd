"""Who may give which rights."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.fakes.onenode_api import Api, running_api

Obj = dict[str, Any]

RBAC = "/apis/rbac.authorization.k8s.io/v1"
IN_DEFAULT = f"{RBAC}/namespaces/default"
JANE = {"Impersonate-User": "jane", "Impersonate-Group": "system:authenticated"}


def rule(*verbs: str, group: str = "", resource: str = "pods", names: tuple[str, ...] = ()) -> Obj:
    made: Obj = {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
    return {**made, "resourceNames": list(names)} if names else made


def role(name: str, *rules: Obj, kind: str = "Role") -> Obj:
    return {"kind": kind, "metadata": {"name": name}, "rules": list(rules)}


def binding(
    name: str, role_name: str, *users: str, role_kind: str = "Role", kind: str = "RoleBinding"
) -> Obj:
    return {
        "kind": kind,
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role_name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": u} for u in users],
    }


async def give(api: Api, *rules: Obj) -> None:
    """Let jane have rights in the namespace default."""
    await api.call("POST", f"{IN_DEFAULT}/roles", role("jane", *rules), 201)
    await api.call("POST", f"{IN_DEFAULT}/rolebindings", binding("jane", "jane", "jane"), 201)


def writes(*verbs: str) -> tuple[Obj, ...]:
    plain = ("create", "update", "patch", *verbs)
    return tuple(
        rule(*plain, group="rbac.authorization.k8s.io", resource=resource)
        for resource in ("roles", "rolebindings")
    )


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with running_api() as running:
        yield running


async def test_rights_that_are_not_held_are_named(api: Api) -> None:
    await give(api, *writes(), rule("get"))
    body = role("more", rule("get", "list", "watch"), {"nonResourceURLs": ["/x"], "verbs": ["get"]})
    answer = await api.call("POST", f"{IN_DEFAULT}/roles", body, 403, **JANE)
    assert answer["message"] == (
        'roles.rbac.authorization.k8s.io "more" is forbidden: user "jane" (groups=["system:authenticated"]) '
        "is attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["pods"], Verbs:["list" "watch"]}\n'
        '{NonResourceURLs:["/x"], Verbs:["get"]}'
    )
    await api.call("POST", f"{IN_DEFAULT}/roles", role("same", rule("get")), 201, **JANE)


@pytest.mark.parametrize(
    ("held", "wanted", "status"),
    [
        (rule("*", group="*", resource="*"), rule("get"), 201),
        (rule("get", resource="*"), rule("get", resource="pods/log"), 201),
        (rule("get", resource="*/log"), rule("get", resource="pods/log"), 201),
        (rule("get", resource="pods"), rule("get", resource="pods/log"), 403),
        (rule("get"), rule("get", names=("a",)), 201),
        (rule("get", names=("a",)), rule("get", names=("a",)), 201),
        (rule("get", names=("a",)), rule("get", names=("a", "b")), 403),
        (rule("get", names=("a",)), rule("get"), 403),
        (rule("get"), rule("*"), 403),
        (rule("get"), rule("get", group="apps"), 403),
    ],
)
async def test_wildcards_and_names_are_compared(api: Api, held: Obj, wanted: Obj, status: int) -> None:
    await give(api, *writes(), held)
    await api.call("POST", f"{IN_DEFAULT}/roles", role("r", wanted), status, **JANE)


async def test_changes_are_checked_and_what_gives_nothing_new_passes(api: Api) -> None:
    await give(api, *writes())
    await api.call("POST", f"{IN_DEFAULT}/roles", role("r", rule("get")), 201)
    headers = {**JANE, "Content-Type": "application/merge-patch+json"}
    labels = {"metadata": {"labels": {"a": "b"}}}
    await api.call("PATCH", f"{IN_DEFAULT}/roles/r", labels, **headers)
    more = {"rules": [rule("get", "delete")]}
    await api.call("PATCH", f"{IN_DEFAULT}/roles/r", more, 403, **headers)


async def test_escalate_and_bind_allow_it(api: Api) -> None:
    await give(api, *writes("escalate"))
    await api.call("POST", f"{IN_DEFAULT}/roles", role("r", rule("delete")), 201, **JANE)
    await api.call("POST", f"{IN_DEFAULT}/rolebindings", binding("b", "r", "jane"), 403, **JANE)
    bind = rule("bind", group="rbac.authorization.k8s.io", resource="roles", names=("r",))
    await api.merge(f"{IN_DEFAULT}/roles/jane", {"rules": [*writes(), bind]})
    await api.call("POST", f"{IN_DEFAULT}/rolebindings", binding("b", "r", "jane"), 201, **JANE)


async def test_binding_of_a_cluster_role_needs_its_rights(api: Api) -> None:
    await give(api, *writes())
    body = binding("b", "cluster-admin", "jane", role_kind="ClusterRole")
    answer = await api.call("POST", f"{IN_DEFAULT}/rolebindings", body, 403, **JANE)
    assert "attempting to grant RBAC permissions not currently held" in answer["message"]
    missing = binding("b", "missing", "jane")
    await api.call("POST", f"{IN_DEFAULT}/rolebindings", missing, 404, **JANE)


async def test_rights_in_a_namespace_are_not_rights_everywhere(api: Api) -> None:
    await give(api, rule("*", group="*", resource="*"))
    cluster = rule("create", group="rbac.authorization.k8s.io", resource="clusterroles")
    await api.call("POST", f"{RBAC}/clusterroles", role("writer", cluster, kind="ClusterRole"), 201)
    body = binding("writer", "writer", "jane", role_kind="ClusterRole", kind="ClusterRoleBinding")
    await api.call("POST", f"{RBAC}/clusterrolebindings", body, 201)
    wanted = role("everywhere", rule("get"), kind="ClusterRole")
    await api.call("POST", f"{RBAC}/clusterroles", wanted, 403, **JANE)
    aggregated = {**role("all", kind="ClusterRole"), "aggregationRule": {"clusterRoleSelectors": [{}]}}
    answer = await api.call("POST", f"{RBAC}/clusterroles", aggregated, 403, **JANE)
    assert "must have cluster-admin privileges" in answer["message"]
