"""Recordings when something goes wrong, or somebody means harm."""

import os

import pytest

from tests.e2e.breaking import OPERATOR, containers_of, daemon_container, kill_container
from tests.e2e.cluster import Cluster, Namespace, seccomp_profile
from tests.e2e.recorded import (
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
    wait_installed,
    wait_over,
    wait_running,
)

TRACE = "io.containers.trace-bpf"
SHORT_PODS = int(os.environ.get("E2E_SHORT_PODS", "24"))
"""``make test`` makes a few; the promise is about 300."""
AT_ONCE = 12


def recorder_container(cluster: Cluster) -> str:
    selector = ("--selector=name=spod", "--output=jsonpath={.items[0].metadata.uid}")
    uid = cluster.run("--namespace", OPERATOR, "get", "pods", *selector).stdout
    (found,) = containers_of(cluster, pod_uid=uid, container_name="bpf-recorder")
    return found


def manager_container(cluster: Cluster) -> str:
    selector = ("--selector=name=security-profiles-operator", "--output=jsonpath={.items[0].metadata.uid}")
    uid = cluster.run("--namespace", OPERATOR, "get", "pods", *selector).stdout
    (found,) = containers_of(cluster, pod_uid=uid, container_name=OPERATOR)
    return found


KILLED = {"daemon": daemon_container, "bpf-recorder": recorder_container, "manager": manager_container}


@pytest.mark.parametrize("process", KILLED)
def test_killed_process_loses_nothing(namespace: Namespace, process: str) -> None:
    """Calls before, while and after the process is away are in the profile, and no loss is reported."""
    cluster = namespace.cluster
    if not cluster.own:
        pytest.skip("kills processes of the cluster")
    begin(namespace)
    script = f"mkdir /tmp/x; until test -e /tmp/go; do sleep 0.1; done; ln -s a /tmp/b; {LOOP}"
    namespace.apply(recorded_pod("running", "sh", "-c", script))
    wait_running(namespace, "running")
    namespace.eventually(
        "it is recorded", lambda: "SeccompProfileRecording" in reasons(namespace, "Pod", "running")
    )
    kill_container(KILLED[process](cluster))
    namespace.kubectl("exec", "running", "--", "sh", "-c", "rmdir /tmp/none; touch /tmp/go")
    namespace.apply(recorded_pod("meanwhile", containers=[container("m", "chmod 700 /tmp")]))
    wait_over(namespace, "meanwhile")
    delete_pods(namespace, "running")
    wait_installed(namespace, "rec-c", "rec-m", within_s=90)  # a killed leader holds its lease for a while
    found = profiles(namespace)
    assert {"mkdir", "symlink"} <= made_by_program(found["rec-c"])
    assert "chmod" in made_by_program(found["rec-m"])
    for name in ("rec-c", "rec-m"):
        assert annotation(found[name], "recording-lost") == "0"
        assert annotation(found[name], "recording-late") is None


def test_pod_that_ends_while_the_daemon_is_away(namespace: Namespace) -> None:
    cluster = namespace.cluster
    if not cluster.own:
        pytest.skip("kills processes of the cluster")
    begin(namespace)
    namespace.apply(recorded_pod("running", "sh", "-c", f"mkdir /tmp/x; {LOOP}"))
    wait_running(namespace, "running")
    namespace.eventually(
        "it is recorded", lambda: "SeccompProfileRecording" in reasons(namespace, "Pod", "running")
    )
    kill_container(daemon_container(cluster))
    delete_pods(namespace, "running")
    wait_installed(namespace, "rec-c")
    assert "mkdir" in made_by_program(profiles(namespace)["rec-c"])
    assert annotation(profiles(namespace)["rec-c"], "recording-lost") == "0"


def test_recording_deleted_while_its_pod_runs(namespace: Namespace) -> None:
    begin(namespace)
    namespace.apply(recorded_pod("running", "sh", "-c", f"mkdir /tmp/x; {LOOP}"))
    wait_running(namespace, "running")
    namespace.eventually(
        "it is held", lambda: namespace.get("profilerecording", "rec")["metadata"].get("finalizers")
    )
    namespace.kubectl("delete", "profilerecording/rec", "--wait=false")
    delete_pods(namespace, "running")
    wait_installed(namespace, "rec-c")
    assert "mkdir" in made_by_program(profiles(namespace)["rec-c"])
    namespace.kubectl("wait", "--for=delete", "profilerecording/rec", "--timeout=30s")


def test_two_recordings_of_one_pod(namespace: Namespace) -> None:
    """Both select it with the same recorder: the first by name records it, and one profile is made."""
    begin(namespace, recording("b-rec"), recording("a-rec"))
    namespace.apply(recorded_pod("once", "sh", "-c", "mkdir /tmp/x"))
    wait_over(namespace, "once")
    wait_installed(namespace, "a-rec-c")
    assert list(profiles(namespace)) == ["a-rec-c"]


def test_pod_deleted_before_its_containers_started(namespace: Namespace) -> None:
    begin(namespace)
    made = recorded_pod("never", "true")
    made["spec"]["containers"][0] |= {"image": "localhost/no-such-image:1", "imagePullPolicy": "Never"}
    namespace.apply(made)
    namespace.eventually(
        "the pod is being recorded",
        lambda: "SeccompProfileRecording" in reasons(namespace, "Pod", "never"),
    )
    delete_pods(namespace, "never")
    namespace.eventually(
        "nothing holds the recording",
        lambda: not namespace.get("profilerecording", "rec")["metadata"].get("finalizers"),
    )
    assert profiles(namespace) == {}


def test_profile_of_somebody_else_is_never_overwritten(namespace: Namespace) -> None:
    namespace.apply(seccomp_profile("rec-c", "SCMP_ACT_LOG"))
    namespace.wait_ready("rec-c")
    begin(namespace)
    namespace.apply(recorded_pod("once", "true"))
    wait_over(namespace, "once")
    namespace.eventually(
        "it is said", lambda: "CannotCreateSeccompProfile" in reasons(namespace, "SeccompProfile", "rec-c")
    )
    assert profiles(namespace)["rec-c"]["spec"]["defaultAction"] == "SCMP_ACT_LOG"
    assert "syscalls" not in profiles(namespace)["rec-c"]["spec"]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("rec-other-1700000000", id="another-container"),
        pytest.param("victim-1700000000", id="the-name-of-a-profile"),
        pytest.param("other-c-1700000000", id="a-recording-that-does-not-select-it"),
        pytest.param("elsewhere-c-1700000000", id="a-recording-of-another-namespace"),
        pytest.param("of:/etc/shadow", id="a-file"),
        pytest.param("../../rec-c-1700000000", id="a-path"),
        pytest.param("r" * 300, id="300-characters"),
        pytest.param("", id="empty"),
    ],
)
def test_annotation_made_by_hand_makes_no_profile(namespace: Namespace, value: str) -> None:
    other = recording("other")
    other["spec"]["podSelector"] = {"matchLabels": {"app": "something-else"}}
    namespace.apply(seccomp_profile("victim", "SCMP_ACT_LOG"))
    begin(namespace, other)
    made = recorded_pod("hostile", "true")
    made["metadata"]["annotations"] = {f"{TRACE}/c": value}
    namespace.apply(made)
    wait_over(namespace, "hostile")
    # The honest one that comes later is through before anything can come of the other.
    begin(namespace, recording("honest"))
    honest = recorded_pod("honest", containers=[container("h", "true")])
    namespace.apply(honest)
    wait_over(namespace, "honest")
    wait_installed(namespace, "honest-h")
    assert sorted(profiles(namespace)) == ["honest-h", "victim"]
    assert "syscalls" not in profiles(namespace)["victim"]["spec"]


def test_short_pods_are_neither_empty_nor_mixed_up(namespace: Namespace) -> None:
    """Each makes one call that only every third one makes."""
    begin(namespace)
    scripts = {"d": "mkdir /tmp/x", "l": "ln -s a /tmp/b", "p": "chmod 700 /tmp"}
    calls = {"d": "mkdir", "l": "symlink", "p": "chmod"}
    kinds = list(scripts)
    pods = [
        recorded_pod(
            f"short-{number}",
            containers=[
                container(f"{kinds[number % 3]}{number}", f"{scripts[kinds[number % 3]]}; echo hello")
            ],
        )
        for number in range(SHORT_PODS)
    ]

    for first in range(0, SHORT_PODS, AT_ONCE):
        batch = pods[first : first + AT_ONCE]
        namespace.apply(*batch)
        names = [one["metadata"]["name"] for one in batch]
        for name in names:
            wait_over(namespace, name)
        namespace.kubectl("delete", "pods", *names, "--wait=false")
    wanted = {f"rec-{one['spec']['containers'][0]['name']}" for one in pods}
    namespace.eventually("all have a profile", lambda: wanted <= profiles(namespace).keys())
    for name, profile in profiles(namespace).items():
        mine = calls[name.removeprefix("rec-")[0]]
        assert made_by_program(profile) & set(calls.values()) == {mine}, name
        assert "write" in allowed(profile)
        assert annotation(profile, "recording-lost") == "0"
        assert annotation(profile, "recording-late") is None
    namespace.kubectl("delete", "seccompprofiles", "--all", "--wait=false")
    namespace.eventually("the profiles are gone", lambda: not profiles(namespace))
