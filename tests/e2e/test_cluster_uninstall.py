"""``spoc cluster uninstall`` leaves nothing, in the right order and in the wrong one; on its own cluster."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
import yaml

from spo.host.node_paths import pin_root
from tests.e2e.breaking import OPERATOR, using
from tests.e2e.cluster import Cluster, Namespace, pod, seccomp_profile
from tools.devcluster import ROOT, DevCluster, free_port, operator_objects

IMAGE = "localhost/security-profiles-operator:dev"
GROUP = "security-profiles-operator.x-k8s.io"
LABELLED = (
    "clusterroles,clusterrolebindings,mutatingwebhookconfigurations,validatingadmissionpolicies,"
    "validatingadmissionpolicybindings,roles,rolebindings,deployments,daemonsets,services,serviceaccounts,pods"
)


@pytest.fixture(scope="module")
def machine() -> Iterator[DevCluster]:
    """A cluster that nobody else uses; its operator is gone at the end."""
    if os.environ.get("E2E_NODE_ROOT"):
        pytest.skip("removes the operator of the cluster")
    folder = Path(tempfile.mkdtemp(prefix="spo-e2e-", dir="/var/tmp"))
    folder.chmod(0o755)
    (folder / "node/var/lib").mkdir(parents=True)
    made = DevCluster(
        state=folder / "state", node_root=folder / "node", port=free_port(), node_name="uninstall-node"
    )
    try:
        made.start_api()
        yield made
    finally:
        made.onenode("down", f"--state={made.state}", "--purge")
    assert left_on_node(made) == []
    shutil.rmtree(folder)


@pytest.fixture
def team(machine: DevCluster) -> Iterator[Namespace]:
    """The operator, and a namespace with a profile."""
    machine.kubectl("apply", "-k", str(ROOT / "deploy/crds"))
    machine.start_operator()
    made = Namespace(Cluster(str(machine.kubeconfig), machine.node_root, own=True), "team")
    made.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    made.apply(seccomp_profile("web"))
    made.wait_ready("web")
    yield made
    machine.kubectl("delete", "namespace", "team", "--timeout=30s")


def uninstall(machine: DevCluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "spo.cli", "cluster", "uninstall", *arguments),
        env={**os.environ, "KUBECONFIG": str(machine.kubeconfig)},
        stdin=subprocess.DEVNULL,
        check=False,
        capture_output=True,
        text=True,
    )


def left_on_node(machine: DevCluster) -> list[str]:
    """Files of any kind, directories of the operator, and pins."""
    found = [
        path
        for path in machine.node_root.rglob("*")
        if path.is_symlink() or not path.is_dir() or path.name in {OPERATOR, "seccomp"}
    ]
    pins = Path(pin_root(PurePosixPath(machine.node_root)))
    return [*map(str, found), *([str(pins)] if pins.exists() else [])]


def left_in_cluster(machine: DevCluster) -> str:
    selector = f"--selector=app={OPERATOR}"
    labelled = machine.kubectl("get", LABELLED, "--all-namespaces", selector, "--output=name").stdout
    kinds = machine.kubectl("api-resources", f"--api-group={GROUP}", "--output=name").stdout
    names = machine.kubectl("get", "namespaces,customresourcedefinitions", "--output=name").stdout
    return labelled + kinds + "".join(line for line in names.splitlines() if OPERATOR in line)


def test_right_order(machine: DevCluster, team: Namespace) -> None:
    operator = Namespace(team.cluster, OPERATOR)
    body = json.dumps({"spec": {"enableBpfRecorder": True}})
    operator.kubectl("patch", "spod", "spod", "--type=merge", "-p", body)
    operator.kubectl("wait", "--for=condition=ready", "spod/spod", "--timeout=60s")
    selector = {"matchLabels": {"app": "recorded"}}
    recording = {"kind": "SeccompProfile", "recorder": "bpf", "podSelector": selector}
    binding = {"profileRef": {"kind": "SeccompProfile", "name": "web"}, "image": "none"}
    for kind, spec in (("ProfileRecording", recording), ("ProfileBinding", binding)):
        team.apply(
            {"apiVersion": f"{GROUP}/v1alpha1", "kind": kind, "metadata": {"name": "it"}, "spec": spec}
        )
    team.kubectl("wait", "--for=condition=ready", "profilerecording/it", "profilebinding/it", "--timeout=30s")
    recorded = pod("recorded", "sleep", "600")
    recorded["metadata"]["labels"] = {"app": "recorded"}
    team.apply(using(team, "web"), recorded)
    team.kubectl("wait", "--for=condition=ready", "pod/user", "pod/recorded", "--timeout=30s")
    pins = Path(pin_root(PurePosixPath(machine.node_root)))
    team.eventually("the recorder has pinned its maps", pins.exists)

    refused = uninstall(machine, "--yes")
    assert refused.returncode == 1
    assert "1 pod still use profiles of the operator (team/user)" in refused.stderr
    asked = uninstall(machine)
    assert asked.returncode == 2
    listed = uninstall(machine, "--dry-run")
    assert listed.returncode == 0
    for line in (
        "ProfileRecording: team/it",
        f"Namespace: {OPERATOR}, with everything in it",
        "in use by a pod: operator/team/web.json (team/user)",
    ):
        assert line in listed.stdout.splitlines()
    (profiles,) = (line for line in listed.stdout.splitlines() if line.startswith("SeccompProfile: "))
    assert profiles.endswith("team/web")
    assert team.file("web").exists()

    team.kubectl("delete", "pod", "user", "--grace-period=1")
    done = uninstall(machine, "--yes")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "Cleaned 1 of 1 nodes" in done.stdout
    assert left_in_cluster(machine) == ""
    assert left_on_node(machine) == []
    again = uninstall(machine, "--yes")
    assert again.returncode == 0
    assert "Nothing of the operator is in the cluster" in again.stdout


def test_wrong_order_is_repaired(machine: DevCluster, team: Namespace) -> None:
    manifest = yaml.safe_dump_all(operator_objects(machine.node_root))
    machine.kubectl("delete", "-f", "-", "--wait=false", "--ignore-not-found", stdin=manifest)
    selector = f"--selector=name={OPERATOR}"
    machine.kubectl("wait", "--for=delete", "pods", selector, f"--namespace={OPERATOR}", "--timeout=60s")
    team.kubectl("delete", "seccompprofile", "web", "--wait=false")
    team.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(using(team, "web")))
    assert team.get("seccompprofile", "web")["metadata"]["finalizers"]

    assert uninstall(machine, "--yes").returncode == 1
    done = uninstall(machine, "--yes", "--force", f"--node-root={machine.node_root}")
    assert done.returncode == 1
    assert "nobody knows the operator's image any more" in done.stdout
    assert left_in_cluster(machine) == ""
    assert left_on_node(machine)
    cleaned = uninstall(machine, "--yes", "--force", f"--image={IMAGE}", f"--node-root={machine.node_root}")
    assert cleaned.returncode == 0, cleaned.stdout + cleaned.stderr
    assert left_on_node(machine) == []


def test_the_two_commands_of_the_document(machine: DevCluster, team: Namespace) -> None:
    manifest = yaml.safe_dump_all(operator_objects(machine.node_root))
    machine.kubectl("delete", "seccompprofiles", "--all", "--all-namespaces", "--timeout=30s")
    assert not team.file("web").exists()
    machine.kubectl("delete", "-f", "-", "--ignore-not-found", "--timeout=60s", stdin=manifest)
    machine.kubectl("delete", "-k", str(ROOT / "deploy/crds"), "--timeout=30s")
    assert left_in_cluster(machine) == ""
    done = uninstall(machine, "--yes", f"--image={IMAGE}", f"--node-root={machine.node_root}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert left_on_node(machine) == []
