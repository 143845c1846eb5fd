"""What the end-to-end tests do with a cluster: kubectl, the node's file system, objects."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tools.devcluster import KUBECTL

DEADLINE_S = 20.0
BUSYBOX = os.environ.get("E2E_BUSYBOX_IMAGE", "localhost/busybox:dev")


@dataclass(frozen=True)
class Cluster:
    """kubectl, and the node's file system."""

    kubeconfig: str
    node_root: Path
    own: bool
    """Whether the tests started it: an own cluster may be stopped and broken."""
    access_log: Path | None = None
    """What service accounts have asked of an own cluster."""

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run kubectl; whatever it answers."""
        return subprocess.run(
            (str(KUBECTL), *arguments),
            env={**os.environ, "KUBECONFIG": self.kubeconfig},
            input=stdin,
            check=False,
            capture_output=True,
            text=True,
        )


@dataclass(frozen=True)
class Namespace:
    """A namespace of one test, and what tests do in it."""

    cluster: Cluster
    name: str

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Output of a kubectl command that must work."""
        done = self.cluster.run("--namespace", self.name, *arguments, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def refused(self, *arguments: str, stdin: str = "") -> str:
        """Error output of a kubectl command that must fail."""
        done = self.cluster.run("--namespace", self.name, *arguments, stdin=stdin)
        assert done.returncode != 0, f"kubectl {' '.join(arguments)} worked: {done.stdout}"
        return done.stderr

    def apply(self, *objects: dict[str, Any]) -> None:
        """kubectl apply of objects."""
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One object."""
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "--output=json"))
        return found

    def wait_ready(self, name: str) -> None:
        """Wait until a profile is installed."""
        self.kubectl(
            "wait", "--for=condition=ready", f"--timeout={DEADLINE_S:.0f}s", f"seccompprofile/{name}"
        )

    def file(self, profile: str) -> Path:
        """The file of a profile on the node."""
        return self.cluster.node_root / f"var/lib/kubelet/seccomp/operator/{self.name}/{profile}.json"

    def eventually(self, what: str, condition: Callable[[], object]) -> None:
        """Wait until a condition holds, for a limited time."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, f"not within {DEADLINE_S:.0f} s: {what}"
            time.sleep(0.05)

    def status(self, name: str) -> dict[str, Any]:
        """Status of a profile, ``{}`` before the first."""
        found: dict[str, Any] = self.get("seccompprofile", name).get("status", {})
        return found


def seccomp_profile(name: str, default_action: str = "SCMP_ACT_ALLOW", **spec: Any) -> dict[str, Any]:
    """A SeccompProfile object."""
    return {
        "apiVersion": "security-profiles-operator.x-k8s.io/v1beta1",
        "kind": "SeccompProfile",
        "metadata": {"name": name},
        "spec": {"defaultAction": default_action, **spec},
    }


def refusing(*syscalls: str) -> list[dict[str, Any]]:
    """Rules that refuse these syscalls with EPERM."""
    return [{"action": "SCMP_ACT_ERRNO", "names": list(syscalls)}]


def pod(name: str, *command: str, **spec: Any) -> dict[str, Any]:
    """A pod of one busybox container."""
    container = {"name": "c", "image": BUSYBOX, "command": list(command)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], **spec},
    }
