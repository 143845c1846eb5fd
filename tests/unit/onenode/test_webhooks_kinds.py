"""Which webhooks get a request, and which configurations are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onenode.builtin_resources import builtin_resources
from onenode.registry import Registry, Resource
from onenode.webhooks.kinds import (
    default_configuration,
    default_policy,
    validate_configuration,
    validate_policy,
    validate_policy_binding,
)
from onenode.webhooks.matching import Target, is_exempt, matching_rule, selects_namespace, selects_object
from onenode.webhooks.review import CallError, denial, read_answer, read_patch
from tests.fakes.onenode_api import running_api

Obj = dict[str, Any]

REGISTRY = Registry(builtin_resources())


def resource(plural: str, group: str = "") -> Resource:
    found = REGISTRY.find(group, "v1", plural)
    assert found is not None
    return found


def rule(*resources: str, **more: Any) -> Obj:
    plain = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": list(resources)}
    return {**plain, **more}


@pytest.mark.parametrize(
    ("patterns", "subresource", "matches"),
    [
        (["pods"], "", True),
        (["pods"], "status", False),
        (["pods/status"], "status", True),
        (["pods/*"], "status", True),
        (["pods/*"], "", True),
        (["*"], "", True),
        (["*"], "status", False),
        (["*/status"], "status", True),
        (["*/*"], "ephemeralcontainers", True),
        (["secrets", "pods"], "", True),
        (["secrets"], "", False),
    ],
)
def test_resources_of_a_rule(patterns: list[str], subresource: str, matches: bool) -> None:
    target = Target(resource("pods"), subresource)
    found = matching_rule({"rules": [rule(*patterns)]}, "CREATE", [target])
    assert (found is not None) is matches


@pytest.mark.parametrize(
    ("more", "matches"),
    [
        ({"scope": "Namespaced"}, True),
        ({"scope": "Cluster"}, False),
        ({"operations": ["*"]}, True),
        ({"operations": ["UPDATE"]}, False),
        ({"apiGroups": ["*"]}, True),
        ({"apiGroups": ["apps"]}, False),
        ({"apiVersions": ["v2"]}, False),
    ],
)
def test_other_parts_of_a_rule(more: Obj, matches: bool) -> None:
    found = matching_rule({"rules": [rule("pods", **more)]}, "CREATE", [Target(resource("pods"))])
    assert (found is not None) is matches


def test_objects_without_a_namespace_pass_its_selector() -> None:
    webhook = {"namespaceSelector": {"matchLabels": {"a": "b"}}}
    node = {"metadata": {"name": "n"}}
    assert selects_namespace(webhook, resource("nodes"), node, None)
    assert not selects_namespace(webhook, resource("pods"), node, {})
    assert selects_namespace(webhook, resource("pods"), node, {"a": "b"})


def test_object_selector_looks_at_both_objects() -> None:
    webhook = {"objectSelector": {"matchLabels": {"a": "b"}}}
    with_label, without = {"metadata": {"labels": {"a": "b"}}}, {"metadata": {}}
    assert selects_object(webhook, with_label, without)
    assert selects_object(webhook, without, with_label)
    assert not selects_object(webhook, without, None)


def test_configurations_are_exempt_and_nothing_else() -> None:
    exempt = {one.plural for one in REGISTRY.all() if is_exempt(one)}
    assert exempt == {
        "mutatingwebhookconfigurations",
        "validatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
    }


def configuration(**more: Any) -> Obj:
    webhook = {
        "name": "a.b.c",
        "clientConfig": {"url": "https://h/x"},
        "rules": [rule("pods")],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **more,
    }
    obj = {"kind": "MutatingWebhookConfiguration", "webhooks": [webhook]}
    default_configuration(obj)
    return obj


def test_plain_configuration_is_accepted() -> None:
    assert validate_configuration(configuration(), None) == []


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"clientConfig": {}}, "webhooks[0].clientConfig: Required value: exactly one of url or service"),
        ({"clientConfig": {"url": "https://h/x", "service": {}}}, "exactly one of url or service"),
        ({"clientConfig": {"url": "https://u:p@h/x"}}, "user information is not permitted"),
        ({"clientConfig": {"url": "https://h/x?a=b"}}, "query parameters are not permitted"),
        ({"clientConfig": {"url": "https://h/x#f"}}, "fragments are not permitted"),
        ({"clientConfig": {"url": "https:///x"}}, "host must be specified"),
        ({"clientConfig": {"url": "https://h:port/x"}}, "url must be a valid URL"),
        ({"clientConfig": {"service": {"name": "n"}}}, "service.namespace: Required value"),
        (
            {"clientConfig": {"service": {"name": "n", "namespace": "n", "port": 70000}}},
            "service.port: Invalid value: 70000",
        ),
        (
            {"clientConfig": {"service": {"name": "n", "namespace": "n", "path": "x"}}},
            "must start with a '/'",
        ),
        ({"timeoutSeconds": 31}, "the timeout value must be between 1 and 30 seconds"),
        ({"failurePolicy": "Maybe"}, 'Unsupported value: "Maybe": supported values: "Fail", "Ignore"'),
        ({"reinvocationPolicy": "Twice"}, "reinvocationPolicy: Unsupported value"),
        ({"rules": [rule("pods", operations=["*", "CREATE"])]}, "must not specify other operations"),
        ({"rules": [rule()]}, "rules[0].resources: Required value"),
        ({"rules": [rule("*/*", "pods")]}, "must not specify other resources"),
        ({"rules": [rule("pods/*", "pods/log")]}, "must not specify pods/<subresource>"),
        ({"rules": [rule("pods", scope="Moon")]}, "rules[0].scope: Unsupported value"),
        ({"admissionReviewVersions": ["v9"]}, "must include at least one of v1, v1beta1"),
        ({"objectSelector": {"matchLabels": {"bad key": "x"}}}, "objectSelector.matchLabels: Invalid value"),
    ],
)
def test_wrong_configuration_is_named(more: Obj, text: str) -> None:
    found = " ".join(cause.text for cause in validate_configuration(configuration(**more), None))
    assert text in found


def test_names_of_webhooks_are_unique() -> None:
    obj = configuration()
    obj["webhooks"] *= 2
    assert [cause.reason for cause in validate_configuration(obj, None)] == ["FieldValueDuplicate"]


def test_policies_are_completed_and_checked() -> None:
    policy: Obj = {"spec": {"matchConstraints": {"resourceRules": [rule("pods")]}, "validations": [{}]}}
    default_policy(policy)
    assert policy["spec"]["failurePolicy"] == "Fail"
    assert policy["spec"]["matchConstraints"]["resourceRules"][0]["scope"] == "*"
    (cause,) = validate_policy(policy, None)
    assert cause.field == "spec.validations[0].expression"
    both = {"spec": {"policyName": "p", "validationActions": ["Deny", "Warn"]}}
    (cause,) = validate_policy_binding(both, None)
    assert "must not contain both Deny and Warn" in cause.message


@pytest.mark.parametrize(
    ("code", "answered"), [(200, 400), (403, 403), (None, 400), ("403", 400), (999, 400)]
)
def test_denial_never_answers_a_success(code: Any, answered: int) -> None:
    assert denial("a.b.c", {"code": code}).code == answered


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("allowed", "status", "patch", "patchType", "warnings", "auditAnnotations")


@given(st.binary() | JSON.map(json.dumps).map(str.encode))
def test_what_is_no_review_ends_in_one_error(body: bytes) -> None:
    with pytest.raises(CallError):
        read_answer(body, "uid", mutating=True)


@given(st.dictionaries(st.sampled_from(FIELDS), JSON), st.booleans())
def test_hostile_responses_are_understood_or_refused(response: Obj, mutating: bool) -> None:
    review = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response}
    body = json.dumps({**review, "response": {**response, "uid": "uid"}}).encode()
    try:
        verdict = read_answer(body, "uid", mutating=mutating)
        read_patch(verdict)
    except CallError:
        return
    assert 400 <= denial("a.b.c", verdict.status).code < 600


async def test_policies_are_stored_objects() -> None:
    group = "/apis/admissionregistration.k8s.io/v1"
    rules = [rule("deployments", apiGroups=["apps"])]
    spec = {
        "matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": "object.spec.replicas <= 5"}],
    }
    binding = {"policyName": "p.example.com", "validationActions": ["Deny"]}
    table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    async with running_api() as api:
        for plural, kind, body in (
            ("validatingadmissionpolicies", "ValidatingAdmissionPolicy", spec),
            ("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", binding),
        ):
            obj = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "spec": body}
            made = await api.call(
                "POST", f"{group}/{plural}", {**obj, "metadata": {"name": "p.example.com"}}, 201
            )
            assert made["metadata"]["generation"] == 1
        rows = (await api.call("GET", f"{group}/validatingadmissionpolicies", **table))["rows"]
        assert rows[0]["cells"][:3] == ["p.example.com", 1, "<unset>"]
        rows = (await api.call("GET", f"{group}/validatingadmissionpolicybindings", **table))["rows"]
        assert rows[0]["cells"][:3] == ["p.example.com", "p.example.com", "<unset>"]
        refused = {**obj, "metadata": {"name": "q"}, "spec": {"policyName": "p"}}
        await api.call("POST", f"{group}/validatingadmissionpolicybindings", refused, 422)


def test_text_that_is_not_utf8_is_one_error() -> None:
    with pytest.raises(CallError, match="invalid UTF-8"):
        read_answer(b'"\xff"', "uid", mutating=True)
