"""Recordings by the OCI hook, from the pod to the profile under which the pod runs again."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.breaking import daemon_container, kill_container
from tests.e2e.cluster import Cluster, Namespace
from tests.e2e.hooked import DIRECTORY, hook_on_node
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
    servers_image,
    under,
    wait_installed,
    wait_over,
    wait_running,
)
from tests.e2e.test_recording import deployment, remove, roll_out, seen
from tests.e2e.test_recording_servers import is_filtered, server_pod, serves
from tools.devcluster import free_port

HOOK = recording(recorder="hook")
TRACE = "io.containers.trace-syscall"


@pytest.fixture
def files(cluster: Cluster) -> Iterator[Path]:
    """The node has the hook; where it leaves its files."""
    with hook_on_node(cluster) as directory:
        yield directory


def is_recorded(namespace: Namespace, pod: str) -> bool:
    return "SeccompProfileRecording" in reasons(namespace, "Pod", pod)


def test_pod_gets_a_profile_that_it_runs_under(namespace: Namespace, files: Path) -> None:
    begin(namespace, HOOK)
    namespace.apply(recorded_pod("once", "sh", "-c", "mkdir /tmp/x && echo made"))
    wait_over(namespace, "once")
    wait_installed(namespace, "rec-c")
    profile = profiles(namespace)["rec-c"]
    assert "mkdir" in made_by_program(profile)
    assert not {"ptrace", "reboot", "symlink"} & allowed(profile)
    assert profile["spec"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert profile["metadata"]["labels"]["spo.x-k8s.io/recording-id"] == "rec"
    assert annotation(profile, "recording-lost") == "0"
    assert annotation(profile, "runtime-base")
    namespace.eventually("it is told", lambda: is_recorded(namespace, "once"))
    namespace.eventually(
        "event of the profile",
        lambda: "SeccompProfileCreated" in reasons(namespace, "SeccompProfile", "rec-c"),
    )
    namespace.eventually("the file is gone", lambda: not list(files.iterdir()))
    namespace.eventually("the status", lambda: seen(namespace) == [("c", 1)])
    script = "mkdir /tmp/x && echo made; ln -s a /tmp/b || echo refused"
    again = recorded_pod("again", "sh", "-c", script, securityContext=under(namespace, "rec-c"))
    del again["metadata"]["labels"]
    namespace.apply(again)
    wait_over(namespace, "again")
    assert namespace.kubectl("logs", "again").splitlines()[0] == "made"
    assert "refused" in namespace.kubectl("logs", "again")


def test_two_servers_run_again_under_their_recorded_profiles(namespace: Namespace, files: Path) -> None:
    servers_image()
    begin(namespace, HOOK)
    ports = {"nginx": free_port(), "redis": free_port()}
    namespace.apply(server_pod("servers", ports))
    wait_running(namespace, "servers")
    for kind, port in ports.items():
        serves(kind, port)
    delete_pods(namespace, "servers")
    wait_installed(namespace, "rec-nginx", "rec-redis")
    found = profiles(namespace)
    assert {"setuid", "accept4", "close", "sendfile"} <= made_by_program(found["rec-nginx"])
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
        assert is_filtered(namespace, kind)


def test_replicas_are_numbered(namespace: Namespace, files: Path) -> None:
    """Their annotations name one file for both."""
    begin(namespace, HOOK)
    namespace.apply(deployment(2, container("c", f"mkdir /tmp/x; {LOOP}")))
    roll_out(namespace)
    remove(namespace)
    wait_installed(namespace, "rec-c-0", "rec-c-1")
    for name in ("rec-c-0", "rec-c-1"):
        assert "mkdir" in made_by_program(profiles(namespace)[name])
    assert len(profiles(namespace)) == 2


def test_merged_and_not_installed(namespace: Namespace, files: Path) -> None:
    merged = recording(recorder="hook", mergeStrategy="containers", disableProfileAfterRecording=True)
    begin(namespace, merged)
    for name, script in (("one", "mkdir /tmp/x"), ("two", "ln -s a /tmp/b")):
        namespace.apply(recorded_pod(name, "sh", "-c", script))
        wait_over(namespace, name)
    namespace.eventually(
        "the union",
        lambda: {"mkdir", "symlink"} <= allowed(profiles(namespace).get("rec-c", {"spec": {}})),
    )
    assert profiles(namespace)["rec-c"]["spec"]["disabled"] is True
    assert not namespace.file("rec-c").exists()


def test_killed_daemon_loses_nothing(namespace: Namespace, files: Path) -> None:
    begin(namespace, HOOK)
    namespace.apply(recorded_pod("running", "sh", "-c", f"mkdir /tmp/x; {LOOP}"))
    wait_running(namespace, "running")
    namespace.eventually("it is recorded", lambda: is_recorded(namespace, "running"))
    kill_container(daemon_container(namespace.cluster))
    namespace.apply(recorded_pod("meanwhile", containers=[container("m", "chmod 700 /tmp")]))
    wait_over(namespace, "meanwhile")
    delete_pods(namespace, "running")
    wait_installed(namespace, "rec-c", "rec-m", within_s=60)
    found = profiles(namespace)
    assert "mkdir" in made_by_program(found["rec-c"])
    assert "chmod" in made_by_program(found["rec-m"])
    assert {annotation(found[name], "recording-lost") for name in found} == {"0"}


def test_hostile_annotations_and_files(namespace: Namespace, files: Path) -> None:
    """None is acted on; a file that is in the way is told, and what is recorded is not lost for it."""
    begin(namespace, HOOK, recording("other", recorder="hook", podSelector={"matchLabels": {"app": "o"}}))
    foreign = files / "other-c-1700000000.json"
    foreign.write_text('{"defaultAction": "SCMP_ACT_ERRNO"}')
    os.chown(foreign, 1000, 1000)
    (files / "rec-l-1700000000.json").symlink_to("/etc/shadow")
    values = {
        "by-hand": f"of:/{DIRECTORY}/other-c-1700000000.json",
        "long": f"of:/{DIRECTORY}/{'x' * 200}.json",
    }
    for name, value in values.items():
        made = recorded_pod(name, "true")
        made["metadata"] |= {"annotations": {f"{TRACE}/c": value}, "labels": {"none": "of-ours"}}
        namespace.apply(made)
    linked = recorded_pod("linked", containers=[container("l", "mkdir /tmp/x")])
    linked["metadata"]["annotations"] = {f"{TRACE}/l": f"of:/{DIRECTORY}/rec-l-1700000000.json"}
    namespace.apply(linked)
    for name in (*values, "linked"):
        wait_over(namespace, name)
    annotations = namespace.get("pod", "linked")["metadata"]["annotations"]
    assert annotations[f"{TRACE}/l"].endswith("rec-l-1700000000.json"), "the link is not in the way"
    wait_installed(namespace, "rec-l")
    assert "mkdir" in made_by_program(profiles(namespace)["rec-l"])
    for name in values:
        namespace.eventually(
            f"{name} is refused",
            lambda name=name: "SeccompAnnotationParsing" in reasons(namespace, "Pod", name),
        )
    assert list(profiles(namespace)) == ["rec-l"]
    assert foreign.exists()


def test_short_pods_are_not_mixed_up(namespace: Namespace, files: Path) -> None:
    begin(namespace, HOOK)
    scripts = {
        "mkdir": "mkdir /tmp/x",
        "symlink": "ln -s a /tmp/b",
        "chmod": "chmod 700 /tmp",
        "rmdir": "rmdir /a",
    }
    namespace.apply(
        *(
            recorded_pod(f"pod-{name}", containers=[container(name, script)])
            for name, script in scripts.items()
        )
    )
    wait_installed(namespace, *(f"rec-{name}" for name in scripts))
    for name in scripts:
        assert made_by_program(profiles(namespace)[f"rec-{name}"]) & scripts.keys() == {name}
