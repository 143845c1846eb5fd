"""A pod that is over before the log enricher can look at its processes: the BPF recorder saw them."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e.breaking import OPERATOR
from tests.e2e.cluster import Cluster, Namespace, pod, seccomp_profile
from tests.e2e.recorded import begin, podman, under, wait_over

LOGS = ("logs", "daemonset/spod", "--container=log-enricher")


@pytest.fixture
def operator(cluster: Cluster) -> Iterator[Namespace]:
    """With the log enricher."""
    made = Namespace(cluster, OPERATOR)
    patch = '--patch={"spec":{"enableLogEnricher":%s}}'
    made.kubectl("patch", "spod", "spod", "--type=merge", patch % "true")
    names = "--output=jsonpath={.spec.template.spec.containers[*].name}"
    made.eventually(
        "the DaemonSet has it", lambda: "log-enricher" in made.kubectl("get", "ds", "spod", names)
    )
    made.kubectl("rollout", "status", "daemonset/spod", "--timeout=60s")
    made.eventually("it reads", lambda: "Connected to the daemon" in made.kubectl(*LOGS))
    yield made
    made.kubectl("patch", "spod", "spod", "--type=merge", patch % "false")
    made.kubectl("rollout", "status", "daemonset/spod", "--timeout=60s")


def enricher_container(operator: Namespace) -> str:
    """Podman's id of the container."""
    selector = "--output=jsonpath={.items[*].metadata.uid}"
    (uid,) = operator.kubectl("get", "pods", "--selector=name=spod", selector).split()
    labels = (f"io.kubernetes.pod.uid={uid}", "io.kubernetes.container.name=log-enricher")
    (found,) = podman("ps", "--quiet", *(f"--filter=label={one}" for one in labels)).split()
    return found


def test_pod_that_is_over_is_known(operator: Namespace, namespace: Namespace) -> None:
    begin(namespace)  # a recording: so the recorder is attached
    operator.eventually("it reads", lambda: "Connected to the daemon" in operator.kubectl(*LOGS))
    rules = [{"action": "SCMP_ACT_LOG", "names": ["mkdir", "mkdirat"]}]
    namespace.apply(seccomp_profile("logging", syscalls=rules))
    namespace.wait_ready("logging")
    enricher = enricher_container(operator)
    podman("pause", enricher)
    try:
        context = under(namespace, "logging")
        namespace.apply(
            pod("short", "sh", "-c", "mkdir /tmp/a", restartPolicy="Never", securityContext=context)
        )
        wait_over(namespace, "short")
    finally:
        subprocess.run(("podman", "unpause", enricher), check=False, capture_output=True)
    operator.eventually(
        "the record has its pod",
        lambda: any(
            '"pod"="short"' in line and '"syscallName"="mkdir"' in line
            for line in operator.kubectl(*LOGS).splitlines()
        ),
    )
