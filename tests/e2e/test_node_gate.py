"""A node with the taint takes pods once its profiles are there."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from spo.names import NODE_GATE_TAINT
from tests.e2e.breaking import OPERATOR
from tests.e2e.cluster import Cluster, Namespace, pod, seccomp_profile
from tools.devcluster import ROOT

RIGHTS = str(ROOT / "deploy/overlays/node-gate/rights.yaml")
MANAGER = f"deployment/{OPERATOR}"


@pytest.fixture(scope="module")
def gate(cluster: Cluster) -> Iterator[Namespace]:
    """The operator, with the gate."""
    if not cluster.own:
        pytest.skip("changes the operator of the cluster")
    operator = Namespace(cluster, OPERATOR)
    operator.kubectl("apply", "-f", RIGHTS)
    set_gate(operator, "true")
    yield operator
    if tainted(operator):
        operator.kubectl("taint", "node", "e2e-node", f"{NODE_GATE_TAINT}-")
    set_gate(operator, "false")
    operator.kubectl("delete", "-f", RIGHTS)


def set_gate(operator: Namespace, value: str) -> None:
    operator.kubectl("set", "env", MANAGER, f"SPO_NODE_GATE={value}")
    operator.kubectl("rollout", "status", MANAGER, "--timeout=60s")
    operator.eventually("the daemons have the toleration", lambda: tolerated(operator) == (value == "true"))
    operator.kubectl("rollout", "status", "daemonset/spod", "--timeout=60s")


def tolerated(operator: Namespace) -> bool:
    spec = operator.get("daemonset", "spod")["spec"]["template"]["spec"]
    return any(one.get("key") == NODE_GATE_TAINT for one in spec.get("tolerations", []))


def tainted(operator: Namespace) -> bool:
    node: dict[str, Any] = operator.get("node", "e2e-node")
    return any(one["key"] == NODE_GATE_TAINT for one in node["spec"].get("taints", []))


def taint(operator: Namespace) -> None:
    operator.kubectl("taint", "node", "e2e-node", f"{NODE_GATE_TAINT}=:NoSchedule")


def set_timeout(operator: Namespace, timeout: str | None) -> None:
    gate = {"timeout": timeout} if timeout else None
    body = json.dumps({"spec": {"nodeGate": gate}})
    operator.kubectl("patch", "spod", "spod", "--type=merge", "-p", body)


def test_taint_goes_when_the_profiles_are_there(gate: Namespace, namespace: Namespace) -> None:
    namespace.apply(seccomp_profile("web"))
    taint(gate)
    namespace.apply(pod("waiting", "sleep", "60"))
    gate.eventually("the taint is gone", lambda: not tainted(gate))
    assert namespace.status("web")["status"] == "Installed"
    namespace.kubectl("wait", "--for=condition=ready", "pod/waiting", "--timeout=30s")


def test_without_report_it_goes_after_the_time(gate: Namespace) -> None:
    """A daemon that has lost its right to report."""
    role = gate.get("role", "spod")
    before = json.dumps({"rules": role["rules"]})
    fewer = [one for one in role["rules"] if "securityprofilenodestatuses" not in one["resources"]]
    set_timeout(gate, "2s")
    gate.kubectl("patch", "role", "spod", "--type=merge", "-p", json.dumps({"rules": fewer}))
    try:
        gate.kubectl("delete", "securityprofilenodestatus", "e2e-node")
        taint(gate)
        assert tainted(gate)
        gate.eventually("the taint is gone", lambda: not tainted(gate))
        told = gate.kubectl("events", "--all-namespaces", "--for=node/e2e-node")
        assert "ProfilesNotReady" in told
        assert "its daemon has not reported" in told
    finally:
        gate.kubectl("patch", "role", "spod", "--type=merge", "-p", before)
        set_timeout(gate, None)
        gate.eventually(
            "the daemon reports again",
            lambda: "e2e-node" in gate.kubectl("get", "securityprofilenodestatuses", "--output=name"),
        )
