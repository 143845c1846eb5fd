"""The policy about what a daemon writes: its expressions, evaluated."""

from typing import Any

import pytest
import yaml

from onenode.cel_values import check_syntax, evaluate
from spo.names import RECORDING_LABEL
from tools.generate_manifests import DEPLOY

Obj = dict[str, Any]
NODE_CLAIM = "authentication.kubernetes.io/node-name"
DAEMON = "system:serviceaccount:security-profiles-operator:spod"
POLICY: Obj
POLICY, BINDING = yaml.safe_load_all((DEPLOY / "base/daemon-policy.yaml").read_text())
SPEC: Obj = POLICY["spec"]


def review(
    resource: str,
    new: Obj,
    old: Obj | None = None,
    *,
    node: str | None = "n1",
    subresource: str = "",
    user: str = DAEMON,
) -> Obj:
    extra = {} if node is None else {"extra": {NODE_CLAIM: [node]}}
    return {
        "request": {
            "operation": "CREATE" if old is None else "UPDATE",
            "resource": {
                "group": "security-profiles-operator.x-k8s.io",
                "version": "v1",
                "resource": resource,
            },
            "subResource": subresource,
            "userInfo": {"username": user, **extra},
        },
        "object": new,
        "oldObject": old,
    }


def refusal(admission: Obj) -> str | None:
    """The message of the first validation that fails; ``None``: admitted."""
    if not all(evaluate(one["expression"], admission) for one in SPEC["matchConditions"]):
        return None
    values: Obj = {}
    # Each knows those before it, as in an API server.
    for variable in SPEC["variables"]:
        values[variable["name"]] = evaluate(variable["expression"], {**admission, "variables": values})
    known = {**admission, "variables": values}
    for validation in SPEC["validations"]:
        if evaluate(validation["expression"], known) is not True:
            message = validation.get("messageExpression")
            return str(evaluate(message, known)) if message else str(validation["message"])
    return None


def report(name: str, node: str | None = None) -> Obj:
    return {"metadata": {"name": name}, "nodeName": node or name}


def profile(*, recorded: bool) -> Obj:
    labels = {"labels": {RECORDING_LABEL: "rec"}} if recorded else {}
    return {"metadata": {"name": "p", **labels}}


STATUSES, PROFILES = "securityprofilenodestatuses", "seccompprofiles"
OWN_NODE_ONLY = 'the daemon of node "n1" writes the report of this node only'
RECORDED_ONLY = "a daemon writes profiles with the label spo.x-k8s.io/recording-id only"
NO_STATUS = "a daemon writes no status of profiles and recordings"
NOTHING_ELSE = "a daemon writes the report of its node and recorded profiles, nothing else"


@pytest.mark.parametrize(
    ("admission", "expected"),
    [
        pytest.param(review(STATUSES, report("n1")), None, id="own-report"),
        pytest.param(review(STATUSES, report("n1"), report("n1")), None, id="own-report-again"),
        pytest.param(review(STATUSES, report("n2")), OWN_NODE_ONLY, id="foreign-report"),
        pytest.param(
            review(STATUSES, report("n2"), report("n2")), OWN_NODE_ONLY, id="foreign-report-changed"
        ),
        pytest.param(review(STATUSES, report("n1", "n2")), OWN_NODE_ONLY, id="speaks-for-another"),
        pytest.param(review(STATUSES, report("n2"), node=None), None, id="cluster-that-does-not-tell"),
        pytest.param(review(PROFILES, profile(recorded=True)), None, id="recorded"),
        pytest.param(review(PROFILES, profile(recorded=False)), RECORDED_ONLY, id="unlabelled"),
        pytest.param(
            review(PROFILES, profile(recorded=True), profile(recorded=True)), None, id="recorded-again"
        ),
        pytest.param(
            review(PROFILES, profile(recorded=True), profile(recorded=False)), RECORDED_ONLY, id="taken-over"
        ),
        pytest.param(
            review(PROFILES, profile(recorded=False), profile(recorded=True)),
            RECORDED_ONLY,
            id="label-removed",
        ),
        pytest.param(
            review(PROFILES, profile(recorded=True), profile(recorded=True), subresource="status"),
            NO_STATUS,
            id="status-of-a-profile",
        ),
        pytest.param(
            review("profilerecordings", profile(recorded=True), profile(recorded=True), subresource="status"),
            NOTHING_ELSE,
            id="status-of-a-recording",
        ),
        pytest.param(review("profilebindings", profile(recorded=True)), NOTHING_ELSE, id="binding"),
        pytest.param(
            review("securityprofilesoperatordaemons", profile(recorded=True)), NOTHING_ELSE, id="settings"
        ),
        pytest.param(review(STATUSES, report("n2"), user="jane"), None, id="somebody-else"),
    ],
)
def test_what_a_daemon_may_write(admission: Obj, expected: str | None) -> None:
    assert refusal(admission) == expected


def test_every_expression_can_be_read() -> None:
    parts = [*SPEC["matchConditions"], *SPEC["variables"], *SPEC["validations"]]
    found = [one[key] for one in parts for key in ("expression", "messageExpression") if key in one]
    assert len(found) == 10
    assert [check_syntax(one) for one in found] == [None] * len(found)


def test_it_is_in_force() -> None:
    assert SPEC["failurePolicy"] == "Fail"
    assert BINDING["spec"] == {"policyName": POLICY["metadata"]["name"], "validationActions": ["Deny"]}
    rule = SPEC["matchConstraints"]["resourceRules"][0]
    assert rule["operations"] == ["CREATE", "UPDATE"]
    assert rule["resources"] == ["*", "*/status"]
