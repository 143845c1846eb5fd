"""SIGTERM to the processes that talk to the API: they end soon, with exit code 0, and leave things in order.

The other processes have the same test beside their own: ``webhook``, ``bpf-recorder``, ``log-enricher``.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tools.devcluster import DevCluster, free_port

pytestmark = pytest.mark.root

NAMESPACE = "security-profiles-operator"
READY_S = 30.0
SOON_S = 10.0
PROFILE = {
    "apiVersion": "security-profiles-operator.x-k8s.io/v1beta1",
    "kind": "SeccompProfile",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {"defaultAction": "SCMP_ACT_ALLOW"},
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[DevCluster]:
    """An onenode without the operator; its node has the folders of the operator."""
    folder = Path(tempfile.mkdtemp(prefix="spo-shutdown-", dir="/var/tmp"))
    made = DevCluster(
        state=folder / "state", node_root=folder / "node", port=free_port(), node_name="shutdown-node"
    )
    (made.node_root / "var/lib").mkdir(parents=True)
    prepare = (sys.executable, "-m", "spo", "non-root-enabler")
    environment = {**os.environ, "SPO_HOST_ROOT": str(made.node_root)}
    subprocess.run(prepare, env=environment, check=True, capture_output=True)
    try:
        made.start_api()
        made.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, PROFILE)
        yield made
    finally:
        made.onenode("down", f"--state={made.state}", "--purge")
        shutil.rmtree(folder)


@contextmanager
def process(cluster: DevCluster, command: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """One process of the operator, as the administrator."""
    usual = {"KUBECONFIG": str(cluster.kubeconfig), "OPERATOR_NAMESPACE": NAMESPACE, "POD_NAME": "one"}
    ports = {"SPO_METRICS_ADDRESS": f"127.0.0.1:{free_port()}"}
    arguments = (sys.executable, "-m", "spo", command)
    running = subprocess.Popen(arguments, env={**os.environ, **usual, **ports, **env})
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def eventually(what: str, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + READY_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {READY_S:.0f} s: {what}"
        time.sleep(0.05)


def end(running: subprocess.Popen[bytes]) -> None:
    """SIGTERM; it must end soon and say that all is well."""
    running.send_signal(signal.SIGTERM)
    assert running.wait(SOON_S) == 0


def answers(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def test_daemon(cluster: DevCluster) -> None:
    port = free_port()
    file = cluster.node_root / "var/lib/security-profiles-operator/default/web.json"
    places = {"NODE_NAME": cluster.node_name, "SPO_HOST_ROOT": str(cluster.node_root)}
    with process(cluster, "daemon", SPO_HEALTH_ADDRESS=f"127.0.0.1:{port}", **places) as running:
        eventually("ready", lambda: answers(port, "/readyz"))
        eventually("the file", file.exists)
        end(running)
    assert json.loads(file.read_text()) == PROFILE["spec"]
    assert not list(file.parent.glob(".spo-tmp-*"))


def test_manager_gives_its_lease_back(cluster: DevCluster) -> None:
    def holders() -> str:
        lease = (
            "get",
            "leases",
            f"--namespace={NAMESPACE}",
            "--output=jsonpath={.items[*].spec.holderIdentity}",
        )
        return cluster.kubectl(*lease).stdout

    with process(cluster, "manager", SPO_HEALTH_ADDRESS="127.0.0.1:0") as running:
        eventually("leader", lambda: "one" in holders())
        end(running)
    assert holders() == ""
