"""What the tests of recordings share: recordings, pods to record, their profiles, images that serve."""

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.e2e.breaking import OPERATOR
from tests.e2e.cluster import BUSYBOX, Cluster, Namespace, pod
from tools.dev_image import Files, import_image, shared_libraries, tree

RECORDING = "rec"
LABELS = {"app": "recorded"}
SERVERS = "localhost/e2e-servers:dev"
DEADLINE_S = 30.0
LOOP = "trap exit TERM; while :; do sleep 0.1; done"
"""Runs until it is told to end."""


def recording(name: str = RECORDING, recorder: str = "bpf", **spec: Any) -> dict[str, Any]:
    """A ProfileRecording of the pods with our label."""
    selector = {"podSelector": {"matchLabels": LABELS}}
    return {
        "apiVersion": "security-profiles-operator.x-k8s.io/v1alpha1",
        "kind": "ProfileRecording",
        "metadata": {"name": name},
        "spec": {"kind": "SeccompProfile", "recorder": recorder, **selector, **spec},
    }


def enable_recorder(
    cluster: Cluster, setting: str = "enableBpfRecorder", container: str = "bpf-recorder"
) -> None:
    """Have a recorder run on the nodes, and wait for it."""
    where = ("--namespace", OPERATOR)
    patch = f'--patch={{"spec":{{"{setting}":true}}}}'
    names = "--output=jsonpath={.spec.template.spec.containers[*].name}"
    deadline = time.monotonic() + DEADLINE_S
    done = cluster.run(*where, "patch", "spod", "spod", "--type=merge", patch)
    assert done.returncode == 0, done.stderr
    while container not in cluster.run(*where, "get", "daemonset", "spod", names).stdout:
        assert time.monotonic() < deadline, f"the DaemonSet has no {container}"
        time.sleep(0.05)
    done = cluster.run(*where, "rollout", "status", "daemonset/spod", "--timeout=60s")
    assert done.returncode == 0, done.stderr


def begin(namespace: Namespace, *recordings: dict[str, Any]) -> None:
    """Make recordings and wait until pods are recorded."""
    recorders = {one["spec"]["recorder"] for one in recordings or (recording(),)}
    if "logs" in recorders:
        enable_recorder(namespace.cluster, "enableLogEnricher", "log-enricher")
    if "bpf" in recorders:
        enable_recorder(namespace.cluster)
    namespace.apply(*(recordings or (recording(),)))
    for one in recordings or (recording(),):
        name = f"profilerecording/{one['metadata']['name']}"
        namespace.kubectl("wait", "--for=condition=ready", f"--timeout={DEADLINE_S:.0f}s", name)


def recorded_pod(name: str, *command: str, containers: Any = None, **spec: Any) -> dict[str, Any]:
    """A pod with our label that runs once."""
    made = pod(name, *command, **{"restartPolicy": "Never", **spec})
    made["metadata"]["labels"] = LABELS
    if containers:
        made["spec"]["containers"] = containers
    return made


def container(name: str, script: str, image: str = BUSYBOX, **more: Any) -> dict[str, Any]:
    """A container that runs a shell script."""
    return {"name": name, "image": image, "command": ["sh", "-c", script], **more}


def profiles(namespace: Namespace) -> dict[str, dict[str, Any]]:
    """All profiles of the namespace by name."""
    items = json.loads(namespace.kubectl("get", "seccompprofiles", "--output=json"))["items"]
    return {one["metadata"]["name"]: one for one in items}


def state(namespace: Namespace, name: str) -> str:
    """State of a profile, empty while there is none."""
    found: str = profiles(namespace).get(name, {}).get("status", {}).get("status", "")
    return found


def allowed(profile: dict[str, Any]) -> set[str]:
    """Names that a recorded profile allows."""
    rules = profile["spec"].get("syscalls", [])
    assert {rule["action"] for rule in rules} <= {"SCMP_ACT_ALLOW"}
    return {name for rule in rules for name in rule["names"]}


def made_by_program(profile: dict[str, Any]) -> set[str]:
    """Names that are not there for the container runtime only."""
    base = json.loads(annotation(profile, "runtime-base") or "[]")
    return allowed(profile) - set(base)


def annotation(profile: dict[str, Any], name: str) -> str | None:
    """An annotation of ours."""
    found: str | None = profile["metadata"].get("annotations", {}).get(f"spo.x-k8s.io/{name}")
    return found


def wait_installed(namespace: Namespace, *names: str, within_s: float = DEADLINE_S) -> None:
    """Wait until recorded profiles are on the node."""
    deadline = time.monotonic() + within_s
    missing = set(names)
    while missing := {name for name in missing if state(namespace, name) != "Installed"}:
        assert time.monotonic() < deadline, f"not installed within {within_s:.0f} s: {sorted(missing)}"
        time.sleep(0.05)


def wait_over(namespace: Namespace, name: str) -> None:
    """Wait until a pod has succeeded."""
    done = ("wait", "--for=jsonpath={.status.phase}=Succeeded", f"--timeout={DEADLINE_S:.0f}s")
    namespace.kubectl(*done, f"pod/{name}")


def wait_running(namespace: Namespace, *names: str) -> None:
    """Wait until pods are ready."""
    for name in names:
        namespace.kubectl("wait", "--for=condition=ready", f"--timeout={DEADLINE_S:.0f}s", f"pod/{name}")


def delete_pods(namespace: Namespace, *names: str) -> None:
    """Delete pods and wait until they are gone."""
    namespace.kubectl("delete", "pods", *(names or ("--all",)), "--grace-period=2", "--timeout=60s")


def reasons(namespace: Namespace, kind: str, name: str) -> set[str]:
    """Reasons of the events about an object."""
    selector = f"--field-selector=involvedObject.kind={kind},involvedObject.name={name}"
    items = json.loads(namespace.kubectl("get", "events", selector, "--output=json"))["items"]
    return {one["reason"] for one in items}


def under(namespace: Namespace, profile: str) -> dict[str, Any]:
    """The field of a security context that asks for a profile."""
    path = f"operator/{namespace.name}/{profile}.json"
    return {"seccompProfile": {"type": "Localhost", "localhostProfile": path}}


def servers_image() -> None:
    """Make the image of nginx and redis from the files of this machine."""
    binaries = [Path("/bin/busybox")]
    for name in ("nginx", "redis-server"):
        found = shutil.which(name)
        assert found, f"{name} is not installed: run tools/setup.py --fidelity"
        binaries.append(Path(found))
    plain = [Path("/etc/passwd"), Path("/etc/group"), *tree(Path("/etc/nginx")), *binaries]
    files: Files = {}
    for file in (*plain, *shared_libraries(*binaries)):
        files[str(file.parent.resolve() / file.name).lstrip("/")] = file
    links = {name: f"usr/{name}" for name in ("bin", "lib", "lib64", "sbin")}
    links["usr/bin/sh"] = "busybox"
    import_image(SERVERS, files, links, ["ENV PATH=/usr/sbin:/usr/bin"])


def podman(*arguments: str) -> str:
    """Output of a Podman command that must work."""
    return subprocess.run(("podman", *arguments), check=True, capture_output=True, text=True).stdout
