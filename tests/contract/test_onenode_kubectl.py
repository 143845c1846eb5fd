"""Commands of kubectl that need more than JSON requests about single objects."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.devcluster import ROOT, DevCluster, free_port

pytestmark = pytest.mark.root

IMAGE = "localhost/busybox:dev"


@pytest.fixture(scope="module")
def cluster() -> Iterator[DevCluster]:
    """An onenode without the operator."""
    subprocess.run((sys.executable, str(ROOT / "tools/dev_image.py")), check=True, capture_output=True)
    folder = Path(tempfile.mkdtemp(prefix="spo-kubectl-", dir="/var/tmp"))
    made = DevCluster(
        state=folder / "state", node_root=folder / "node", port=free_port(), node_name="kubectl-node"
    )
    made.node_root.mkdir()
    try:
        made.start_api()
        yield made
    finally:
        made.onenode("down", f"--state={made.state}", "--purge")
        shutil.rmtree(folder)


def spec_of(cluster: DevCluster, pod: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.kubectl("get", "pod", pod, "--output=json").stdout)["spec"]
    return found


def test_create_job(cluster: DevCluster) -> None:
    cluster.kubectl("create", "job", "greeting", f"--image={IMAGE}", "--", "echo", "hello")
    cluster.kubectl("wait", "--for=condition=complete", "job/greeting", "--timeout=30s")
    assert cluster.kubectl("logs", "job/greeting").stdout == "hello\n"


def test_create_service(cluster: DevCluster) -> None:
    cluster.kubectl("create", "service", "clusterip", "web", "--tcp=80:http", "--tcp=81:8081")
    ports = "--output=jsonpath={.spec.ports[*].targetPort}"
    assert cluster.kubectl("get", "service", "web", ports).stdout == "http 8081"


def test_drained_node_is_empty_and_takes_pods_again(cluster: DevCluster) -> None:
    cluster.kubectl("run", "tenant", f"--image={IMAGE}", "--", "sh", "-c", "trap exit TERM; sleep 99 & wait")
    cluster.kubectl("wait", "--for=condition=ready", "pod/tenant", "--timeout=30s")
    drained = cluster.kubectl("drain", "kubectl-node", "--force", "--timeout=60s").stdout
    assert "node/kubectl-node drained" in drained
    assert cluster.kubectl("get", "pod", "tenant", "--ignore-not-found").stdout == ""
    cluster.kubectl("uncordon", "kubectl-node")


def test_copy_for_debugging_is_the_whole_pod(cluster: DevCluster) -> None:
    """The copy is sent in protobuf: what is not understood would be refused or missing."""
    container = {
        "name": "c",
        "image": IMAGE,
        "command": ["sleep"],
        "args": ["99"],
        "env": [
            {"name": "A", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
            {
                "name": "B",
                "valueFrom": {
                    "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu", "divisor": "1m"}
                },
            },
            {"name": "C", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
        ],
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "m", "optional": False}}],
        "ports": [{"name": "web", "containerPort": 80, "protocol": "TCP"}],
        "resources": {"limits": {"cpu": "100m"}, "requests": {"cpu": "50m"}},
        "lifecycle": {"postStart": {"exec": {"command": ["true"]}}, "preStop": {"sleep": {"seconds": 3}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"add": ["NET_RAW"], "drop": ["ALL"]},
            "runAsUser": 0,
            "seccompProfile": {"type": "Localhost", "localhostProfile": "operator/ns/name.json"},
        },
        "volumeMounts": [{"name": "e", "mountPath": "/e", "readOnly": True, "subPath": "x"}],
    }
    volumes = [
        {"name": "e", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "s", "secret": {"secretName": "s", "items": [{"key": "k", "path": "p", "mode": 0}]}},
        {"name": "m", "configMap": {"name": "m", "optional": True}},
        {"name": "h", "hostPath": {"path": "/tmp", "type": "Directory"}},
        {"name": "p", "projected": {"sources": [{"serviceAccountToken": {"audience": "a", "path": "t"}}]}},
    ]
    spec = {
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": volumes,
        "shareProcessNamespace": True,
        "hostAliases": [{"ip": "192.0.2.1", "hostnames": ["x"]}],
        "schedulingGates": [{"name": "example.org/never"}],
        "securityContext": {
            "fsGroup": 5,
            "supplementalGroups": [3, 4],
            "seccompProfile": {"type": "Unconfined"},
        },
        "tolerations": [
            {"key": "k", "operator": "Equal", "value": "v", "effect": "NoExecute", "tolerationSeconds": 0}
        ],
    }
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "full"}, "spec": spec})
    command = ("debug", "full", "--copy-to=copy", f"--image={IMAGE}", "--container=extra", "--", "sleep", "9")
    cluster.kubectl(*command)
    copy = spec_of(cluster, "copy")
    assert copy["containers"].pop()["name"] == "extra"
    assert copy == spec_of(cluster, "full")
    cluster.kubectl("delete", "pod", "full", "copy", "--now")
