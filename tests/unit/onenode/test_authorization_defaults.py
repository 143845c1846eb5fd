"""The roles that are there from the start, and rules that change while the server runs."""

from typing import Any

import pytest

from onenode.authorization.aggregation import ClusterRoles
from onenode.authorization.authorizer import BINDINGS, CLUSTER_BINDINGS, CLUSTER_ROLES, Authorizer
from onenode.authorization.rules import Attributes
from onenode.authorization.validation import validate_binding, validate_role
from onenode.requests import ANONYMOUS, User
from onenode.store import Store

GROUP = "rbac.authorization.k8s.io"
KNOWN = User("jane", ("system:authenticated",))
ACCOUNT = User("system:serviceaccount:ns:sa", ("system:serviceaccounts", "system:authenticated"))


@pytest.fixture
def store() -> Store:
    made = Store(":memory:")
    ClusterRoles(made).start()
    return made


def allowed(store: Store, user: User, verb: str, **more: str) -> bool:
    return Authorizer(store).decide(user, Attributes(verb=verb, **more)).allowed


@pytest.mark.parametrize("path", ["/api", "/apis/x", "/openapi/v2", "/version", "/healthz", "/readyz"])
@pytest.mark.parametrize("user", [KNOWN, ACCOUNT])
def test_known_users_may_discover(store: Store, user: User, path: str) -> None:
    assert allowed(store, user, "get", path=path)
    assert not allowed(store, user, "post", path=path)


@pytest.mark.parametrize(
    ("path", "may"), [("/version", True), ("/livez", True), ("/api", False), ("/", False)]
)
def test_anonymous_sees_only_health_and_version(store: Store, path: str, may: bool) -> None:
    assert allowed(store, ANONYMOUS, "get", path=path) is may


def test_known_users_may_ask_about_themselves_only(store: Store) -> None:
    group = "authorization.k8s.io"
    assert allowed(store, KNOWN, "create", group=group, resource="selfsubjectaccessreviews")
    assert not allowed(store, KNOWN, "create", group=group, resource="subjectaccessreviews")
    assert not allowed(store, KNOWN, "list", resource="pods", namespace="ns")


def bind(store: Store, role: str, namespace: str = "") -> None:
    metadata = {"name": "b", "namespace": namespace} if namespace else {"name": "b"}
    reference = {"apiGroup": GROUP, "kind": "ClusterRole", "name": role}
    subjects = [{"kind": "User", "apiGroup": GROUP, "name": "jane"}]
    resource = BINDINGS if namespace else CLUSTER_BINDINGS
    store.create(resource, {"metadata": metadata, "roleRef": reference, "subjects": subjects})


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("view", "get:pods get:pods/log list:configmaps"),
        ("edit", "get:pods create:pods get:secrets create:pods/exec"),
        ("admin", "get:pods delete:pods create:rolebindings"),
        ("cluster-admin", "get:pods create:rolebindings list:nodes"),
    ],
)
def test_user_roles(store: Store, role: str, may: str) -> None:
    bind(store, role, "ns")
    everything = "get:pods get:pods/log list:configmaps create:pods create:pods/exec get:secrets delete:pods"
    found = set()
    for one in f"{everything} create:rolebindings list:nodes".split():
        verb, resource = one.split(":")
        resource, _, subresource = resource.partition("/")
        group = GROUP if resource == "rolebindings" else ""
        place = {"group": group, "resource": resource, "subresource": subresource, "namespace": "ns"}
        if allowed(store, KNOWN, verb, **place):
            found.add(one)
    assert set(may.split()) <= found
    forbidden = {"view": "create:pods", "edit": "create:rolebindings", "admin": "list:nodes"}.get(role)
    assert forbidden not in found
    if role == "view":
        assert "get:secrets" not in found


def test_rules_of_a_labelled_role_join_the_aggregated_ones(store: Store) -> None:
    bind(store, "admin", "ns")
    place = {"group": "x.io", "resource": "widgets", "namespace": "ns"}
    assert not allowed(store, KNOWN, "get", **place)
    watch = store.watch(CLUSTER_ROLES, store.revision)
    rule = {"verbs": ["get"], "apiGroups": ["x.io"], "resources": ["widgets"]}
    labels = {f"{GROUP}/aggregate-to-view": "true"}
    store.create(CLUSTER_ROLES, {"metadata": {"name": "widgets", "labels": labels}, "rules": [rule]})
    ClusterRoles(store).start()
    watch.close()
    assert allowed(store, KNOWN, "get", **place)
    store.delete_now(CLUSTER_ROLES, None, "widgets")
    ClusterRoles(store).start()
    assert not allowed(store, KNOWN, "get", **place)


def test_start_writes_nothing_when_all_is_there(store: Store) -> None:
    before = store.revision
    ClusterRoles(store).start()
    assert store.revision == before


def test_lost_default_rules_come_back_unless_declined(store: Store) -> None:
    for name, autoupdate in (("system:discovery", "true"), ("system:basic-user", "false")):
        role = store.get(CLUSTER_ROLES, None, name)
        assert role is not None
        role["rules"] = []
        role["metadata"]["annotations"] = {"rbac.authorization.kubernetes.io/autoupdate": autoupdate}
        store.update(CLUSTER_ROLES, role)
    ClusterRoles(store).start()
    assert allowed(store, KNOWN, "get", path="/api")
    assert not allowed(
        store, KNOWN, "create", group="authorization.k8s.io", resource="selfsubjectaccessreviews"
    )


def test_changes_are_in_force_at_the_next_question(store: Store) -> None:
    authorizer = Authorizer(store)
    wanted = Attributes(verb="list", resource="pods", namespace="ns")
    assert not authorizer.decide(KNOWN, wanted).allowed
    bind(store, "view", "ns")
    assert authorizer.decide(KNOWN, wanted).allowed
    store.delete_now(BINDINGS, "ns", "b")
    assert not authorizer.decide(KNOWN, wanted).allowed


@pytest.mark.parametrize(
    ("kind", "rule", "fields"),
    [
        ("Role", {}, ["rules[0].verbs", "rules[0].apiGroups", "rules[0].resources"]),
        ("Role", {"verbs": ["get"], "nonResourceURLs": ["/x"]}, ["rules[0].nonResourceURLs"]),
        ("ClusterRole", {"verbs": ["get"], "nonResourceURLs": ["/x"]}, []),
        (
            "ClusterRole",
            {"verbs": ["get"], "nonResourceURLs": ["/x"], "resources": ["pods"]},
            ["rules[0].nonResourceURLs"],
        ),
        ("Role", {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}, []),
    ],
)
def test_bad_rules_are_refused(kind: str, rule: dict[str, Any], fields: list[str]) -> None:
    assert [cause.field for cause in validate_role({"kind": kind, "rules": [rule]}, None)] == fields


def test_bad_bindings_are_refused() -> None:
    role: dict[str, Any] = {"apiGroup": GROUP, "kind": "Role", "name": "r"}
    good: dict[str, Any] = {
        "kind": "RoleBinding",
        "roleRef": role,
        "subjects": [{"kind": "ServiceAccount", "name": "a"}],
    }
    assert validate_binding(good, None) == []
    bad: dict[str, Any] = {
        "kind": "ClusterRoleBinding",
        "roleRef": role,
        "subjects": [{"kind": "ServiceAccount", "name": "a"}, {"kind": "Robot", "name": ""}],
    }
    fields = [cause.field for cause in validate_binding(bad, None)]
    assert fields == ["roleRef.kind", "subjects[0].namespace", "subjects[1].name", "subjects[1].kind"]
    moved = {**good, "roleRef": {**role, "name": "other"}}
    assert [cause.field for cause in validate_binding(moved, good)] == ["roleRef"]
