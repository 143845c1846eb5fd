"""Workloads with a real kubectl and real containers."""

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
NAMESPACE = "my-namespace"
PROFILE = "operator/my-namespace/profile1.json"


@pytest.fixture(scope="module")
def cluster() -> Iterator[DevCluster]:
    """An onenode without the operator."""
    subprocess.run((sys.executable, str(ROOT / "tools/dev_image.py")), check=True, capture_output=True)
    folder = Path(tempfile.mkdtemp(prefix="onenode-workloads-", dir="/var/tmp"))
    profile = folder / "node/var/lib/kubelet/seccomp" / PROFILE
    profile.parent.mkdir(parents=True)
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW"}))
    made = DevCluster(
        state=folder / "state", node_root=folder / "node", port=free_port(), node_name="workload-node"
    )
    try:
        made.start_api()
        made.kubectl("create", "-f", "-", stdin=json.dumps(namespace()))
        yield made
    finally:
        made.onenode("down", f"--state={made.state}", "--purge")
        shutil.rmtree(folder)


def namespace() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}


def template(app: str, script: str = "exec sleep 1000", **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": IMAGE, "command": ["sh", "-c", script]}
    return {
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, **spec},
    }


def workload(kind: str, name: str, group: str = "apps", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"{group}/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


def deployment(name: str, replicas: int) -> dict[str, Any]:
    selector = {"matchLabels": {"app": name}}
    return workload("Deployment", name, replicas=replicas, selector=selector, template=template(name))


class Kubectl:
    """kubectl in the namespace of the test."""

    def __init__(self, cluster: DevCluster) -> None:
        self.cluster = cluster

    def __call__(self, *arguments: str) -> str:
        return self.cluster.kubectl(f"--namespace={NAMESPACE}", *arguments).stdout

    def jsonpath(self, path: str, *what: str) -> str:
        return self("get", *what, f"--output=jsonpath={{{path}}}")

    def names(self, *what: str) -> list[str]:
        return self("get", *what, "--output=name").split()


@pytest.fixture
def kubectl(cluster: DevCluster) -> Kubectl:
    return Kubectl(cluster)


def test_deployment_from_apply_to_delete(cluster: DevCluster, kubectl: Kubectl) -> None:
    cluster.apply(deployment("myapp", 2))
    kubectl("wait", "--for=condition=available", "--timeout=60s", "deployment/myapp")
    kubectl("rollout", "status", "deployment/myapp", "--timeout=60s")
    assert kubectl("get", "deployment", "myapp", "--no-headers").split()[:4] == ["myapp", "2/2", "2", "2"]
    before = kubectl.names("pods", "-l", "app=myapp")
    assert len(before) == 2

    # As documented under "Apply profile to pod".
    security = {"seccompProfile": {"type": "Localhost", "localhostProfile": PROFILE}}
    patch = json.dumps({"spec": {"template": {"spec": {"securityContext": security}}}})
    assert kubectl("patch", "deployment", "myapp", "--patch", patch) == "deployment.apps/myapp patched\n"
    kubectl("rollout", "status", "deployment/myapp", "--timeout=60s")
    kubectl("wait", "--for=delete", "--timeout=60s", *before)
    after = kubectl.names("pods", "-l", "app=myapp")
    assert len(after) == 2
    assert not set(after) & set(before)
    for pod in after:
        assert json.loads(kubectl.jsonpath(".spec.securityContext", pod)) == security
    assert (
        kubectl.jsonpath(r".metadata.annotations.deployment\.kubernetes\.io/revision", "deploy/myapp") == "2"
    )

    kubectl("rollout", "restart", "deployment/myapp")
    kubectl("rollout", "status", "deployment/myapp", "--timeout=60s")
    kubectl("rollout", "undo", "deployment/myapp", "--to-revision=1")
    kubectl("rollout", "status", "deployment/myapp", "--timeout=60s")
    assert kubectl.jsonpath(".spec.template.spec.securityContext", "deploy/myapp") in ("", "{}")

    kubectl("scale", "deployment/myapp", "--replicas=3")
    kubectl("rollout", "status", "deployment/myapp", "--timeout=60s")
    assert kubectl.jsonpath(".status.availableReplicas", "deploy/myapp") == "3"
    kubectl("scale", "deployment/myapp", "--replicas=1")
    kubectl("wait", "--for=jsonpath={.status.replicas}=1", "--timeout=60s", "deployment/myapp")

    kubectl("delete", "deployment", "myapp", "--cascade=foreground", "--timeout=60s")
    assert kubectl.names("deployments,replicasets,pods", "-l", "app=myapp") == []


def test_deleted_pod_is_replaced(cluster: DevCluster, kubectl: Kubectl) -> None:
    cluster.apply(deployment("replaced", 1))
    kubectl("rollout", "status", "deployment/replaced", "--timeout=60s")
    (pod,) = kubectl.names("pods", "-l", "app=replaced")
    kubectl("delete", pod)
    kubectl("wait", "--for=condition=available", "--timeout=60s", "deployment/replaced")
    kubectl("rollout", "status", "deployment/replaced", "--timeout=60s")
    (new,) = kubectl.names("pods", "-l", "app=replaced")
    assert new != pod
    kubectl("delete", "deployment", "replaced")
    kubectl("wait", "--for=delete", "--timeout=60s", new)
    assert kubectl.names("replicasets", "-l", "app=replaced") == []


def test_recreate_never_runs_old_and_new_together(cluster: DevCluster, kubectl: Kubectl) -> None:
    made = deployment("recreate", 1)
    made["spec"]["strategy"] = {"type": "Recreate"}
    cluster.apply(made)
    kubectl("rollout", "status", "deployment/recreate", "--timeout=60s")
    (old,) = kubectl.names("pods", "-l", "app=recreate")
    kubectl("rollout", "restart", "deployment/recreate")
    kubectl("rollout", "status", "deployment/recreate", "--timeout=60s")
    (new,) = kubectl.names("pods", "-l", "app=recreate")
    assert new != old
    kubectl("delete", "deployment", "recreate", "--cascade=foreground", "--timeout=60s")


def test_orphans_are_kept_and_adopted(cluster: DevCluster, kubectl: Kubectl) -> None:
    cluster.apply(deployment("adopted", 1))
    kubectl("rollout", "status", "deployment/adopted", "--timeout=60s")
    before = kubectl.names("pods", "-l", "app=adopted")
    kubectl("delete", "deployment", "adopted", "--cascade=orphan")
    cluster.apply(deployment("adopted", 1))
    kubectl("rollout", "status", "deployment/adopted", "--timeout=60s")
    assert kubectl.names("pods", "-l", "app=adopted") == before
    kubectl("delete", "deployment", "adopted", "--cascade=foreground", "--timeout=60s")
    assert kubectl.names("replicasets,pods", "-l", "app=adopted") == []


def test_daemon_set_follows_nodes(cluster: DevCluster, kubectl: Kubectl) -> None:
    selector = {"matchLabels": {"app": "daemon"}}
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}}
    pod = template("daemon", nodeSelector={"workload": "yes"})
    cluster.apply(workload("DaemonSet", "daemon", selector=selector, template=pod, updateStrategy=strategy))
    numbers = kubectl("get", "daemonset", "daemon", "--no-headers").split()[1:7]
    assert numbers == ["0", "0", "0", "0", "0", "workload=yes"]

    kubectl("label", "node", "workload-node", "workload=yes")
    kubectl("wait", "--for=jsonpath={.status.numberReady}=1", "--timeout=60s", "daemonset/daemon")
    kubectl("rollout", "status", "daemonset/daemon", "--timeout=60s")
    (first,) = kubectl.names("pods", "-l", "app=daemon")
    assert kubectl.jsonpath(".spec.nodeName", first) == "workload-node"

    kubectl("rollout", "restart", "daemonset/daemon")
    kubectl("rollout", "status", "daemonset/daemon", "--timeout=60s")
    (second,) = kubectl.names("pods", "-l", "app=daemon")
    assert second != first

    kubectl("taint", "node", "workload-node", "dedicated=x:NoExecute")
    kubectl("wait", "--for=delete", "--timeout=60s", second)
    kubectl("taint", "node", "workload-node", "dedicated-")
    kubectl("wait", "--for=jsonpath={.status.numberReady}=1", "--timeout=60s", "daemonset/daemon")
    (third,) = kubectl.names("pods", "-l", "app=daemon")
    kubectl("delete", "daemonset", "daemon")
    kubectl("wait", "--for=delete", "--timeout=60s", third)


def test_job_runs_to_its_end(cluster: DevCluster, kubectl: Kubectl) -> None:
    pod = template("job", "echo done", restartPolicy="Never")
    cluster.apply(workload("Job", "job", "batch", completions=3, parallelism=2, template=pod))
    kubectl("wait", "--for=condition=complete", "--timeout=60s", "job/job")
    assert kubectl("get", "job", "job", "--no-headers").split()[:3] == ["job", "Complete", "3/3"]
    assert kubectl.jsonpath(".status.succeeded", "job/job") == "3"
    assert kubectl("logs", "job/job").strip() == "done"
    pods = kubectl.names("pods", "-l", "job-name=job")
    assert len(pods) == 3
    kubectl("delete", "job", "job")
    kubectl("wait", "--for=delete", "--timeout=60s", *pods)


def test_job_fails_after_its_last_try(cluster: DevCluster, kubectl: Kubectl) -> None:
    pod = template("failing", "exit 3", restartPolicy="Never")
    cluster.apply(workload("Job", "failing", "batch", backoffLimit=0, template=pod))
    kubectl("wait", "--for=condition=failed", "--timeout=60s", "job/failing")
    assert kubectl.jsonpath(".status.failed", "job/failing") == "1"
    assert "BackoffLimitExceeded" in kubectl("get", "job", "failing", "--output=yaml")
    kubectl("delete", "job", "failing", "--cascade=foreground", "--timeout=60s")
    assert kubectl.names("pods", "-l", "job-name=failing") == []


def test_running_job_is_deleted_with_its_pods(cluster: DevCluster, kubectl: Kubectl) -> None:
    pod = template("endless", restartPolicy="OnFailure")
    cluster.apply(workload("Job", "endless", "batch", template=pod))
    kubectl("wait", "--for=jsonpath={.status.ready}=1", "--timeout=60s", "job/endless")
    (made,) = kubectl.names("pods", "-l", "job-name=endless")
    kubectl("delete", "job", "endless")
    kubectl("wait", "--for=delete", "--timeout=60s", made)


def test_unserved_workloads_do_not_exist(cluster: DevCluster) -> None:
    answer = cluster.kubectl("get", "--raw=/apis/apps/v1/statefulsets", check=False)
    assert answer.returncode
    assert "could not find the requested resource" in answer.stderr
