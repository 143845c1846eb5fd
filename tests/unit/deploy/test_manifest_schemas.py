"""The manifests fit the types of Kubernetes."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.check_manifests import FILES, ROOT, problems
from tools.generate_manifests import rendered

Obj = dict[str, Any]


def objects(text: str) -> list[Obj]:
    return [one for one in yaml.load_all(text, Loader=yaml.CSafeLoader) if one]


@pytest.mark.parametrize("name", FILES)
def test_files_fit(name: str) -> None:
    assert problems(objects((ROOT / "deploy" / name).read_text())) == []


@pytest.mark.parametrize("overlay", ["onenode", "openshift", "kubernetes-1.29"])
def test_overlays_fit(overlay: str) -> None:
    assert problems(objects(rendered(overlay))) == []


def test_kinds_that_1_29_does_not_know_can_be_left_out() -> None:
    all_kinds = {one["kind"] for one in objects(rendered("cluster"))}
    old = {one["kind"] for one in objects(rendered("kubernetes-1.29"))}
    assert all_kinds - old == {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}


DEPLOYMENT = next(
    one for one in objects(Path(ROOT / "deploy/operator.yaml").read_text()) if one["kind"] == "Deployment"
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"replica": 3}, "unknown field spec.replica", id="unknown"),
        pytest.param({"replicas": "three"}, "spec.replicas", id="wrong-type"),
        pytest.param({"selector": None}, "spec.selector", id="missing"),
    ],
)
def test_what_does_not_fit_is_told(change: Obj, expected: str) -> None:
    broken = copy.deepcopy(DEPLOYMENT)
    broken["spec"] = {key: value for key, value in {**broken["spec"], **change}.items() if value is not None}
    found = problems([broken])
    assert len(found) == 1
    assert expected in found[0]


def test_a_kind_that_does_not_exist_is_told() -> None:
    assert (
        "no built-in kind"
        in problems([{"apiVersion": "apps/v1", "kind": "Deploymnt", "metadata": {"name": "x"}}])[0]
    )


DAEMONS = sorted((ROOT / "tests/data/spod").glob("*.yaml"))


@pytest.mark.parametrize("file", DAEMONS, ids=lambda file: file.stem)
def test_daemon_sets_fit(file: Path) -> None:
    daemon_set = {"apiVersion": "apps/v1", "kind": "DaemonSet", **yaml.safe_load(file.read_text())}
    assert problems([daemon_set]) == []


@pytest.mark.parametrize("file", DAEMONS, ids=lambda file: file.stem)
def test_containers_of_nodes_have_no_more_than_they_need(file: Path) -> None:
    pod = yaml.safe_load(file.read_text())["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    everything = [*pod["initContainers"], *pod["containers"]]
    assert everything
    for container in everything:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True, container["name"]
        assert not context.get("privileged")
        if container["name"] == "selinuxd":
            continue  # the image of others: it says nothing about what it can do without
        assert context["allowPrivilegeEscalation"] is False, container["name"]
        assert context["capabilities"]["drop"] == ["ALL"], container["name"]
        unconfined = context["seccompProfile"]["type"] == "Unconfined"
        assert unconfined == (container["name"] in {"log-enricher", "bpf-recorder"})
    tokens = [
        one["name"] for one in everything if any(m["name"] == "api-access" for m in one["volumeMounts"])
    ]
    assert tokens == ["security-profiles-operator"]
