"""Recordings with eBPF, from the pod to the profile under which the pod runs again."""

import json
import os
import subprocess
import sys
from typing import Any

from tests.e2e.cluster import Namespace, seccomp_profile
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
    state,
    under,
    wait_installed,
    wait_over,
    wait_running,
)


def deployment(
    replicas: int, *containers: dict[str, Any], init: dict[str, Any] | None = None
) -> dict[str, Any]:
    labels = {**LABELS, "of": "web"}
    spec = {
        "terminationGracePeriodSeconds": 1,
        "containers": list(containers),
        "initContainers": [init] if init else [],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"of": "web"}},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def roll_out(namespace: Namespace) -> None:
    namespace.kubectl("rollout", "status", "deployment/web", "--timeout=60s")


def remove(namespace: Namespace) -> None:
    namespace.kubectl("delete", "deployment/web", "--timeout=30s")
    namespace.kubectl("wait", "--for=delete", "pods", "--all", "--timeout=60s")


def spoc(namespace: Namespace, command: str, *arguments: str) -> str:
    """Output of ``spoc recording``."""
    where = () if "--all-namespaces" in arguments else (f"--namespace={namespace.name}",)
    done = subprocess.run(
        (sys.executable, "-m", "spo.cli", "recording", command, *where, *arguments),
        env={**os.environ, "KUBECONFIG": namespace.cluster.kubeconfig},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def seen(namespace: Namespace) -> list[tuple[str, int]]:
    """Containers and in how many pods they were seen, as the recording says."""
    status = namespace.get("profilerecording", "rec").get("status", {})
    return [(one["name"], one["pods"]) for one in status.get("containers", [])]


def test_pod_gets_a_profile_that_it_runs_under(namespace: Namespace) -> None:
    begin(namespace)
    namespace.apply(recorded_pod("once", "sh", "-c", "mkdir /tmp/x && echo made"))
    wait_over(namespace, "once")
    wait_installed(namespace, "rec-c")
    profile = profiles(namespace)["rec-c"]
    assert "mkdir" in made_by_program(profile)
    assert not {"ptrace", "reboot", "symlink"} & allowed(profile)
    assert profile["spec"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert profile["metadata"]["labels"]["spo.x-k8s.io/recording-id"] == "rec"
    assert annotation(profile, "recording-lost") == "0"
    assert annotation(profile, "recording-late") is None
    assert annotation(profile, "runtime-base")
    assert "SeccompProfileRecording" in reasons(namespace, "Pod", "once")
    namespace.eventually(
        "events", lambda: {"SeccompProfileCreated"} <= reasons(namespace, "SeccompProfile", "rec-c")
    )
    script = "mkdir /tmp/x && echo made; ln -s a /tmp/b || echo refused"
    again = recorded_pod("again", "sh", "-c", script, securityContext=under(namespace, "rec-c"))
    del again["metadata"]["labels"]
    namespace.apply(again)
    wait_over(namespace, "again")
    assert namespace.kubectl("logs", "again").splitlines()[0] == "made"
    assert "refused" in namespace.kubectl("logs", "again")


def test_replicas_are_numbered_and_every_container_has_its_own(namespace: Namespace) -> None:
    begin(namespace)
    web = deployment(
        2,
        container("a", f"mkdir /tmp/x; {LOOP}"),
        container("b", f"ln -s a /tmp/y; {LOOP}"),
        init=container("init", "chmod 700 /tmp"),
    )
    namespace.apply(web)
    roll_out(namespace)
    remove(namespace)
    names = [f"rec-{name}-{number}" for name in ("a", "b", "init") for number in (0, 1)]
    wait_installed(namespace, *names)
    found = profiles(namespace)
    assert sorted(found) == names
    did = {"a": "mkdir", "b": "symlink", "init": "chmod"}
    for name in names:
        mine = did[name.split("-")[1]]
        assert made_by_program(found[name]) & set(did.values()) == {mine}
    # Another owner: its replicas take the numbers over.
    namespace.apply(deployment(1, container("a", f"rmdir /tmp/none; {LOOP}")))
    roll_out(namespace)
    remove(namespace)
    namespace.eventually(
        "the number is used again", lambda: "rmdir" in made_by_program(profiles(namespace)["rec-a-0"])
    )
    assert "rec-a-2" not in profiles(namespace)


def test_listed_containers_only(namespace: Namespace) -> None:
    begin(namespace, recording(containers=["b"]))
    two = [container("a", "true"), container("b", "true")]
    namespace.apply(recorded_pod("two", containers=two))
    wait_over(namespace, "two")
    wait_installed(namespace, "rec-b")
    assert list(profiles(namespace)) == ["rec-b"]


def test_profiles_of_all_pods_are_merged(namespace: Namespace) -> None:
    begin(namespace, recording(mergeStrategy="containers"))
    namespace.apply(recorded_pod("first", "sh", "-c", "mkdir /tmp/x"))
    namespace.apply(recorded_pod("second", "sh", "-c", "ln -s a /tmp/b"))
    for name in ("first", "second"):
        wait_over(namespace, name)
    both = {"mkdir", "symlink"}
    namespace.eventually(
        "the merged profile", lambda: both <= allowed(profiles(namespace).get("rec-c", seccomp_profile("")))
    )
    for number in (0, 1):
        name = f"rec-c-{number}"
        namespace.eventually("a part", lambda name=name: state(namespace, name) == "Partial")
        assert not namespace.file(f"rec-c-{number}").exists()
    wait_installed(namespace, "rec-c")
    coverage = json.loads(annotation(profiles(namespace)["rec-c"], "syscall-coverage") or "")
    assert coverage["total"] == 2
    assert coverage["syscalls"]["mkdir"] == 1
    assert coverage["syscalls"]["execve"] == 2
    namespace.eventually("the status counts both", lambda: seen(namespace) == [("c", 2)])
    namespace.kubectl("delete", "profilerecording/rec", "--timeout=30s")
    namespace.eventually("partial profiles are gone", lambda: list(profiles(namespace)) == ["rec-c"])
    assert both <= allowed(profiles(namespace)["rec-c"])


def test_disabled_after_recording(namespace: Namespace) -> None:
    begin(namespace, recording(disableProfileAfterRecording=True))
    namespace.apply(recorded_pod("once", "true"))
    wait_over(namespace, "once")
    namespace.eventually("it is disabled", lambda: state(namespace, "rec-c") == "Disabled")
    assert not namespace.file("rec-c").exists()
    enable = '--patch={"spec":{"disabled":false}}'
    namespace.kubectl("patch", "seccompprofile/rec-c", "--type=merge", enable)
    namespace.wait_ready("rec-c")
    assert namespace.file("rec-c").exists()


def test_snapshot_of_a_running_pod_is_partial_until_the_pod_ends(namespace: Namespace) -> None:
    begin(namespace)
    namespace.apply(recorded_pod("running", "sh", "-c", f"mkdir /tmp/x; {LOOP}; ln -s a /tmp/b"))
    wait_running(namespace, "running")
    namespace.eventually(
        "the pod is listed",
        lambda: namespace.get("profilerecording", "rec")["status"].get("activeWorkloads") == ["running"],
    )
    finalizers = namespace.get("profilerecording", "rec")["metadata"]["finalizers"]
    assert finalizers[0] == "active-seccomp-profile-recording-lock"
    told = spoc(namespace, "snapshot", "rec")
    assert told.startswith(("rec-c: Partial, ", "rec-c: Pending, "))
    namespace.eventually("the snapshot", lambda: state(namespace, "rec-c") == "Partial")
    profile = profiles(namespace)["rec-c"]
    asked = namespace.get("profilerecording", "rec")["metadata"]["annotations"]["spo.x-k8s.io/snapshot"]
    assert annotation(profile, "snapshot-of") == asked
    assert f"snapshot of {asked}" in told
    assert "mkdir" in allowed(profile)
    assert not namespace.file("rec-c").exists()
    delete_pods(namespace, "running")
    wait_installed(namespace, "rec-c")
    profile = profiles(namespace)["rec-c"]
    assert annotation(profile, "snapshot-of") is None
    assert "mkdir" in allowed(profile)
    namespace.eventually(
        "nothing holds the recording",
        lambda: not namespace.get("profilerecording", "rec")["metadata"].get("finalizers"),
    )


def test_spoc_tells_what_was_recorded(namespace: Namespace) -> None:
    begin(namespace)
    namespace.apply(recorded_pod("once", "sh", "-c", "mkdir /tmp/x"))
    wait_over(namespace, "once")
    wait_installed(namespace, "rec-c")
    namespace.eventually("the status", lambda: seen(namespace) == [("c", 1)])
    header, row = spoc(namespace, "list").splitlines()
    assert header.split() == ["NAMESPACE", "NAME", "RECORDER", "PODS", "CONTAINERS", "SYSCALLS", "LOST"]
    assert row.split()[:5] == [namespace.name, "rec", "bpf", "0", "1"]
    assert namespace.name in spoc(namespace, "list", "--all-namespaces")
    text = spoc(namespace, "show", "rec")
    assert "rec: SeccompProfile by bpf, merge none" in text
    assert "rec-c: Installed, " in text
    assert "syscalls in 1 pods" in text


def test_running_under_a_profile_is_said(namespace: Namespace) -> None:
    namespace.apply(seccomp_profile("open"))
    namespace.wait_ready("open")
    begin(namespace)
    namespace.apply(recorded_pod("once", "true", securityContext=under(namespace, "open")))
    wait_over(namespace, "once")
    wait_installed(namespace, "rec-c")
    assert (
        annotation(profiles(namespace)["rec-c"], "recorded-under") == f"operator/{namespace.name}/open.json"
    )


def test_profile_in_use_is_only_added_to(namespace: Namespace) -> None:
    begin(namespace)
    namespace.apply(recorded_pod("first", "sh", "-c", "mkdir /tmp/x; sleep 0.1"))
    wait_over(namespace, "first")
    wait_installed(namespace, "rec-c")
    user = recorded_pod("user", "sh", "-c", "sleep 0.1", securityContext=under(namespace, "rec-c"))
    user["spec"]["containers"][0]["command"] = ["sleep", "600"]
    del user["metadata"]["labels"]
    namespace.apply(user)
    namespace.eventually(
        "the user is known",
        lambda: profiles(namespace)["rec-c"]["status"].get("activeWorkloads") == [f"{namespace.name}/user"],
    )
    namespace.apply(recorded_pod("second", "sh", "-c", "ln -s a /tmp/b"))
    wait_over(namespace, "second")
    namespace.eventually("it grows", lambda: "symlink" in allowed(profiles(namespace)["rec-c"]))
    assert "mkdir" in allowed(profiles(namespace)["rec-c"])
