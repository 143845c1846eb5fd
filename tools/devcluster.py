"""A cluster of one machine for trying things out: onenode, the operator's image, the operator.

``up`` leaves it running, ``down`` takes everything away again: pods, the API server, and what the
operator put on the node. Tests and the demo use the same class with a node root of their own.
"""

import argparse
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from spo.host.node_paths import pin_root

ROOT = Path(__file__).resolve().parent.parent
KUBECTL = ROOT / ".venv/bin/kubectl"
OPERATOR_OVERLAY = ROOT / "deploy/overlays/onenode"
OPERATOR_NAMESPACE = "security-profiles-operator"
SECCOMP_ROOT = "var/lib/kubelet/seccomp"
OPERATOR_ROOT = "var/lib/security-profiles-operator"
RUN_DIR = "var/run/security-profiles-operator"
ROOTLESS_UID = 65535
DEFAULT_PORT = 16443
PORTS = {
    "liveness-port": "SPO_HEALTH_ADDRESS",
    "webhook-server": "SPO_WEBHOOK_ADDRESS",
    "manager-https": "SPO_METRICS_ADDRESS",
}
"""Name of a port in the manifests -> the variable that sets it."""
DAEMON_ADDRESSES = ("SPO_SPOD_HEALTH_ADDRESS", "SPO_SPOD_METRICS_ADDRESS")
DAEMON_ROOT = "SPO_SPOD_HOST_ROOT"
"""What the manager is told about its daemons."""


class ClusterError(Exception):
    """The cluster did not come up or did not do what was asked; the message says what happened."""


class ForcedDownError(ClusterError):
    """Everything is gone, but the operator did not clean up after itself as it should have."""


def operator_objects(node_root: Path) -> list[dict[str, Any]]:
    """The operator's manifests; with a node root other than / the daemons work below it.

    Such a cluster has neighbours on this machine, so its processes also get ports of their own.
    """
    command = (str(KUBECTL), "kustomize", str(OPERATOR_OVERLAY))
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    objects = [item for item in yaml.safe_load_all(text) if item]
    if node_root != Path("/"):
        for item in objects:
            if item["kind"] == "Deployment":
                pod = item["spec"]["template"]["spec"]
                for port_name, variable in PORTS.items():
                    move_port(pod, port_name, variable, free_port())
                for container in pod["containers"]:
                    move_daemons(container.get("env", []), node_root)
    return objects


def installed_objects(
    manifest: str, node_root: Path, namespace: str = OPERATOR_NAMESPACE
) -> list[dict[str, Any]]:
    """The objects of a manifest in deploy/, as users apply it.

    Only the place of the node's file system is another one, because such a cluster has neighbours.

    Args:
        namespace: in place of ``NS_REPLACE``.
    """
    text = (ROOT / "deploy" / manifest).read_text().replace("NS_REPLACE", namespace)
    objects = [item for item in yaml.safe_load_all(text) if item]
    for item in objects:
        if item["kind"] == "Deployment" and item["metadata"]["name"] == OPERATOR_NAMESPACE:
            container = item["spec"]["template"]["spec"]["containers"][0]
            container["env"].append({"name": DAEMON_ROOT, "value": str(node_root)})
    return objects


def move_daemons(environment: list[dict[str, Any]], node_root: Path) -> None:
    """Let the manager make daemons that work below the node root and have ports of their own."""
    moved = [variable for variable in environment if variable["name"] in DAEMON_ADDRESSES]
    for variable in moved:
        host = variable["value"].rpartition(":")[0]
        variable["value"] = f"{host}:{free_port()}"
    if moved:
        environment.append({"name": DAEMON_ROOT, "value": str(node_root)})


def move_port(pod: dict[str, Any], port_name: str, address: str, number: int) -> None:
    """Let a named port of a pod's spec be this one, also in the variable that tells the process."""
    for container in pod["containers"]:
        for port in container.get("ports", []):
            if port["name"] == port_name:
                port["containerPort"] = number
        for variable in container.get("env", []):
            if variable["name"] == address:
                variable["value"] = f"{variable['value'].rpartition(':')[0]}:{number}"


def free_port() -> int:
    """A TCP port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(kw_only=True)
class DevCluster:
    """onenode and the operator, or a part of them."""

    state: Path
    """Folder of the API server: objects, certificates, kubeconfig. Made by ``up``."""
    node_root: Path = Path("/")
    """Where the node's file system begins."""
    port: int = DEFAULT_PORT
    node_name: str = field(default_factory=socket.gethostname)
    access_log: Path | None = None
    """File that gets what service accounts ask for; see ``onenode up --help``."""

    @property
    def kubeconfig(self) -> Path:
        """For ``KUBECONFIG``."""
        return self.state / "kubeconfig"

    @property
    def seccomp_root(self) -> Path:
        """The kubelet's seccomp root of this node."""
        return self.node_root / SECCOMP_ROOT

    def onenode(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one onenode command."""
        command = (sys.executable, "-m", "onenode", *arguments)
        return self._run(command, check=check)

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl against this cluster."""
        return self._run((str(KUBECTL), *arguments), stdin=stdin, check=check)

    def apply(self, *objects: dict[str, Any]) -> None:
        """kubectl apply of objects."""
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def start_api(self) -> None:
        """Start onenode with our kinds; returns when it answers. Does nothing when it runs."""
        self.start_empty_api(f"--crds={ROOT / 'deploy/crds'}")

    def start_empty_api(self, *more: str) -> None:
        """Start onenode; ``more`` are options of its own."""
        self.onenode(
            "up",
            f"--state={self.state}",
            f"--node-name={self.node_name}",
            f"--node-root={self.node_root}",
            f"--port={self.port}",
            *((f"--access-log={self.access_log}",) if self.access_log else ()),
            *more,
        )

    def build_image(self) -> None:
        """Make the operator's image unless it is current."""
        self._run((sys.executable, str(ROOT / "tools/dev_image.py")))

    def start_operator(self) -> None:
        """Build the image if needed, apply the operator's objects, wait until all workloads are ready."""
        self.build_image()
        self.apply(*operator_objects(self.node_root))
        where = (f"--namespace={OPERATOR_NAMESPACE}", "--timeout=60s")
        for name in ("security-profiles-operator", "security-profiles-operator-webhook"):
            self.kubectl("rollout", "status", f"deployment/{name}", *where)
        # Made by the manager.
        self.kubectl("wait", "--for=create", "spod/spod", *where)
        self.kubectl("wait", "--for=condition=ready", "spod/spod", *where)

    def is_running(self) -> bool:
        """Whether the API server of this state folder runs."""
        return self.onenode("status", f"--state={self.state}", check=False).returncode == 0

    def stop_operator(self) -> None:
        """Delete workloads, pods, profiles and the operator in this order."""
        selector = f"--field-selector=metadata.namespace!={OPERATOR_NAMESPACE}"
        gone = ("--ignore-not-found", "--timeout=30s")
        kinds = "deployments,replicasets,daemonsets,jobs"
        self.kubectl("delete", kinds, "--all-namespaces", selector, *gone)
        self.kubectl("delete", "pods", "--all-namespaces", selector, "--grace-period=1", *gone)
        # Bindings too: nobody would take off their finalizers later.
        kinds = "profilebindings,seccompprofiles"
        self.kubectl("delete", kinds, "--all", "--all-namespaces", *gone)
        # Longer than the grace period of a pod that does not stop by itself.
        self.kubectl("delete", "namespace", OPERATOR_NAMESPACE, "--ignore-not-found", "--timeout=60s")

    def up(self) -> None:
        """API server and operator."""
        self.start_api()
        self.start_operator()

    def down(self) -> None:
        """Leave nothing running and nothing on the node, whatever state things are in.

        Raises:
            ForcedDownError: all is gone, but the operator, or the API server, did not do its part.
        """
        failure = ""
        was_up = self.state.exists()
        if self.kubeconfig.exists():
            try:
                self.stop_operator()
            except ClusterError as error:
                failure = str(error)
        self.onenode("down", f"--state={self.state}", "--purge")
        # Without a state folder this cluster was not up: what is there belongs to another operator.
        left = remove_operator_files(self.node_root) if was_up else []
        if was_up:
            remove_recorder_state(self.node_root)
        if failure or left:
            names = " ".join(left) or "none"
            raise ForcedDownError(f"{failure}\nfiles removed without the operator: {names}".strip())

    def _run(
        self, command: Sequence[str], *, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            input=stdin if stdin is not None else "",
            check=False,
            capture_output=True,
            text=True,
        )
        if check and done.returncode:
            raise ClusterError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done


def remove_operator_files(node_root: Path) -> list[str]:
    """Remove what the non-root-enabler and the daemon made; files of others stay, with their folders.

    Returns the files that the daemon has left behind.
    """
    target = node_root / OPERATOR_ROOT
    link = node_root / SECCOMP_ROOT / "operator"
    left = []
    if target.is_dir():
        for file in (*target.glob("*/*"), *target.glob(".*")):
            if file.is_file() and file.lstat().st_uid == ROOTLESS_UID:
                file.unlink()
                left.append(str(file.relative_to(target)))
        for folder in sorted((path for path in target.rglob("*") if path.is_dir()), reverse=True):
            remove_if_empty(folder)
        remove_if_empty(target)
    if link.is_symlink() and not target.exists():
        link.unlink()
    for folder in (node_root / SECCOMP_ROOT, node_root / "var/lib/kubelet"):
        remove_if_empty(folder)
    return left


def remove_recorder_state(node_root: Path) -> None:
    """Remove what outlives the processes of a node: sockets, their locks, notes and pins of the recorder."""
    run = node_root / RUN_DIR
    ours = (run / "probes", run / "daemon")
    for file in (file for folder in ours if folder.is_dir() for file in folder.iterdir()):
        file.unlink()
    for folder in (*ours, run):
        remove_if_empty(folder)
    pins = Path(pin_root(PurePosixPath(node_root)))
    for pin in (*pins.glob("*/*"), *pins.glob("*"), pins):
        if pin.is_dir():
            pin.rmdir()
        elif pin.exists():
            pin.unlink()


def remove_if_empty(folder: Path) -> None:
    """Remove a directory unless it holds something."""
    if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
        folder.rmdir()


def main() -> None:
    """Parse the command line: up or down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("up", "down"))
    arguments = parser.parse_args()
    cluster = DevCluster(state=ROOT / ".run/onenode")
    try:
        if arguments.action == "up":
            cluster.up()
            print(f"export KUBECONFIG={cluster.kubeconfig}\nexport PATH={KUBECTL.parent}:$PATH")
        else:
            cluster.down()
            print("stopped: no pod, no server, no profile left on this node")
    except ForcedDownError as error:
        print(f"{error}\nstopped by force: no pod, no server, no profile left on this node")
    except ClusterError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
