"""Pods that use a profile: the filter is really there, and the profile stays as long as they do."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import BUSYBOX, Namespace, pod, refusing, seccomp_profile

TRY_MKDIR = ("sh", "-c", "mkdir /tmp/x && echo made; grep Seccomp: /proc/self/status; exec sleep 600")


def with_annotation(path: str) -> dict[str, Any]:
    made = pod("user", *TRY_MKDIR)
    made["metadata"]["annotations"] = {"seccomp.security.alpha.kubernetes.io/pod": f"localhost/{path}"}
    return made


def with_pod_context(path: str) -> dict[str, Any]:
    return pod("user", *TRY_MKDIR, securityContext=localhost(path))


def with_container_context(path: str) -> dict[str, Any]:
    made = pod("user", *TRY_MKDIR)
    made["spec"]["containers"][0]["securityContext"] = localhost(path)
    return made


def with_init_container_context(path: str) -> dict[str, Any]:
    init = {"name": "i", "image": BUSYBOX, "command": ["true"], "securityContext": localhost(path)}
    return pod("user", "sleep", "600", initContainers=[init])


def localhost(path: str) -> dict[str, Any]:
    return {"seccompProfile": {"type": "Localhost", "localhostProfile": path}}


VARIANTS = [
    pytest.param(with_pod_context, id="pod"),
    pytest.param(with_container_context, id="container"),
    pytest.param(with_annotation, id="annotation"),
]
VARIANTS_IN_USE = [*VARIANTS, pytest.param(with_init_container_context, id="init-container")]


def container_process(namespace: Namespace) -> Path:
    """/proc directory of the first process of the test container, as the node sees it."""
    labels = {"namespace": namespace.name, "name": "user"}
    filters = [f"--filter=label=io.kubernetes.pod.{key}={value}" for key, value in labels.items()]
    name = "--filter=label=io.kubernetes.container.name=c"
    ids = subprocess.run(("podman", "ps", "-q", *filters, name), check=True, capture_output=True, text=True)
    pid = subprocess.run(
        ("podman", "inspect", "--format", "{{.State.Pid}}", *ids.stdout.split()),
        check=True,
        capture_output=True,
        text=True,
    )
    return Path("/proc") / pid.stdout.strip()


@pytest.mark.parametrize("make", VARIANTS)
def test_forbidden_syscall_is_refused_in_the_container(namespace: Namespace, make: Any) -> None:
    namespace.apply(seccomp_profile("no-mkdir", syscalls=refusing("mkdir", "mkdirat")))
    namespace.wait_ready("no-mkdir")
    namespace.apply(make(f"operator/{namespace.name}/no-mkdir.json"))
    namespace.kubectl("wait", "--for=condition=ready", "pod/user", "--timeout=30s")
    namespace.eventually("the output", lambda: "Seccomp:" in namespace.kubectl("logs", "user"))

    output = namespace.kubectl("logs", "user")
    assert "Operation not permitted" in output
    assert "made" not in output
    assert "Seccomp:\t2\n" in output
    if namespace.cluster.own:
        assert "Seccomp:\t2\n" in (container_process(namespace) / "status").read_text()


def test_pod_without_profile_may_do_what_the_profile_forbids(namespace: Namespace) -> None:
    namespace.apply(pod("user", *TRY_MKDIR))
    namespace.kubectl("wait", "--for=condition=ready", "pod/user", "--timeout=30s")
    namespace.eventually("the output", lambda: "Seccomp:" in namespace.kubectl("logs", "user"))
    output = namespace.kubectl("logs", "user")
    assert "made" in output
    assert "Seccomp:\t0\n" in output


@pytest.mark.parametrize("make", VARIANTS_IN_USE)
def test_profile_in_use_stays_until_its_pod_is_gone(namespace: Namespace, make: Any) -> None:
    namespace.apply(seccomp_profile("in-use"))
    namespace.wait_ready("in-use")
    namespace.apply(make(f"operator/{namespace.name}/in-use.json"))
    namespace.kubectl("wait", "--for=condition=ready", "pod/user", "--timeout=30s")
    namespace.eventually(
        "the workload in the status",
        lambda: namespace.status("in-use").get("activeWorkloads") == [f"{namespace.name}/user"],
    )

    namespace.kubectl("delete", "seccompprofile", "in-use", "--wait=false")
    namespace.eventually("Terminating", lambda: namespace.status("in-use").get("status") == "Terminating")
    ready = next(item for item in namespace.status("in-use")["conditions"] if item["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Deleting")
    listed = json.loads(namespace.kubectl("get", "spns", "--all-namespaces", "--output=json"))["items"]
    key = f"SeccompProfile/{namespace.name}/in-use"
    namespace.eventually(
        "Terminating on every node",
        lambda: all(
            item["profiles"][key]["state"] == "Terminating"
            for item in json.loads(namespace.kubectl("get", "spns", "-A", "--output=json"))["items"]
        ),
    )
    assert listed
    assert namespace.file("in-use").exists()

    namespace.kubectl("delete", "pod", "user", "--timeout=30s")
    namespace.kubectl("wait", "--for=delete", "seccompprofile/in-use", "--timeout=20s")
    assert not namespace.file("in-use").exists()
