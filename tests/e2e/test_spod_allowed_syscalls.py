"""spod.spec.allowedSyscalls decides which profiles may be on the nodes."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.breaking import OPERATOR
from tests.e2e.cluster import Cluster, Namespace, pod, seccomp_profile

KEYS = ("allowedSyscalls", "allowedSeccompActions")


def patch(cluster: Cluster, **spec: Any) -> None:
    body = f"--patch={json.dumps({'spec': spec})}"
    done = cluster.run("--namespace", OPERATOR, "patch", "spod", "spod", "--type=merge", body)
    assert done.returncode == 0, done.stderr


def allowing(*names: str) -> list[dict[str, Any]]:
    return [{"action": "SCMP_ACT_ALLOW", "names": list(names)}]


@pytest.fixture
def narrow(cluster: Cluster) -> Iterator[Cluster]:
    if not cluster.own:
        pytest.skip("changes settings of a cluster that others use")
    yield cluster
    patch(cluster, **dict.fromkeys(KEYS))


def test_profiles_beyond_the_list_leave_the_node_once_nobody_uses_them(
    narrow: Cluster, namespace: Namespace
) -> None:
    namespace.apply(
        seccomp_profile("good", "SCMP_ACT_ERRNO", syscalls=allowing("read")),
        seccomp_profile("bad", "SCMP_ACT_ERRNO", syscalls=allowing("read", "mount")),
        seccomp_profile("used", "SCMP_ACT_ALLOW"),
    )
    for name in ("good", "bad", "used"):
        namespace.wait_ready(name)
    reference = {"type": "Localhost", "localhostProfile": f"operator/{namespace.name}/used.json"}
    namespace.apply(pod("user", "sleep", "1000", securityContext={"seccompProfile": reference}))
    namespace.kubectl("wait", "--for=condition=ready", "pod/user", "--timeout=30s")
    daemons = Namespace(narrow, OPERATOR)
    before = daemons.get("daemonset", "spod")["metadata"]["generation"]

    patch(narrow, allowedSyscalls=["read", "write"], allowedSeccompActions=["SCMP_ACT_ALLOW"])
    for name, problem in (("bad", "syscall not allowed: mount (SCMP_ACT_ALLOW)"), ("used", "defaultAction")):
        namespace.eventually("Error", lambda one=name: namespace.status(one).get("status") == "Error")
        (failing,) = namespace.status(name)["failingNodes"]
        assert problem in failing["message"]
    assert namespace.status("good")["status"] == "Installed"
    assert not namespace.file("bad").exists()
    assert namespace.file("used").exists()
    namespace.eventually(
        "a Warning event",
        lambda: "ProfileNotAllowed" in namespace.kubectl("events", "--for=seccompprofile/bad"),
    )
    namespace.kubectl("delete", "pod", "user", "--grace-period=1", "--timeout=30s")
    namespace.eventually("the file is gone", lambda: not namespace.file("used").exists())

    patch(narrow, **dict.fromkeys(KEYS))
    for name in ("bad", "used"):
        namespace.wait_ready(name)
        assert namespace.file(name).exists()
    assert daemons.get("daemonset", "spod")["metadata"]["generation"] == before
