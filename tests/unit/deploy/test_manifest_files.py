"""What the rendered manifests say, without a cluster."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from spo.api.crds import custom_resource_definitions
from spo.manager.webhook_configuration import configuration_name
from spo.names import (
    MANAGER_LEASE,
    METRICS_CERTIFICATE,
    SERVICE_MONITOR,
    WEBHOOK_AUTHORITY,
    WEBHOOK_CERTIFICATE,
)
from tools.generate_manifests import DEPLOY, rendered, stale

OPERATOR = "security-profiles-operator"
OVERLAYS = ("cluster", "namespaced", "cert-manager", "openshift", "onenode")
Obj = dict[str, Any]


@pytest.fixture(scope="module")
def overlays() -> dict[str, list[Obj]]:
    return {name: list(yaml.load_all(rendered(name), Loader=yaml.CSafeLoader)) for name in OVERLAYS}


def of_kind(objects: list[Obj], *kinds: str) -> Iterator[Obj]:
    return (one for one in objects if one["kind"] in kinds)


def test_the_files_are_those_of_the_overlays() -> None:
    assert stale(DEPLOY) == [], "run `make generate`"


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "operator.yaml").write_text((DEPLOY / "operator.yaml").read_text() + "\n")
    assert stale(tmp_path) == ["operator.yaml", "namespace-operator.yaml"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_is_labelled_and_at_home(overlays: dict[str, list[Obj]], overlay: str) -> None:
    for one in overlays[overlay]:
        metadata = one["metadata"]
        assert metadata["labels"]["app"] == OPERATOR, metadata["name"]
        assert metadata.get("namespace", OPERATOR) in {OPERATOR, "NS_REPLACE"}
    identities = [
        (one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in overlays[overlay]
    ]
    assert len(set(identities)) == len(identities)
    kinds = [one["kind"] for one in overlays[overlay]]
    assert kinds[0] == "Namespace"


@pytest.mark.parametrize("overlay", ["cluster", "namespaced", "cert-manager", "openshift"])
def test_all_definitions_are_in_it(overlays: dict[str, list[Obj]], overlay: str) -> None:
    found = {one["metadata"]["name"] for one in of_kind(overlays[overlay], "CustomResourceDefinition")}
    assert found == {one["metadata"]["name"] for one in custom_resource_definitions()}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_containers_have_no_more_than_they_need(overlays: dict[str, list[Obj]], overlay: str) -> None:
    deployments = list(of_kind(overlays[overlay], "Deployment"))
    assert len(deployments) == 2
    for deployment in deployments:
        pod = deployment["spec"]["template"]["spec"]
        assert not any("hostPath" in volume for volume in pod.get("volumes", []))
        assert not pod.get("hostPID")
        assert pod.get("hostNetwork", False) == (overlay == "onenode")
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
                "runAsUser": 65535,
                "runAsGroup": 65535,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            }
            assert {"requests", "limits"} <= container["resources"].keys()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_one_image_runs_everything(overlays: dict[str, list[Obj]], overlay: str) -> None:
    images = {
        container["image"]
        for deployment in of_kind(overlays[overlay], "Deployment")
        for container in deployment["spec"]["template"]["spec"]["containers"]
    }
    assert images == {"localhost/security-profiles-operator:dev"}


def test_webhooks_have_three_replicas(overlays: dict[str, list[Obj]]) -> None:
    for overlay in ("cluster", "namespaced"):
        replicas = {
            one["metadata"]["name"]: one["spec"]["replicas"]
            for one in of_kind(overlays[overlay], "Deployment")
        }
        assert replicas == {OPERATOR: 3, f"{OPERATOR}-webhook": 3}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_rights_name_what_they_are_for(overlays: dict[str, list[Obj]], overlay: str) -> None:
    roles = {
        (one["kind"], one["metadata"]["name"]) for one in of_kind(overlays[overlay], "Role", "ClusterRole")
    }
    for one in of_kind(overlays[overlay], "Role", "ClusterRole"):
        for rule in one["rules"]:
            assert "*" not in rule["verbs"]
            assert "*" not in rule.get("resources", [])
            # Whoever may read all Secrets of a namespace has every account in it.
            if "secrets" in rule.get("resources", []):
                assert one["kind"] == "Role"
                assert rule["resourceNames"]
            for forbidden in ("escalate", "bind", "impersonate"):
                assert forbidden not in rule["verbs"]
    bound = {
        (one["roleRef"]["kind"], one["roleRef"]["name"])
        for one in of_kind(overlays[overlay], "RoleBinding", "ClusterRoleBinding")
    }
    assert bound == roles


def names_in_rules(objects: list[Obj], resource: str) -> set[str]:
    return {
        name
        for one in of_kind(objects, "Role", "ClusterRole")
        for rule in one["rules"]
        if resource in rule.get("resources", [])
        for name in rule.get("resourceNames", [])
    }


def test_rules_name_the_objects_as_the_program_does(overlays: dict[str, list[Obj]]) -> None:
    objects = overlays["cluster"]
    assert names_in_rules(objects, "secrets") == {WEBHOOK_AUTHORITY, WEBHOOK_CERTIFICATE, METRICS_CERTIFICATE}
    assert names_in_rules(objects, "leases") == {MANAGER_LEASE}
    assert names_in_rules(objects, "servicemonitors") == {SERVICE_MONITOR}
    assert names_in_rules(objects, "mutatingwebhookconfigurations") == {configuration_name(OPERATOR)}


def cluster_wide(objects: list[Obj]) -> set[tuple[str, str, str]]:
    """(resource, verb, name) that a ClusterRoleBinding gives to an account of ours."""
    bound = {
        one["roleRef"]["name"]
        for one in of_kind(objects, "ClusterRoleBinding")
        if any(subject["name"] != "default" for subject in one["subjects"])
    }
    return {
        (resource, verb, name)
        for role in of_kind(objects, "ClusterRole")
        if role["metadata"]["name"] in bound
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }


def test_one_namespace_needs_this_of_the_cluster_and_no_more(overlays: dict[str, list[Obj]]) -> None:
    configuration = configuration_name(OPERATOR)
    assert cluster_wide(overlays["namespaced"]) == {
        ("nodes", "get", ""),
        ("tokenreviews", "create", ""),
        ("subjectaccessreviews", "create", ""),
        ("mutatingwebhookconfigurations", "list", configuration),
        ("mutatingwebhookconfigurations", "watch", configuration),
        ("mutatingwebhookconfigurations", "patch", configuration),
    }
    made = [
        one["metadata"]["name"] for one in of_kind(overlays["namespaced"], "MutatingWebhookConfiguration")
    ]
    assert made == [configuration]


def test_one_namespace_is_told_to_every_process(overlays: dict[str, list[Obj]]) -> None:
    for deployment in of_kind(overlays["namespaced"], "Deployment"):
        env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
        assert {"name": "RESTRICT_TO_NAMESPACE", "value": "NS_REPLACE"} in env


def test_with_cert_manager_the_manager_writes_no_secret(overlays: dict[str, list[Obj]]) -> None:
    objects = overlays["cert-manager"]
    assert names_in_rules(objects, "secrets") == {WEBHOOK_CERTIFICATE}
    verbs = {
        verb
        for role in of_kind(objects, "Role")
        for rule in role["rules"]
        if "secrets" in rule["resources"]
        for verb in rule["verbs"]
    }
    assert verbs == {"get", "list", "watch"}
    issued = {one["spec"]["secretName"] for one in of_kind(objects, "Certificate")}
    assert issued == {WEBHOOK_CERTIFICATE, METRICS_CERTIFICATE}


def test_every_port_that_others_use_is_let_through(overlays: dict[str, list[Obj]]) -> None:
    policy = next(of_kind(overlays["cluster"], "NetworkPolicy"))
    let_through = {port["port"] for port in policy["spec"]["ingress"][0]["ports"]}
    used = {
        port["containerPort"]
        for deployment in of_kind(overlays["cluster"], "Deployment")
        for container in deployment["spec"]["template"]["spec"]["containers"]
        for port in container["ports"]
    }
    assert used == let_through


def test_a_wrong_overlay_is_an_error() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        rendered("no-such-overlay")
