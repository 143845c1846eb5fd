"""Decisions by rules, as tables."""

import timeit
from typing import Any

import pytest

from onenode.authorization.rules import Attributes, PolicyRule, build_index, decide
from onenode.requests import User

GROUP = "security-profiles-operator.x-k8s.io"
JANE = User("jane", ("system:authenticated", "devs"))
ROBOT = User(
    "system:serviceaccount:ns:robot",
    ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"),
)


def rule(verbs: str, groups: str = "", resources: str = "", names: str = "") -> dict[str, Any]:
    return {
        "verbs": verbs.split(),
        "apiGroups": ["" if group == "core" else group for group in groups.split()],
        "resources": resources.split(),
        "resourceNames": names.split(),
    }


def pods(verb: str = "get", **more: str) -> Attributes:
    return Attributes(verb=verb, resource="pods", **{"namespace": "ns", **more})


def path(url: str, verb: str = "get") -> Attributes:
    return Attributes(verb=verb, path=url)


@pytest.mark.parametrize(
    ("source", "wanted", "allowed"),
    [
        pytest.param(rule("get", "core", "pods"), pods(), True, id="exact"),
        pytest.param(rule("get", "core", "pods"), pods("list"), False, id="other-verb"),
        pytest.param(rule("list", "core", "pods"), pods("watch"), False, id="list-is-not-watch"),
        pytest.param(rule("delete", "core", "pods"), pods("deletecollection"), False, id="delete-one-only"),
        pytest.param(rule("*", "core", "pods"), pods("deletecollection"), True, id="any-verb"),
        pytest.param(rule("get", GROUP, "pods"), pods(), False, id="other-group"),
        pytest.param(rule("get", "*", "pods"), pods(), True, id="any-group"),
        pytest.param(rule("get", "core", "*"), pods(), True, id="any-resource"),
        pytest.param(rule("get", "core", "secrets configmaps"), pods(), False, id="other-resources"),
        pytest.param(rule("get", "core", "pods"), pods(subresource="log"), False, id="not-the-subresource"),
        pytest.param(rule("get", "core", "pods/log"), pods(subresource="log"), True, id="subresource"),
        pytest.param(rule("get", "core", "pods/log"), pods(), False, id="only-the-subresource"),
        pytest.param(rule("get", "core", "*/log"), pods(subresource="log"), True, id="any-with-subresource"),
        pytest.param(rule("get", "core", "*/log"), pods(), False, id="any-with-subresource-not-itself"),
        pytest.param(rule("get", "core", "pods/*"), pods(subresource="log"), False, id="no-such-wildcard"),
        pytest.param(rule("get", "core", "*"), pods(subresource="log"), True, id="star-has-subresources"),
        pytest.param(rule("get", "core", "pods", "a b"), pods(name="b"), True, id="named"),
        pytest.param(rule("get", "core", "pods", "a b"), pods(name="c"), False, id="other-name"),
        pytest.param(rule("list", "core", "pods", "a"), pods("list"), False, id="collection-has-no-name"),
        pytest.param(rule("create", "core", "pods", "a"), pods("create"), False, id="create-has-no-name"),
        pytest.param(rule("*", "*", "*"), path("/version"), False, id="resources-are-no-paths"),
        pytest.param(rule("get"), pods(), False, id="empty-lists-cover-nothing"),
    ],
)
def test_resource_rules(source: dict[str, Any], wanted: Attributes, allowed: bool) -> None:
    assert PolicyRule.of(source).allows(wanted) is allowed


@pytest.mark.parametrize(
    ("urls", "wanted", "allowed"),
    [
        (["/version"], path("/version"), True),
        (["/version"], path("/version/"), False),
        (["/version"], path("/version", "post"), False),
        (["/api/*"], path("/api/v1"), True),
        (["/api/*"], path("/api"), False),
        (["/api*"], path("/apis/x"), True),
        (["*"], path("/metrics"), True),
        (["*"], pods(), False),
        ([], path("/"), False),
    ],
)
def test_path_rules(urls: list[str], wanted: Attributes, allowed: bool) -> None:
    assert PolicyRule.of({"verbs": ["get"], "nonResourceURLs": urls}).allows(wanted) is allowed


def role(name: str, *rules: dict[str, Any], namespace: str = "") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "rules": list(rules)}


def binding(
    name: str, kind: str, role_name: str, *subjects: tuple[str, str], namespace: str = ""
) -> dict[str, Any]:
    shown = [{"kind": subject, "name": subject_name} for subject, subject_name in subjects]
    return {
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"kind": kind, "name": role_name},
        "subjects": shown,
    }


INDEX = build_index(
    [role("reader", rule("get list", "core", "pods")), role("nodes", rule("get", "core", "nodes"))],
    [role("reader", rule("watch", "core", "pods"), namespace="ns")],
    [
        binding("everywhere", "ClusterRole", "reader", ("Group", "auditors")),
        binding("gone", "ClusterRole", "lost", ("User", "old")),
        binding("gone-too", "ClusterRole", "lost-too", ("User", "old")),
    ],
    [
        binding("cluster-here", "ClusterRole", "reader", ("Group", "devs"), ("User", "jane"), namespace="ns"),
        binding("here", "Role", "reader", ("ServiceAccount", "robot"), namespace="ns"),
        binding("nodes-here", "ClusterRole", "nodes", ("User", "jane"), namespace="ns"),
    ],
)


@pytest.mark.parametrize(
    ("user", "wanted", "allowed", "reason"),
    [
        pytest.param(
            JANE,
            pods(),
            True,
            'RBAC: allowed by RoleBinding "cluster-here/ns" of ClusterRole "reader" to Group "devs"',
            id="group-in-namespace",
        ),
        pytest.param(JANE, pods(namespace="other"), False, "", id="other-namespace"),
        pytest.param(
            JANE, pods("list", namespace=""), False, "", id="namespaced-binding-is-not-cluster-wide"
        ),
        pytest.param(
            JANE, Attributes(verb="get", resource="nodes"), False, "", id="node-by-namespaced-binding"
        ),
        pytest.param(
            ROBOT,
            pods("watch"),
            True,
            'RBAC: allowed by RoleBinding "here/ns" of Role "reader" to ServiceAccount "robot/ns"',
            id="account",
        ),
        pytest.param(ROBOT, pods("get"), False, "", id="role-is-the-namespaces-own"),
        pytest.param(User("robot"), pods("watch"), False, "", id="user-of-the-accounts-name"),
        pytest.param(
            User("eve", ("auditors",)),
            pods("list", namespace=""),
            True,
            'RBAC: allowed by ClusterRoleBinding "everywhere" of ClusterRole "reader" to Group "auditors"',
            id="cluster-wide",
        ),
        pytest.param(User("auditors"), pods(), False, "", id="user-of-the-groups-name"),
        pytest.param(
            User("old"),
            pods(),
            False,
            'RBAC: [clusterrole.rbac.authorization.k8s.io "lost" not found, '
            'clusterrole.rbac.authorization.k8s.io "lost-too" not found]',
            id="role-does-not-exist",
        ),
        pytest.param(User("root", ("system:masters",)), path("/metrics", "post"), True, "", id="masters"),
        pytest.param(User("nobody"), pods(), False, "", id="nobody"),
    ],
)
def test_decisions(user: User, wanted: Attributes, allowed: bool, reason: str) -> None:
    assert decide(INDEX, user, wanted) == (allowed, reason)


def test_decision_does_not_depend_on_bindings_of_others() -> None:
    """A thousand foreign bindings may not make a decision slow."""
    many = [binding(f"b{n}", "ClusterRole", "reader", ("User", f"u{n}")) for n in range(1000)]
    index = build_index([role("reader", rule("get", "core", "pods"))], [], many, [])
    user, wanted = User("u999", ("system:authenticated",)), pods()
    assert decide(index, user, wanted).allowed
    best = min(timeit.repeat(lambda: decide(index, user, wanted), number=200, repeat=5)) / 200
    assert best < 100e-6
