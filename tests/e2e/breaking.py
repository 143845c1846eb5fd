"""What tests do to a cluster of their own: end its processes, take away what they need."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.cluster import Cluster, Namespace, pod

ROOT = Path(__file__).parents[2]
OPERATOR = "security-profiles-operator"


def state_of(cluster: Cluster) -> Path:
    """Folder of the API server."""
    return Path(cluster.kubeconfig).parent


def containers_of(cluster: Cluster, **labels: str) -> list[str]:
    """Ids of the running containers of this cluster with these labels, shorter by ``io.kubernetes.``."""
    wanted = {f"io.kubernetes.{key.replace('_', '.')}": value for key, value in labels.items()}
    wanted["onenode.instance"] = (state_of(cluster) / "instance-id").read_text().strip()
    filters = [f"--filter=label={key}={value}" for key, value in wanted.items()]
    found = subprocess.run(("podman", "ps", "-q", *filters), check=True, capture_output=True, text=True)
    return found.stdout.split()


def daemon_container(cluster: Cluster) -> str:
    """Id of the container of the node's daemon; needs the API server."""
    selector = ("--selector=name=spod", "--output=jsonpath={.items[0].metadata.uid}")
    uid = cluster.run("--namespace", OPERATOR, "get", "pods", *selector).stdout
    (found,) = containers_of(cluster, pod_uid=uid, container_name=OPERATOR)
    return found


def kill_container(container: str) -> None:
    """SIGKILL to its first process."""
    subprocess.run(("podman", "kill", "--signal=KILL", container), check=True, capture_output=True)


def _signal_api_server(cluster: Cluster, number: signal.Signals) -> None:
    process = os.pidfd_open(int((state_of(cluster) / "lock").read_text()))
    signal.pidfd_send_signal(process, number)
    os.close(process)


@contextmanager
def api_server_killed(cluster: Cluster) -> Iterator[None]:
    """Without API server; pods go on running."""
    state = state_of(cluster)
    options = (state / "options").read_text().split("\n")
    _signal_api_server(cluster, signal.SIGKILL)
    try:
        yield
    finally:
        command = (sys.executable, "-m", "onenode", "up", f"--state={state}", *filter(None, options))
        subprocess.run(command, check=True, capture_output=True)


@contextmanager
def api_server_stopped(cluster: Cluster) -> Iterator[None]:
    """With an API server that answers nobody: connections stay open, requests wait."""
    _signal_api_server(cluster, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal_api_server(cluster, signal.SIGCONT)


def using(namespace: Namespace, profile: str) -> dict[str, object]:
    """Pod ``user`` that runs under a profile."""
    path = f"operator/{namespace.name}/{profile}.json"
    context = {"seccompProfile": {"type": "Localhost", "localhostProfile": path}}
    return pod("user", "sleep", "600", securityContext=context)
