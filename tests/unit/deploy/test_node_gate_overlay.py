"""What the overlay for the node gate adds, and that nobody else may change nodes."""

from typing import Any

import pytest
import yaml

from spo.names import NODE_GATE_TAINT
from spo.settings import ManagerSettings
from tools.generate_manifests import rendered

Obj = dict[str, Any]


def objects(overlay: str) -> list[Obj]:
    return list(yaml.load_all(rendered(overlay), Loader=yaml.CSafeLoader))


def may_change_nodes(found: list[Obj]) -> list[str]:
    return [
        one["metadata"]["name"]
        for one in found
        if one["kind"] in {"ClusterRole", "Role"}
        for rule in one["rules"]
        if "nodes" in rule.get("resources", ()) and {"patch", "update"} & set(rule["verbs"])
    ]


def test_overlay_grants_what_the_gate_needs() -> None:
    found = objects("node-gate")
    assert may_change_nodes(found) == ["security-profiles-operator-node-gate"]
    deployments = [one["spec"]["template"]["spec"] for one in found if one["kind"] == "Deployment"]
    assert len(deployments) == 2
    for spec in deployments:
        assert {"key": NODE_GATE_TAINT, "operator": "Exists"} in spec["tolerations"]
        assert len(spec["tolerations"]) > 1
    variables = {
        one["name"]: one.get("value", "") for spec in deployments for one in spec["containers"][0]["env"]
    }
    settings = ManagerSettings.from_env({**variables, "OPERATOR_NAMESPACE": "spo"})
    assert settings.node_gate
    enabled = [
        spec["serviceAccountName"]
        for spec in deployments
        if any(one["name"] == "SPO_NODE_GATE" for one in spec["containers"][0]["env"])
    ]
    assert enabled == ["security-profiles-operator"]


@pytest.mark.parametrize("overlay", ["cluster", "cert-manager", "openshift"])
def test_nobody_changes_nodes_without_it(overlay: str) -> None:
    assert may_change_nodes(objects(overlay)) == []
