"""Levels of pod security."""

from __future__ import annotations

from typing import Any

import pytest

from onenode.pod_security import enforced_violations, pod_spec_of, warned_violations

Obj = dict[str, Any]

BASELINE = {"pod-security.kubernetes.io/enforce": "baseline"}
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
GOOD = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "Localhost", "localhostProfile": "operator/n/p.json"},
}


def spec(*containers: Obj, **more: Any) -> Obj:
    return {"containers": [{"name": f"c{n}", **one} for n, one in enumerate(containers)], **more}


def test_without_a_label_everything_is_allowed() -> None:
    worst = spec({"securityContext": {"privileged": True}}, hostPID=True)
    assert enforced_violations({}, worst) == ""
    assert warned_violations({}, worst) == ""


def test_careful_pod_is_restricted() -> None:
    assert (
        enforced_violations(
            RESTRICTED, spec({"securityContext": GOOD}, volumes=[{"name": "v", "emptyDir": {}}])
        )
        == ""
    )


def test_plain_pod_is_baseline() -> None:
    assert enforced_violations(BASELINE, spec({})) == ""


@pytest.mark.parametrize(
    ("pod", "text"),
    [
        (spec({}, hostNetwork=True, hostPID=True), "host namespaces (hostNetwork=true, hostPID=true)"),
        (spec({}, volumes=[{"name": "v", "hostPath": {"path": "/"}}]), 'hostPath volumes (volume "v")'),
        (spec({"ports": [{"hostPort": 80}]}), 'hostPort (container "c0" uses hostPort 80)'),
        (
            spec({"securityContext": {"privileged": True}}),
            'privileged (container "c0" must not set securityContext.privileged=true)',
        ),
        (
            spec(*[{"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}] * 2),
            'containers "c0", "c1" must not include "SYS_ADMIN" in securityContext.capabilities.add',
        ),
        (
            spec({}, securityContext={"seccompProfile": {"type": "Unconfined"}}),
            'pod must not set securityContext.seccompProfile.type to "Unconfined"',
        ),
        (spec({}, initContainers=[{"name": "i", "securityContext": {"procMount": "Unmasked"}}]), '"i"'),
        (spec({}, ephemeralContainers=[{"name": "e", "securityContext": {"privileged": True}}]), '"e"'),
    ],
)
def test_baseline_refuses_what_reaches_the_node(pod: Obj, text: str) -> None:
    found = enforced_violations(BASELINE, pod)
    assert found.startswith('violates PodSecurity "baseline:latest": ')
    assert text in found


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"allowPrivilegeEscalation": None}, "allowPrivilegeEscalation != false"),
        ({"capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}}, 'must not include "CHOWN"'),
        ({"runAsNonRoot": False}, 'container "c0" must not set securityContext.runAsNonRoot=false'),
        ({"runAsUser": 0}, 'runAsUser=0 (container "c0" must not set runAsUser=0)'),
        ({"seccompProfile": None}, 'pod or container "c0" must set securityContext.seccompProfile.type'),
    ],
)
def test_restricted_wants_more(change: Obj, text: str) -> None:
    assert text in enforced_violations(RESTRICTED, spec({"securityContext": {**GOOD, **change}}))


def test_restricted_volumes_are_named_with_their_types() -> None:
    volumes = [{"name": "a", "nfs": {}}, {"name": "b", "hostPath": {}}]
    found = enforced_violations(RESTRICTED, spec({"securityContext": GOOD}, volumes=volumes))
    assert 'volumes "a", "b" use restricted volume types "hostPath", "nfs"' in found


def test_warnings_have_a_level_of_their_own_and_unknown_levels_protect() -> None:
    labels = {**BASELINE, "pod-security.kubernetes.io/warn": "restricted"}
    assert enforced_violations(labels, spec({})) == ""
    assert warned_violations(labels, spec({})).startswith('would violate PodSecurity "restricted:latest": ')
    assert warned_violations(BASELINE, spec({})) == ""
    assert enforced_violations({"pod-security.kubernetes.io/enforce": "strict"}, spec({}))


def test_only_workloads_hold_a_template() -> None:
    assert pod_spec_of("jobs.batch", {"spec": {"template": {"spec": {"a": 1}}}}) == {"a": 1}
    assert pod_spec_of("configmaps", {}) is None
