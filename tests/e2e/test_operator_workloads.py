"""The operator's own Deployment and DaemonSet: logs, restarts, replaced pods."""

import pytest

from tests.e2e.breaking import OPERATOR
from tests.e2e.cluster import Cluster, Namespace, seccomp_profile

DAEMONS = "daemonset/spod"


@pytest.fixture(autouse=True)
def _own_cluster(cluster: Cluster) -> None:
    if not cluster.own:
        pytest.skip("restarts the operator of the cluster")


def operator(cluster: Cluster, *arguments: str) -> str:
    done = cluster.run("--namespace", OPERATOR, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("workload", "component"), [(DAEMONS, "spod"), (f"deployment/{OPERATOR}", OPERATOR)], ids=["ds", "deploy"]
)
def test_logs_are_found_by_the_name_of_the_workload(cluster: Cluster, workload: str, component: str) -> None:
    assert f'"starting component: {component}"' in operator(cluster, "logs", workload)


def test_containers_have_the_documented_names(cluster: Cluster) -> None:
    names = "jsonpath={.spec.template.spec['initContainers','containers'][*].name}"
    found = operator(cluster, "get", DAEMONS, f"--output={names}").split()
    # In this order: kubectl logs takes the first container.
    assert found[:2] == ["non-root-enabler", OPERATOR]
    assert set(found[2:]) <= {"selinuxd", "log-enricher", "bpf-recorder", "metrics"}


def test_profiles_stay_installed_while_the_daemons_are_restarted(namespace: Namespace) -> None:
    namespace.apply(seccomp_profile("web"))
    namespace.wait_ready("web")
    before = namespace.file("web").stat()
    stamp = "jsonpath={.status.conditions[?(@.type=='Ready')]}"
    ready = namespace.kubectl("get", "seccompprofile", "web", f"--output={stamp}")

    operator(namespace.cluster, "rollout", "restart", DAEMONS)
    operator(namespace.cluster, "rollout", "status", DAEMONS, "--timeout=60s")
    namespace.apply(seccomp_profile("new"))
    namespace.wait_ready("new")
    assert namespace.status("web")["status"] == "Installed"
    assert namespace.kubectl("get", "seccompprofile", "web", f"--output={stamp}") == ready
    after = namespace.file("web").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_manager_that_is_replaced_is_followed_by_another(namespace: Namespace) -> None:
    cluster = namespace.cluster
    operator(cluster, "delete", "pod", "--selector=name=security-profiles-operator", "--timeout=60s")
    operator(cluster, "rollout", "status", f"deployment/{OPERATOR}", "--timeout=60s")
    namespace.apply(seccomp_profile("web"))
    namespace.kubectl("wait", "--for=condition=ready", "--timeout=40s", "seccompprofile/web")
    namespace.kubectl("delete", "seccompprofile", "web", "--timeout=40s")
    assert not namespace.file("web").exists()
