"""Profiles survive the loss of the API server and of their own definition; real processes."""

import json
import subprocess
import time

import pytest

from tests.e2e.breaking import (
    ROOT,
    api_server_killed,
    api_server_stopped,
    containers_of,
    daemon_container,
    kill_container,
    using,
)
from tests.e2e.cluster import Cluster, Namespace, refusing, seccomp_profile
from tools.devcluster import KUBECTL

AWAY_S = 30.0
HANGING_S = 6.0
"""Less than kubectl waits for a TLS handshake."""
BACK = "--timeout=40s"
"""Clients look again after pauses that grow with the time the server was away."""
CRD = "seccompprofiles.security-profiles-operator.x-k8s.io"
RULES = refusing("mkdir")


@pytest.fixture(autouse=True)
def _own_cluster(cluster: Cluster) -> None:
    if not cluster.own:
        pytest.skip("breaks things; KUBECONFIG names a cluster that others use")


def run_user(namespace: Namespace, profile: str) -> str:
    """A pod that uses a profile; the id of its container."""
    namespace.apply(using(namespace, profile))
    namespace.kubectl("wait", "--for=condition=ready", "pod/user", "--timeout=30s")
    (container,) = containers_of(namespace.cluster, pod_namespace=namespace.name, container_name="c")
    return container


def test_half_a_minute_without_api_server(namespace: Namespace) -> None:
    namespace.apply(*(seccomp_profile(name, syscalls=RULES) for name in ("used", "changed", "deleted")))
    for name in ("used", "changed", "deleted"):
        namespace.wait_ready(name)
    used, changed = namespace.file("used"), namespace.file("changed")
    good = used.read_bytes()
    container = run_user(namespace, "used")
    daemon = daemon_container(namespace.cluster)
    with api_server_killed(namespace.cluster):
        begin = time.monotonic()
        used.write_text("{}")
        changed.unlink()
        namespace.eventually("the old content", lambda: used.read_bytes() == good)
        namespace.eventually("the file", lambda: changed.exists() and changed.read_bytes() == good)
        while time.monotonic() < begin + AWAY_S - 1:
            assert used.read_bytes() == good
            time.sleep(0.5)
        kill_container(daemon)  # nobody starts it again, and nobody restores files
        used.unlink()
        changed.write_text("{}")
        time.sleep(max(0.0, begin + AWAY_S - time.monotonic()))

    namespace.eventually("the file of the running pod", lambda: used.exists() and used.read_bytes() == good)
    namespace.kubectl("delete", "seccompprofile", "deleted", "--wait=false")
    namespace.apply(seccomp_profile("changed", "SCMP_ACT_LOG"), seccomp_profile("new"))
    namespace.kubectl("wait", "--for=jsonpath={.status.observedGeneration}=2", BACK, "seccompprofile/changed")
    namespace.kubectl("wait", "--for=condition=ready", BACK, "seccompprofile/new", "seccompprofile/used")
    namespace.kubectl("wait", "--for=delete", BACK, "seccompprofile/deleted")
    namespace.eventually("the change", lambda: "SCMP_ACT_LOG" in changed.read_text())
    assert not namespace.file("deleted").exists()
    assert container in containers_of(namespace.cluster, pod_namespace=namespace.name, container_name="c")
    namespace.refused("exec", "user", "--", "mkdir", "/tmp/x")
    assert namespace.status("used")["activeWorkloads"] == [f"{namespace.name}/user"]


def test_api_server_that_answers_nobody_for_a_while(namespace: Namespace) -> None:
    """Connections stay open and silent, and what is asked meanwhile is done all at once."""
    namespace.apply(seccomp_profile("kept", syscalls=RULES), seccomp_profile("deleted"))
    namespace.wait_ready("kept")
    namespace.wait_ready("deleted")
    kept = namespace.file("kept")
    good = kept.read_bytes()
    command = (str(KUBECTL), f"--kubeconfig={namespace.cluster.kubeconfig}", f"--namespace={namespace.name}")
    new = json.dumps(seccomp_profile("new"))
    with api_server_stopped(namespace.cluster):
        waiting = [
            subprocess.Popen((*command, *words), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
            for words in (("delete", "seccompprofile", "deleted"), ("create", "-f", "-"))
        ]
        for process, body in zip(waiting, ("", new), strict=True):
            assert process.stdin
            process.stdin.write(body)
            process.stdin.close()
        kept.unlink()
        namespace.eventually("the file", lambda: kept.exists() and kept.read_bytes() == good)
        time.sleep(HANGING_S)
        assert [process.poll() for process in waiting] == [None, None]
    assert [process.wait(timeout=60) for process in waiting] == [0, 0]
    assert not namespace.file("deleted").exists()
    namespace.kubectl("wait", "--for=condition=ready", BACK, "seccompprofile/new", "seccompprofile/kept")
    assert namespace.file("new").exists()


def test_definition_forced_away_and_made_anew_under_a_running_pod(namespace: Namespace) -> None:
    namespace.apply(seccomp_profile("web", syscalls=RULES), seccomp_profile("unused"))
    namespace.wait_ready("web")
    namespace.wait_ready("unused")
    file = namespace.file("web")
    good = file.read_bytes()
    container = run_user(namespace, "web")
    namespace.eventually("the workload", lambda: namespace.status("web").get("activeWorkloads"))
    try:
        namespace.kubectl("delete", "crd", CRD, "--wait=false")
        namespace.eventually("the unused file to go", lambda: not namespace.file("unused").exists())
        # As an administrator who has lost patience; the definition goes with the last object.
        unheld = '--patch={"metadata":{"finalizers":[]}}'
        namespace.kubectl("patch", "seccompprofile", "web", "--type=merge", unheld)
        namespace.kubectl("wait", "--for=delete", f"crd/{CRD}", "--timeout=20s")
        time.sleep(1.0)  # nothing to wait for: the file must stay
        assert file.read_bytes() == good
    finally:
        namespace.kubectl("apply", "-f", str(ROOT / "deploy/crds/seccompprofiles.yaml"))
        namespace.kubectl("wait", "--for=condition=established", f"crd/{CRD}", "--timeout=20s")
    assert file.read_bytes() == good
    namespace.apply(seccomp_profile("web", syscalls=refusing("mkdir", "rmdir")))
    namespace.kubectl("wait", "--for=condition=ready", BACK, "seccompprofile/web")
    assert "rmdir" in file.read_text()
    namespace.eventually("the workload", lambda: namespace.status("web").get("activeWorkloads"))
    assert container in containers_of(namespace.cluster, pod_namespace=namespace.name, container_name="c")
    namespace.refused("exec", "user", "--", "mkdir", "/tmp/x")

    namespace.kubectl("delete", "pod", "user", "--grace-period=1", "--timeout=30s")
    namespace.kubectl("delete", "seccompprofile", "web", BACK)
    assert not file.exists()


def test_definition_goes_with_the_last_pod(namespace: Namespace) -> None:
    namespace.apply(seccomp_profile("web", syscalls=RULES))
    namespace.wait_ready("web")
    file = namespace.file("web")
    run_user(namespace, "web")
    namespace.eventually("the workload", lambda: namespace.status("web").get("activeWorkloads"))
    try:
        namespace.kubectl("delete", "crd", CRD, "--wait=false")
        namespace.eventually("Terminating", lambda: namespace.status("web").get("status") == "Terminating")
        assert file.exists()
        namespace.kubectl("delete", "pod", "user", "--grace-period=1", "--timeout=30s")
        namespace.kubectl("wait", "--for=delete", f"crd/{CRD}", "--timeout=20s")
        assert not file.exists()
    finally:
        namespace.kubectl("apply", "-f", str(ROOT / "deploy/crds/seccompprofiles.yaml"))
        namespace.kubectl("wait", "--for=condition=established", f"crd/{CRD}", "--timeout=20s")
    namespace.apply(seccomp_profile("web", syscalls=RULES))
    namespace.kubectl("wait", "--for=condition=ready", BACK, "seccompprofile/web")
    assert file.exists()
