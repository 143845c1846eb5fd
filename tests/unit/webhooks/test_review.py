"""Reviews in, reviews out: versions, refusals, what is malformed, what is left alone."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.api.meta import LabelSelector
from spo.names import BINDING_PATH, RECORDING_PATH
from spo.profiles.binding_rule import BindingRule
from spo.profiles.image_reference import parse_image
from spo.recording.trace_annotation import RecordingRule
from spo.webhooks.binding import Availability
from spo.webhooks.review import BadReviewError, Reviewer, UnreadableRuleError

Obj = dict[str, Any]
BIND = BindingRule("b", "strict", "nginx", parse_image("nginx"), None, (2, 0))
RECORD = RecordingRule("r", "io.containers.trace-bpf/", "SeccompProfile", "bpf", LabelSelector(), frozenset())


@dataclass
class KnownRules:
    """Implements spo.webhooks.review.Rules."""

    cached: Availability = Availability.USABLE
    fresh: Availability = Availability.MISSING
    unreadable: bool = False
    asked: list[str] = field(default_factory=list)
    recorded: list[RecordingRule] = field(default_factory=lambda: [RECORD])

    def bindings(self, namespace: str) -> list[BindingRule]:
        if self.unreadable:
            raise UnreadableRuleError("ProfileBinding", namespace, "odd", "cannot be read")
        return [BIND] if namespace == "shop" else []

    def recordings(self, namespace: str) -> list[RecordingRule]:
        return self.recorded if namespace == "shop" else []

    def profile(self, namespace: str, name: str) -> Availability:
        return self.cached

    async def look_again(self, namespace: str, name: str) -> Availability:
        self.asked.append(f"{namespace}/{name}")
        return self.fresh


POD: Obj = {
    "metadata": {"generateName": "web-", "namespace": "not-this-one"},
    "spec": {"containers": [{"name": "c", "image": "nginx", "future": {"field": [1, 2]}}], "futureField": 1},
}


def review(pod: Any = POD, version: str = "v1", **request: Any) -> Obj:
    return {
        "apiVersion": f"admission.k8s.io/{version}",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u-1",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "shop",
            "operation": "CREATE",
            "object": pod,
            **request,
        },
    }


async def ask(body: Any, path: str = BINDING_PATH, rules: KnownRules | None = None) -> Obj:
    reviewer = Reviewer(rules or KnownRules(), "spo", lambda: 1_700_000_000.9)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = reviewer.answer(path, raw)
    decoded: Obj = json.loads(answer if isinstance(answer, bytes) else await answer)
    return decoded


def patch(answer: Obj) -> list[Obj]:
    response = answer["response"]
    assert response["patchType"] == "JSONPatch"
    operations: list[Obj] = json.loads(base64.b64decode(response["patch"]))
    return operations


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_answer_has_the_version_of_the_question(version: str) -> None:
    answer = await ask(review(version=version))
    assert (answer["apiVersion"], answer["kind"]) == (f"admission.k8s.io/{version}", "AdmissionReview")
    assert answer["response"]["uid"] == "u-1"
    assert answer["response"]["allowed"] is True


async def test_patch_touches_nothing_but_the_profile() -> None:
    wanted = {"seccompProfile": {"type": "Localhost", "localhostProfile": "operator/shop/strict.json"}}
    assert patch(await ask(review())) == [
        {"op": "add", "path": "/spec/containers/0/securityContext", "value": wanted}
    ]


async def test_recording_uses_whole_seconds() -> None:
    value = {"io.containers.trace-bpf/c": "r-c-1700000000"}
    assert patch(await ask(review(), RECORDING_PATH)) == [
        {"op": "add", "path": "/metadata/annotations", "value": value}
    ]


@pytest.mark.parametrize("path", [BINDING_PATH, RECORDING_PATH])
@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"operation": "UPDATE"}, id="update"),
        pytest.param({"operation": "DELETE", "object": None}, id="delete"),
        pytest.param({"namespace": "other"}, id="namespace-without-rules"),
        pytest.param({"resource": {"group": "apps", "resource": "pods"}}, id="other-group"),
        pytest.param({"resource": {"group": "", "resource": "services"}}, id="other-kind"),
        pytest.param({"subResource": "status"}, id="subresource"),
    ],
)
async def test_what_is_no_new_pod_is_unchanged(path: str, changed: Obj) -> None:
    response = (await ask(review(**changed), path))["response"]
    assert response == {"uid": "u-1", "allowed": True, "status": {"code": 200, "reason": "pod unchanged"}}


async def test_annotation_of_a_static_pod_gets_nobody_but_a_kubelet_past_a_binding() -> None:
    pod = {**POD, "metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}
    for path in (BINDING_PATH, RECORDING_PATH):
        by_user = await ask(review(pod, userInfo={"username": "alice"}), path)
        assert "patch" in by_user["response"]
        by_node = await ask(review(pod, userInfo={"username": "system:node:n1"}), path)
        assert "patch" not in by_node["response"]


async def test_dry_run_is_answered_alike() -> None:
    assert (await ask(review(dryRun=True)))["response"] == (await ask(review()))["response"]


async def test_new_ephemeral_container_is_bound() -> None:
    old = {**POD, "spec": {**POD["spec"], "ephemeralContainers": [{"name": "e1", "image": "nginx"}]}}
    ephemeral = [{"name": "e1", "image": "nginx"}, {"name": "e2", "image": "nginx"}]
    new = {**POD, "spec": {**POD["spec"], "ephemeralContainers": ephemeral}}
    request = {"subResource": "ephemeralcontainers", "operation": "UPDATE", "oldObject": old}
    operations = patch(await ask(review(new, **request)))
    assert [one["path"] for one in operations] == ["/spec/ephemeralContainers/1/securityContext"]


async def test_missing_profile_is_looked_up_once_more_before_the_pod_is_refused() -> None:
    rules = KnownRules(cached=Availability.MISSING, fresh=Availability.NOT_INSTALLED)
    answer = await ask(review(), rules=rules)
    assert answer["response"]["allowed"] is True
    assert rules.asked == ["shop/strict"]
    assert ["is not installed" in one for one in answer["response"]["warnings"]] == [True]


async def test_refusal_names_binding_and_profile() -> None:
    rules = KnownRules(cached=Availability.MISSING)
    response = (await ask(review(), rules=rules))["response"]
    assert response["allowed"] is False
    assert (response["status"]["code"], response["status"]["reason"]) == (403, "Forbidden")
    assert "ProfileBinding shop/b" in response["status"]["message"]
    assert "SeccompProfile 'strict', which does not exist in shop" in response["status"]["message"]
    assert "patch" not in response


async def test_binding_that_cannot_be_read_refuses_rather_than_guesses() -> None:
    response = (await ask(review(), rules=KnownRules(unreadable=True)))["response"]
    assert response["allowed"] is False
    assert response["status"]["code"] == 500
    assert response["status"]["message"] == ("ProfileBinding shop/odd: cannot be read; correct or delete it")


@pytest.mark.parametrize(
    "pod",
    [
        None,
        [],
        "pod",
        {"spec": {"containers": 5}},
        {"spec": {"containers": [{"name": {}}]}},
        {"metadata": []},
    ],
)
@pytest.mark.parametrize("path", [BINDING_PATH, RECORDING_PATH])
async def test_pod_that_cannot_be_read_is_refused_with_the_field(pod: Any, path: str) -> None:
    response = (await ask(review(pod), path))["response"]
    assert response["allowed"] is False
    assert response["status"]["code"] == 400
    assert response["status"]["message"].startswith("the pod cannot be read: ")


async def test_deep_nesting_is_refused_and_not_followed() -> None:
    deep = b'{"spec":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    body = json.dumps(review("POD")).encode().replace(b'"POD"', deep)
    with pytest.raises(BadReviewError):
        await ask(body)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        pytest.param(b"", "malformed|truncated", id="empty"),
        pytest.param(b"{", "truncated", id="half"),
        pytest.param(b"[]", "Expected `object`", id="list"),
        pytest.param(b"\xff\xfe", "malformed|invalid", id="binary"),
        pytest.param(b"{}", "missing required field", id="no-request"),
        pytest.param(
            {**review(), "apiVersion": "admission.k8s.io/v2"}, "'admission.k8s.io/v2'", id="version"
        ),
        pytest.param({**review(), "kind": "Pod"}, "kind 'Pod'", id="kind"),
        pytest.param({**review(), "request": None}, "Expected `object`, got `null`", id="null-request"),
        pytest.param(review(uid=5), r"Expected `str`, got `int` - at `\$.request.uid`", id="uid"),
    ],
)
async def test_what_is_no_review_is_told_in_one_sentence(body: Any, problem: str) -> None:
    with pytest.raises(BadReviewError, match=f"not an AdmissionReview of .*({problem})"):
        await ask(body)


@given(st.binary(max_size=200))
async def test_any_bytes_are_refused_cleanly(body: bytes) -> None:
    with pytest.raises(BadReviewError):
        await ask(body)


async def test_pod_of_a_mebibyte_is_answered() -> None:
    metadata = {"generateName": "big-", "annotations": {f"k{n}": "v" * 1000 for n in range(1100)}}
    big = {**POD, "metadata": metadata}
    assert len(json.dumps(big)) > 1 << 20
    assert len(patch(await ask(review(big)))) == 1
    assert len(patch(await ask(review(big), RECORDING_PATH))) == 1
