"""What a request asks for, as which user, and how it is refused."""

import pytest

from onenode.authorization.attributes import attributes_of, forbidden_request
from onenode.authorization.authorizer import Authorizer
from onenode.authorization.bootstrap import ensure_defaults
from onenode.authorization.impersonation import impersonated
from onenode.authorization.rules import Attributes
from onenode.requests import ANONYMOUS, Request, User
from onenode.status import ApiError
from onenode.store import Store

GROUP = "security-profiles-operator.x-k8s.io"
PROFILES = f"/apis/{GROUP}/v1beta1/namespaces/ns/seccompprofiles"
ADMIN = User("admin", ("system:masters", "system:authenticated"))


def request(method: str, url: str) -> Request:
    path, _, query = url.partition("?")
    return Request(method=method, path=path, query_text=query, headers={}, body=b"", user=ADMIN)


@pytest.mark.parametrize(
    ("method", "url", "wanted"),
    [
        ("GET", "/api/v1/namespaces/ns/pods/p", "get pods/ ns p"),
        ("HEAD", "/api/v1/namespaces/ns/pods/p", "get pods/ ns p"),
        ("GET", "/api/v1/namespaces/ns/pods", "list pods/ ns -"),
        ("GET", "/api/v1/pods", "list pods/ - -"),
        ("GET", "/api/v1/pods?watch=true", "watch pods/ - -"),
        ("GET", "/api/v1/pods?watch=false", "list pods/ - -"),
        ("GET", "/api/v1/watch/namespaces/ns/pods", "watch pods/ ns -"),
        ("GET", "/api/v1/watch/namespaces/ns/pods/p", "watch pods/ ns p"),
        ("GET", "/api/v1/namespaces/ns/pods?fieldSelector=metadata.name%3Dp", "list pods/ ns p"),
        ("GET", "/api/v1/namespaces/ns/pods?fieldSelector=metadata.name!%3Dp", "list pods/ ns -"),
        ("DELETE", "/api/v1/namespaces/ns/pods", "deletecollection pods/ ns -"),
        ("DELETE", "/api/v1/namespaces/ns/pods/p", "delete pods/ ns p"),
        ("POST", "/api/v1/namespaces/ns/pods", "create pods/ ns -"),
        ("PUT", "/api/v1/namespaces/ns/pods/p/status", "update pods/status ns p"),
        ("PATCH", f"{PROFILES}/p/status", "patch seccompprofiles/status ns p"),
        ("GET", "/api/v1/namespaces/ns/pods/p/log", "get pods/log ns p"),
        ("POST", "/api/v1/namespaces/ns/pods/p/exec", "create pods/exec ns p"),
        ("GET", "/api/v1/namespaces", "list namespaces/ - -"),
        ("GET", "/api/v1/namespaces/ns", "get namespaces/ ns ns"),
        ("PUT", "/api/v1/namespaces/ns/finalize", "update namespaces/finalize ns ns"),
        ("GET", "//api/v1/nodes", "list nodes/ - -"),
        ("GET", "/api/v1/%6eodes/a%2Fb", "get nodes/ - a/b"),
    ],
)
def test_resource_requests(method: str, url: str, wanted: str) -> None:
    found = attributes_of(request(method, url))
    shown = f"{found.verb} {found.resource}/{found.subresource} {found.namespace or '-'} {found.name or '-'}"
    assert (shown, found.path) == (wanted, "")


@pytest.mark.parametrize(
    ("method", "url"),
    [("GET", "/"), ("GET", "/api"), ("GET", "/apis/x/v1"), ("POST", "/version"), ("GET", "/healthz")],
)
def test_other_requests(method: str, url: str) -> None:
    assert attributes_of(request(method, url)) == Attributes(verb=method.lower(), path=url)


@pytest.mark.parametrize(
    ("wanted", "text", "details"),
    [
        (
            Attributes(verb="get", group=GROUP, resource="sp", subresource="scale", namespace="ns", name="x"),
            (
                f'sp.{GROUP} "x" is forbidden: User "jane" cannot get resource "sp/scale" '
                f'in API group "{GROUP}" in the namespace "ns"'
            ),
            {"name": "x", "group": GROUP, "kind": "sp"},
        ),
        (
            Attributes(verb="list", resource="nodes"),
            (
                'nodes is forbidden: User "jane" cannot list resource "nodes" in API group "" '
                "at the cluster scope"
            ),
            {"kind": "nodes"},
        ),
        (
            Attributes(verb="get", path="/metrics"),
            'forbidden: User "jane" cannot get path "/metrics"',
            {},
        ),
    ],
)
def test_refusal_is_worded_as_recorded(wanted: Attributes, text: str, details: dict[str, str]) -> None:
    error = forbidden_request(User("jane"), wanted)
    assert (error.code, error.reason, error.message, error.details) == (403, "Forbidden", text, details)


@pytest.fixture
def authorizer() -> Authorizer:
    store = Store(":memory:")
    ensure_defaults(store)
    return Authorizer(store)


@pytest.mark.parametrize(
    ("headers", "name", "groups"),
    [
        ([("impersonate-user", "jane")], "jane", ("system:authenticated",)),
        (
            [("impersonate-user", "jane"), ("impersonate-group", "a"), ("impersonate-group", "b")],
            "jane",
            ("a", "b", "system:authenticated"),
        ),
        (
            [("impersonate-user", "system:serviceaccount:ns:sa")],
            "system:serviceaccount:ns:sa",
            ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"),
        ),
        ([("impersonate-user", ANONYMOUS.name)], ANONYMOUS.name, ("system:unauthenticated",)),
    ],
)
def test_administrator_acts_as_another(
    authorizer: Authorizer, headers: list[tuple[str, str]], name: str, groups: tuple[str, ...]
) -> None:
    user = impersonated(ADMIN, headers, authorizer)
    assert (user.name, user.groups) == (name, groups)


def test_nobody_becomes_administrator_by_headers(authorizer: Authorizer) -> None:
    headers = [("impersonate-user", "root"), ("impersonate-group", "system:masters")]
    for user in (ANONYMOUS, User("jane", ("system:authenticated",))):
        with pytest.raises(ApiError) as refused:
            impersonated(user, headers, authorizer)
        assert refused.value.message == (
            f'users "root" is forbidden: User "{user.name}" cannot impersonate resource "users" '
            'in API group "" at the cluster scope'
        )


def test_right_to_act_as_a_user_does_not_give_groups(authorizer: Authorizer) -> None:
    store = Store(":memory:")
    rule = {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"]}
    group = "rbac.authorization.k8s.io"
    store.create(f"clusterroles.{group}", {"metadata": {"name": "r"}, "rules": [rule]})
    reference = {"apiGroup": group, "kind": "ClusterRole", "name": "r"}
    subjects = [{"kind": "User", "name": "jane"}]
    binding = {"metadata": {"name": "b"}, "roleRef": reference, "subjects": subjects}
    store.create(f"clusterrolebindings.{group}", binding)
    rules, jane = Authorizer(store), User("jane")
    assert impersonated(jane, [("impersonate-user", "x")], rules).name == "x"
    with pytest.raises(ApiError, match='cannot impersonate resource "groups"'):
        impersonated(jane, [("impersonate-user", "x"), ("impersonate-group", "system:masters")], rules)


def test_headers_without_a_user_are_refused(authorizer: Authorizer) -> None:
    with pytest.raises(ApiError, match="without impersonating a user"):
        impersonated(ADMIN, [("impersonate-group", "a")], authorizer)
