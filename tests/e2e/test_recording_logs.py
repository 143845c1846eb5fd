"""Recordings from the audit log, from the pod to the profile under which the pod runs again."""

from typing import Any

import pytest

from tests.e2e.breaking import OPERATOR, containers_of, kill_container
from tests.e2e.cluster import Cluster, Namespace
from tests.e2e.recorded import (
    LABELS,
    LOOP,
    allowed,
    annotation,
    begin,
    container,
    delete_pods,
    made_by_program,
    profiles,
    reasons,
    recorded_pod,
    recording,
    under,
    wait_installed,
    wait_over,
    wait_running,
)
from tests.e2e.test_recording_servers import server_pod, servers_image, serves
from tools.devcluster import OPERATOR_ROOT, free_port

LOGS = recording(recorder="logs")


def deployment(replicas: int, *containers: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"of": "web", **labels}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": list(containers)},
    }
    selector = {"matchLabels": {"of": "web"}}
    spec = {"replicas": replicas, "selector": selector, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def test_pod_gets_a_profile_that_it_runs_under(namespace: Namespace) -> None:
    begin(namespace, LOGS)
    own = {"seccompProfile": {"type": "RuntimeDefault"}}
    namespace.apply(recorded_pod("once", "sh", "-c", "mkdir /tmp/x && echo made", securityContext=own))
    wait_over(namespace, "once")
    wait_installed(namespace, "rec-c")
    profile = profiles(namespace)["rec-c"]
    assert {"mkdir", "execve"} <= allowed(profile)
    assert "mkdir" in made_by_program(profile)
    assert not {"ptrace", "reboot", "symlink"} & allowed(profile)
    assert profile["spec"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert profile["spec"]["architectures"] == ["SCMP_ARCH_X86_64"]
    assert annotation(profile, "recording-lost") == "0"
    assert annotation(profile, "recorded-under") is None
    assert annotation(profile, "runtime-base")
    wanted = {"SeccompProfileRecording", "SecurityContextAlreadySet"}
    namespace.eventually("events of the pod", lambda: wanted <= reasons(namespace, "Pod", "once"))
    namespace.eventually(
        "event of the profile",
        lambda: "SeccompProfileCreated" in reasons(namespace, "SeccompProfile", "rec-c"),
    )
    namespace.eventually(
        "the status",
        lambda: (
            [
                (one["name"], one["pods"], one.get("lost", 0))
                for one in namespace.get("profilerecording", "rec").get("status", {}).get("containers", [])
            ]
            == [("c", 1, 0)]
        ),
    )
    script = "mkdir /tmp/x && echo made; ln -s a /tmp/b || echo refused"
    again = recorded_pod("again", "sh", "-c", script, securityContext=under(namespace, "rec-c"))
    del again["metadata"]["labels"]
    namespace.apply(again)
    wait_over(namespace, "again")
    assert namespace.kubectl("logs", "again").splitlines()[0] == "made"
    assert "refused" in namespace.kubectl("logs", "again")


def test_two_servers_run_again_under_their_recorded_profiles(namespace: Namespace) -> None:
    servers_image()
    begin(namespace, LOGS)
    ports = {"nginx": free_port(), "redis": free_port()}
    namespace.apply(server_pod("servers", ports))
    wait_running(namespace, "servers")
    for kind, port in ports.items():
        serves(kind, port)
    delete_pods(namespace, "servers")
    wait_installed(namespace, "rec-nginx", "rec-redis")
    found = profiles(namespace)
    assert {"setuid", "close", "accept4"} <= made_by_program(found["rec-nginx"])
    assert "epoll_wait" in made_by_program(found["rec-redis"])
    for name in ("rec-nginx", "rec-redis"):
        assert not {"ptrace", "bpf", "reboot", "mount"} & allowed(found[name])
        assert annotation(found[name], "recording-lost") == "0"
    again = server_pod("again", ports)
    del again["metadata"]["labels"]
    for one in again["spec"]["containers"]:
        one["securityContext"] = under(namespace, f"rec-{one['name']}")
    namespace.apply(again)
    wait_running(namespace, "again")
    for kind, port in ports.items():
        serves(kind, port)


def test_replicas_are_numbered_and_run_again(namespace: Namespace) -> None:
    begin(namespace, LOGS)
    both = (container("a", f"mkdir /tmp/x; {LOOP}"), container("b", f"ln -s a /tmp/y; {LOOP}"))
    namespace.apply(deployment(2, *both, labels=LABELS))
    namespace.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    namespace.kubectl("delete", "deployment/web", "--timeout=30s")
    namespace.kubectl("wait", "--for=delete", "pods", "--all", "--timeout=60s")
    names = [f"rec-{name}-{number}" for name in ("a", "b") for number in (0, 1)]
    wait_installed(namespace, *names)
    found = profiles(namespace)
    assert sorted(found) == names
    did = {"a": "mkdir", "b": "symlink"}
    for name in names:
        assert made_by_program(found[name]) & set(did.values()) == {did[name.split("-")[1]]}
    for one in both:
        one["securityContext"] = under(namespace, f"rec-{one['name']}-1")
    namespace.apply(deployment(2, *both, labels={}))
    namespace.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    namespace.kubectl("delete", "deployment/web", "--timeout=30s")


def running(cluster: Cluster, container: str) -> list[str]:
    """Ids of this container of the operator's pod on the node."""
    selector = ("--selector=name=spod", "--output=jsonpath={.items[0].metadata.uid}")
    uid = cluster.run("--namespace", OPERATOR, "get", "pods", *selector).stdout
    return containers_of(cluster, pod_uid=uid, container_name=container)


@pytest.mark.parametrize("process", [OPERATOR, "log-enricher"])
def test_killed_process_loses_nothing_without_saying_so(namespace: Namespace, process: str) -> None:
    """Calls before, while and after the daemon is away are in the profile; the enricher's absence is told."""
    cluster = namespace.cluster
    if not cluster.own:
        pytest.skip("kills processes of the cluster")
    begin(namespace, LOGS)
    script = f"mkdir /tmp/x; until test -e /tmp/go; do sleep 0.1; done; ln -s a /tmp/b; {LOOP}"
    namespace.apply(recorded_pod("running", "sh", "-c", script))
    wait_running(namespace, "running")
    kept = cluster.node_root / f"{OPERATOR_ROOT}/.recordings/logs-{OPERATOR}.json"
    namespace.eventually("its calls are kept", lambda: kept.exists() and '"seen"' in kept.read_text())
    (killed,) = running(cluster, process)
    kill_container(killed)
    namespace.kubectl("exec", "running", "--", "touch", "/tmp/go")
    namespace.eventually("it is there again", lambda: running(cluster, process) not in ([], [killed]))
    connected = ("--namespace", OPERATOR, "logs", "ds/spod", "--container=log-enricher")
    namespace.eventually("it talks", lambda: "Connected to the daemon" in cluster.run(*connected).stdout)
    delete_pods(namespace, "running")
    wait_installed(namespace, "rec-c")
    profile = profiles(namespace)["rec-c"]
    lost = int(annotation(profile, "recording-lost") or 0)
    if process == OPERATOR:
        assert {"mkdir", "symlink"} <= made_by_program(profile)
        assert lost == 0
    else:
        assert "mkdir" in made_by_program(profile)
        assert lost > 0
        namespace.eventually(
            "the recording says so",
            lambda: (
                [
                    one.get("lost")
                    for one in namespace.get("profilerecording", "rec")["status"].get("containers", [])
                ]
                == [lost]
            ),
        )


def test_recording_without_an_enricher_is_told(namespace: Namespace) -> None:
    """Last of this file: it stops the enricher."""
    begin(namespace, LOGS)
    off = '--patch={"spec":{"enableLogEnricher":false}}'
    operator = Namespace(namespace.cluster, OPERATOR)
    operator.kubectl("patch", "spod", "spod", "--type=merge", off)
    names = ("get", "daemonset", "spod", "--output=jsonpath={.spec.template.spec.containers[*].name}")
    operator.eventually("it is off", lambda: "log-enricher" not in operator.kubectl(*names))
    operator.kubectl("rollout", "status", "daemonset/spod", "--timeout=60s")
    namespace.apply(recorded_pod("running", "sh", "-c", LOOP))
    wait_running(namespace, "running")
    namespace.eventually(
        "users are told", lambda: "LogEnricherNotRunning" in reasons(namespace, "Pod", "running")
    )
    delete_pods(namespace, "running")
