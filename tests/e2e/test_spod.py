"""The object spod on a running operator; the commands of the usage document are in test_spod_document."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.breaking import OPERATOR
from tests.e2e.cluster import Cluster, Namespace, pod, seccomp_profile
from tests.e2e.test_operator_rights import without

WAIT = ("wait", "--for=condition=ready", "spod/spod", "--timeout=60s")
LOG_LINES = 400

Patch = Callable[..., None]


@pytest.fixture(scope="module")
def operator(cluster: Cluster) -> Namespace:
    if not cluster.own:
        pytest.skip("changes settings of a cluster that others use")
    made = Namespace(cluster, OPERATOR)
    # Other tests leave the recorder enabled.
    made.kubectl("patch", "spod", "spod", "--type=merge", '--patch={"spec":{"enableBpfRecorder":false}}')
    made.kubectl(*WAIT)
    return made


@pytest.fixture
def patch(operator: Namespace) -> Iterator[Patch]:
    """Patch the spod as the document does, and wait; at the end it is as before."""
    before: dict[str, Any] = operator.get("spod", "spod")["spec"]
    changed: set[str] = set()

    def change(*, wait: bool = True, **spec: Any) -> None:
        changed.update(spec)
        body = json.dumps({"spec": spec})
        told = operator.kubectl("patch", "spod", "spod", "--type=merge", "-p", body)
        kind = "securityprofilesoperatordaemon.security-profiles-operator.x-k8s.io"
        assert told.startswith(f"{kind}/spod patched")
        if wait:
            operator.kubectl(*WAIT)

    yield change
    change(**{name: before.get(name) for name in changed})


def log_of(operator: Namespace, container: str = OPERATOR) -> list[str]:
    return operator.kubectl("logs", "ds/spod", "-c", container, f"--tail={LOG_LINES}").splitlines()


def containers_of(operator: Namespace) -> dict[str, dict[str, Any]]:
    spec = operator.get("daemonset", "spod")["spec"]["template"]["spec"]
    return {one["name"]: one for one in (*spec["initContainers"], *spec["containers"])}


def test_default_object_is_there_and_running(operator: Namespace) -> None:
    row = operator.kubectl("get", "spod", "spod", "--no-headers")
    assert row.split() == ["spod", "RUNNING"]
    (owner,) = operator.get("daemonset", "spod")["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("SecurityProfilesOperatorDaemon", "spod")
    assert list(containers_of(operator)) == ["non-root-enabler", OPERATOR]


def test_log_enricher(operator: Namespace, namespace: Namespace, patch: Patch) -> None:
    patch(enableLogEnricher=True)
    log = "\n".join(log_of(operator, "log-enricher"))
    assert '"starting component: log-enricher"' in log
    assert "Starting log-enricher on node: " in log
    rules = [{"action": "SCMP_ACT_LOG", "names": ["mkdir", "mkdirat"]}]
    namespace.apply(seccomp_profile("logging", syscalls=rules))
    namespace.wait_ready("logging")
    reference = {"type": "Localhost", "localhostProfile": f"operator/{namespace.name}/logging.json"}
    context = {"seccompProfile": reference}
    namespace.apply(pod("maker", "sh", "-c", "mkdir /tmp/a; sleep 60", securityContext=context))
    operator.eventually(
        "the record has its pod",
        lambda: any(
            '"msg"="audit"' in line and '"pod"="maker"' in line and '"syscallName"="mkdir"' in line
            for line in log_of(operator, "log-enricher")
        ),
    )


def test_resources_and_scheduling_appear_in_the_daemon_set(operator: Namespace, patch: Patch) -> None:
    resources = {"limits": {"memory": "256Mi"}, "requests": {"cpu": "50m", "memory": "64Mi"}}
    patch(
        daemonResourceRequirements=resources,
        tolerations=[{"operator": "Exists"}],
        priorityClassName="system-node-critical",
        wait=False,
    )
    operator.eventually(
        "the resources are those of the spod",
        lambda: containers_of(operator)[OPERATOR]["resources"] == resources,
    )
    spec = operator.get("daemonset", "spod")["spec"]["template"]["spec"]
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert spec["priorityClassName"] == "system-node-critical"


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        pytest.param({"hostProcVolumePath": "/a/../b"}, "spec.hostProcVolumePath", id="ours"),
        pytest.param(
            {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": "no list"}}},
            "preferredDuringSchedulingIgnoredDuringExecution",
            id="of-the-api-server",
        ),
    ],
)
def test_invalid_settings_are_said_and_leave_the_daemons(
    operator: Namespace, patch: Patch, spec: dict[str, Any], problem: str
) -> None:
    good = operator.get("daemonset", "spod")
    patch(enableLogEnricher=True, **spec, wait=False)
    operator.eventually("state ERROR", lambda: operator.get("spod", "spod")["status"]["state"] == "ERROR")
    (condition,) = operator.get("spod", "spod")["status"]["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "Invalid")
    assert problem in condition["message"]
    after = operator.get("daemonset", "spod")
    assert after["metadata"]["generation"] == good["metadata"]["generation"]
    assert after["status"]["numberReady"] == good["status"]["numberReady"]
    assert problem in operator.kubectl("events", "--for=spod/spod")


def test_missing_right_is_told_by_an_event(operator: Namespace, patch: Patch) -> None:
    with without(operator.cluster, "role", OPERATOR, "daemonsets", "update"):
        patch(verbosity=1, wait=False)
        operator.eventually(
            "an event says so", lambda: "CannotUpdateSPOD" in operator.kubectl("events", "--for=spod/spod")
        )
    operator.kubectl(*WAIT)
    assert '"Set logging verbosity to 1"' in log_of(operator)[0]


def test_edited_daemon_set_is_put_back(operator: Namespace) -> None:
    before = operator.get("daemonset", "spod")["spec"]
    extra = {"name": "extra", "image": "localhost/busybox:dev", "command": ["sleep", "1000"]}
    body = json.dumps({"spec": {"template": {"spec": {"containers": [extra], "hostIPC": True}}}})
    operator.kubectl("patch", "daemonset", "spod", "--type=strategic", "-p", body)
    operator.eventually(
        "the DaemonSet is as before", lambda: operator.get("daemonset", "spod")["spec"] == before
    )
    operator.kubectl("rollout", "status", "daemonset/spod", "--timeout=60s")
    operator.kubectl(*WAIT)


def test_profile_stays_installed_while_settings_roll(namespace: Namespace, patch: Patch) -> None:
    namespace.apply(seccomp_profile("web"))
    namespace.wait_ready("web")
    before = namespace.file("web").stat().st_ino
    patch(verbosity=1)
    assert namespace.status("web")["status"] == "Installed"
    assert namespace.file("web").stat().st_ino == before
    namespace.apply(seccomp_profile("new"))
    namespace.wait_ready("new")


def test_other_object_is_ignored(operator: Namespace) -> None:
    other = {
        "apiVersion": "security-profiles-operator.x-k8s.io/v1alpha1",
        "kind": "SecurityProfilesOperatorDaemon",
        "metadata": {"name": "other"},
        "spec": {"enableBpfRecorder": True},
    }
    operator.apply(other)
    try:
        operator.eventually("it is told", lambda: operator.get("spod", "other").get("status"))
        (condition,) = operator.get("spod", "other")["status"]["conditions"]
        assert condition["reason"] == "Ignored"
        assert "bpf-recorder" not in containers_of(operator)
    finally:
        operator.kubectl("delete", "spod", "other", "--timeout=30s")
