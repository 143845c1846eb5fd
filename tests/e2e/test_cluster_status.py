"""``spoc cluster status`` names each fault that is made here, and says that all is well before and after."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from spo.manager.certificates import new_authority, new_server_certificate
from tests.e2e.breaking import OPERATOR
from tests.e2e.cluster import Cluster, Namespace, seccomp_profile

OWN = {"spod", "manager", "daemons", "webhooks", "certificates"}
MANAGER, WEBHOOK = f"deployment/{OPERATOR}", f"deployment/{OPERATOR}-webhook"


@pytest.fixture(scope="module")
def operator(cluster: Cluster) -> Namespace:
    if not cluster.own:
        pytest.skip("breaks the operator of the cluster")
    made = Namespace(cluster, OPERATOR)
    made.eventually("the operator is healthy", lambda: not findings(cluster, *OWN))
    return made


@pytest.fixture
def healed(operator: Namespace) -> Iterator[None]:
    """Afterwards all is well again."""
    yield
    operator.eventually("the operator is healthy again", lambda: not findings(operator.cluster, *OWN))


def status(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "spo.cli", "cluster", "status", *arguments),
        env={**os.environ, "KUBECONFIG": cluster.kubeconfig},
        check=False,
        capture_output=True,
        text=True,
    )


def findings(cluster: Cluster, *components: str) -> dict[str, str]:
    """``<component> <object>`` -> problem."""
    done = status(cluster, "--output=json")
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["healthy"] else 1)
    return {
        f"{one['component']} {one['object']}": one["problem"]
        for one in report["findings"]
        if one["component"] in components
    }


def told(namespace: Namespace, key: str, problem: str) -> None:
    """Wait until a problem of an object is named."""
    component = key.split(" ", maxsplit=1)[0]
    namespace.eventually(
        f"{key}: {problem}", lambda: problem in findings(namespace.cluster, component).get(key, "")
    )


@pytest.mark.usefixtures("healed")
def test_webhook_and_profile(operator: Namespace, namespace: Namespace) -> None:
    namespace.apply(
        seccomp_profile("web", baseProfileName="missing"),
        {
            "apiVersion": "security-profiles-operator.x-k8s.io/v1alpha1",
            "kind": "ProfileBinding",
            "metadata": {"name": "bound"},
            "spec": {"profileRef": {"kind": "SeccompProfile", "name": "web"}, "image": "none"},
        },
    )
    namespace.kubectl("wait", "--for=condition=ready", "profilebinding/bound", "--timeout=30s")
    operator.kubectl("scale", WEBHOOK, "--replicas=0")
    try:
        refused = f"scaled to 0; new pods of {namespace.name} are refused meanwhile"
        told(operator, f"webhooks {WEBHOOK}", refused)
        about = f"{namespace.name}/seccompprofile/web"
        told(operator, f"profiles {about}", "e2e-node: ")
        text = status(operator.cluster).stdout
        assert f"profiles: {about}: Error - e2e-node: " in text
        assert f"  -> kubectl -n {OPERATOR} scale {WEBHOOK} --replicas=3" in text
    finally:
        operator.kubectl("scale", WEBHOOK, "--replicas=1")
        namespace.kubectl("delete", "profilebinding", "bound", "--timeout=30s")


@pytest.mark.usefixtures("healed")
def test_invalid_settings(operator: Namespace) -> None:
    def set_path(path: str | None) -> None:
        body = json.dumps({"spec": {"hostProcVolumePath": path}})
        operator.kubectl("patch", "spod", "spod", "--type=merge", "-p", body)

    set_path("/a/../b")
    try:
        told(operator, "spod spod/spod", "Invalid: spec.hostProcVolumePath")
    finally:
        set_path(None)


@pytest.mark.usefixtures("healed")
def test_what_breaks_while_there_is_no_manager(operator: Namespace) -> None:
    cluster = operator.cluster
    operator.kubectl("scale", MANAGER, "--replicas=0")
    try:
        operator.kubectl("wait", "--for=delete", "pod", f"--selector=name={OPERATOR}", "--timeout=30s")
        operator.kubectl("delete", "secret", "metrics-server-cert")
        replace_serving_certificate(operator)
        command = {"name": OPERATOR, "command": ["false"]}
        body = json.dumps({"spec": {"template": {"spec": {"containers": [command]}}}})
        operator.kubectl("patch", "daemonset", "spod", "--type=strategic", "-p", body)
        told(operator, f"manager {MANAGER}", "scaled to 0")
        told(operator, "certificates secret/metrics-server-cert", "the Secret is absent")
        told(operator, "certificates secret/webhook-server-cert", "expires in 4 days")
        operator.eventually(
            "the daemon is seen to crash",
            lambda: any(
                f"node e2e-node: container {OPERATOR} " in problem and "exit code 1" in problem
                for problem in findings(cluster, "daemons").values()
            ),
        )
    finally:
        operator.kubectl("scale", MANAGER, "--replicas=1")


def replace_serving_certificate(operator: Namespace) -> None:
    """By one of another CA that is near its end."""
    then = datetime.now(UTC) - timedelta(days=85)
    authority = new_authority(then)
    issued = new_server_certificate(authority.certificate, authority.key, ("webhook",), then)
    data: dict[str, Any] = {"tls.crt": issued.certificate, "tls.key": issued.key}
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    operator.kubectl(
        "patch", "secret", "webhook-server-cert", "--type=merge", "-p", json.dumps({"data": encoded})
    )


def test_rights_that_are_missing_are_told_in_one_line(cluster: Cluster, operator: Namespace) -> None:
    token = operator.kubectl("create", "token", "default").strip()
    config = operator.kubectl("config", "view", "--raw", "--output=json")
    content = json.loads(config)
    content["users"] = [{"name": content["users"][0]["name"], "user": {"token": token}}]
    path = cluster.node_root.parent / "no-rights"
    path.write_text(json.dumps(content))
    try:
        done = status(Cluster(str(path), cluster.node_root, own=True))
    finally:
        path.unlink()
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "cannot list resource" in line
