"""Profiles survive the loss of processes, of the API server and of what was on the disk; real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, Namespace, pod, refusing, seccomp_profile

ROOT = Path(__file__).parents[2]
OPERATOR = "security-profiles-operator"
AWAY_S = 2.0
"""The longer, the later clients look again: other tests of this cluster follow."""


@pytest.fixture(autouse=True)
def _own_cluster(cluster: Cluster) -> None:
    if not cluster.own:
        pytest.skip("breaks things; KUBECONFIG names a cluster that others use")


def state_of(cluster: Cluster) -> Path:
    return Path(cluster.kubeconfig).parent


def kill_daemon(cluster: Cluster) -> None:
    selector = ("--selector=name=spod", "--output=jsonpath={.items[0].metadata.uid}")
    labels = {
        "io.kubernetes.pod.uid": cluster.run("--namespace", OPERATOR, "get", "pods", *selector).stdout,
        "io.kubernetes.container.name": OPERATOR,
    }
    filters = [f"--filter=label={key}={value}" for key, value in labels.items()]
    found = subprocess.run(("podman", "ps", "-q", *filters), check=True, capture_output=True, text=True)
    (container,) = found.stdout.split()
    subprocess.run(("podman", "kill", "--signal=KILL", container), check=True, capture_output=True)


@contextmanager
def api_server_gone(cluster: Cluster) -> Iterator[None]:
    """Without API server; pods go on running."""
    state = state_of(cluster)
    options = (state / "options").read_text().split("\n")
    process = os.pidfd_open(int((state / "lock").read_text()))
    signal.pidfd_send_signal(process, signal.SIGKILL)
    os.close(process)
    try:
        yield
    finally:
        command = (sys.executable, "-m", "onenode", "up", f"--state={state}", *filter(None, options))
        subprocess.run(command, check=True, capture_output=True)


def using(namespace: Namespace, profile: str) -> dict[str, object]:
    path = f"operator/{namespace.name}/{profile}.json"
    context = {"seccompProfile": {"type": "Localhost", "localhostProfile": path}}
    return pod("user", "sleep", "600", securityContext=context)


def test_file_changed_by_hand_is_restored_at_once(namespace: Namespace) -> None:
    namespace.apply(seccomp_profile("web", syscalls=refusing("mkdir")))
    namespace.wait_ready("web")
    file = namespace.file("web")
    good = file.read_bytes()
    file.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    namespace.eventually("the old content", lambda: file.read_bytes() == good)
    file.unlink()
    namespace.eventually("the file", lambda: file.exists() and file.read_bytes() == good)
    file.parent.rename(file.parent.with_name("moved-away"))
    try:
        namespace.eventually("the folder", lambda: file.exists() and file.read_bytes() == good)
    finally:
        for left in file.parent.with_name("moved-away").iterdir():
            left.unlink()
        file.parent.with_name("moved-away").rmdir()


def test_directory_in_the_place_of_the_file_is_an_error_until_it_is_gone(namespace: Namespace) -> None:
    folder = namespace.file("web")
    namespace.apply(seccomp_profile("first"))
    namespace.wait_ready("first")
    folder.mkdir()
    namespace.apply(seccomp_profile("web"))
    namespace.eventually("state Error", lambda: namespace.status("web").get("status") == "Error")
    assert "cannot save profile" in namespace.status("web")["failingNodes"][0]["message"]
    folder.rmdir()
    namespace.wait_ready("web")
    assert folder.is_file()


def test_oddities_are_shown_as_warnings(namespace: Namespace) -> None:
    namespace.apply(seccomp_profile("web", syscalls=refusing("mkdir", "no_such_call")))
    namespace.wait_ready("web")
    (warning,) = namespace.status("web")["warnings"]
    assert "no_such_call" in warning


def test_killed_daemon_leaves_whole_files_and_catches_up(namespace: Namespace) -> None:
    names = [f"p{n}" for n in range(20)]
    namespace.apply(seccomp_profile("deleted"), seccomp_profile("changed"), seccomp_profile("kept"))
    for name in ("deleted", "changed", "kept"):
        namespace.wait_ready(name)
    namespace.apply(*(seccomp_profile(name, "SCMP_ACT_LOG") for name in names))
    kill_daemon(namespace.cluster)
    for file in namespace.file("kept").parent.iterdir():
        if file.suffix == ".json":
            json.loads(file.read_text())
    namespace.kubectl("delete", "seccompprofile", "deleted", "--wait=false")
    namespace.apply(seccomp_profile("changed", "SCMP_ACT_LOG"))

    namespace.kubectl("wait", "--for=delete", "seccompprofile/deleted", "--timeout=30s")
    namespace.kubectl("wait", "--for=condition=ready", "--all", "seccompprofiles", "--timeout=30s")
    namespace.eventually("the change", lambda: "LOG" in namespace.file("changed").read_text())
    left = sorted(path.name for path in namespace.file("kept").parent.iterdir())
    assert left == sorted(f"{name}.json" for name in (*names, "changed", "kept"))


def test_crd_deleted_and_created_again_loses_no_file_of_a_running_pod(namespace: Namespace) -> None:
    namespace.apply(seccomp_profile("web", syscalls=refusing("mkdir")), seccomp_profile("unused"))
    namespace.wait_ready("web")
    namespace.wait_ready("unused")
    file = namespace.file("web")
    good = file.read_bytes()
    namespace.apply(using(namespace, "web"))
    namespace.kubectl("wait", "--for=condition=ready", "pod/user", "--timeout=30s")
    crd = "seccompprofiles.security-profiles-operator.x-k8s.io"
    namespace.eventually("the workload", lambda: namespace.status("web").get("activeWorkloads"))
    try:
        namespace.kubectl("delete", "crd", crd, "--wait=false")
        namespace.eventually("the unused file to go", lambda: not namespace.file("unused").exists())
        assert file.read_bytes() == good
        namespace.kubectl("delete", "pod", "user", "--grace-period=1", "--timeout=30s")
        namespace.eventually(
            "the definition to go", lambda: namespace.cluster.run("get", "crd", crd).returncode != 0
        )
        assert not file.exists()
    finally:
        namespace.kubectl("apply", "-f", str(ROOT / "deploy/crds/seccompprofiles.yaml"))
        namespace.kubectl("wait", "--for=condition=established", f"crd/{crd}", "--timeout=20s")
    namespace.apply(seccomp_profile("web", syscalls=refusing("mkdir")))
    namespace.wait_ready("web")
    assert file.read_bytes() == good


def test_work_goes_on_after_the_api_server_was_gone(namespace: Namespace) -> None:
    namespace.apply(seccomp_profile("web", syscalls=refusing("mkdir")))
    namespace.wait_ready("web")
    file = namespace.file("web")
    good = file.read_bytes()
    with api_server_gone(namespace.cluster):
        file.write_text("{}")  # restored without the API server
        namespace.eventually("the old content", lambda: file.read_bytes() == good)
        time.sleep(AWAY_S)
        assert file.read_bytes() == good
    namespace.apply(seccomp_profile("web", "SCMP_ACT_LOG"), seccomp_profile("new"))
    # Clients try again after pauses that grow to 30 s.
    namespace.kubectl(
        "wait", "--for=jsonpath={.status.observedGeneration}=2", "--timeout=40s", "seccompprofile/web"
    )
    namespace.eventually("the change", lambda: "SCMP_ACT_LOG" in file.read_text())
    namespace.wait_ready("new")
    namespace.kubectl("delete", "seccompprofile", "web", "--timeout=40s")
    assert not file.exists()
