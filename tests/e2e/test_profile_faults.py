"""Profiles survive the loss of the daemon and of what was on the disk; real processes."""

import json

import pytest

from tests.e2e.breaking import daemon_container, kill_container
from tests.e2e.cluster import Cluster, Namespace, refusing, seccomp_profile


@pytest.fixture(autouse=True)
def _own_cluster(cluster: Cluster) -> None:
    if not cluster.own:
        pytest.skip("breaks things; KUBECONFIG names a cluster that others use")


def test_file_changed_by_hand_is_restored_at_once(namespace: Namespace) -> None:
    namespace.apply(seccomp_profile("web", syscalls=refusing("mkdir")))
    namespace.wait_ready("web")
    file = namespace.file("web")
    good = file.read_bytes()
    file.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    namespace.eventually("the old content", lambda: file.read_bytes() == good)
    file.unlink()
    namespace.eventually("the file", lambda: file.exists() and file.read_bytes() == good)
    file.parent.rename(file.parent.with_name("moved-away"))
    try:
        namespace.eventually("the folder", lambda: file.exists() and file.read_bytes() == good)
    finally:
        for left in file.parent.with_name("moved-away").iterdir():
            left.unlink()
        file.parent.with_name("moved-away").rmdir()


def test_directory_in_the_place_of_the_file_is_an_error_until_it_is_gone(namespace: Namespace) -> None:
    folder = namespace.file("web")
    namespace.apply(seccomp_profile("first"))
    namespace.wait_ready("first")
    folder.mkdir()
    namespace.apply(seccomp_profile("web"))
    namespace.eventually("state Error", lambda: namespace.status("web").get("status") == "Error")
    assert "cannot save profile" in namespace.status("web")["failingNodes"][0]["message"]
    folder.rmdir()
    namespace.wait_ready("web")
    assert folder.is_file()


def test_oddities_are_shown_as_warnings(namespace: Namespace) -> None:
    namespace.apply(seccomp_profile("web", syscalls=refusing("mkdir", "no_such_call")))
    namespace.wait_ready("web")
    (warning,) = namespace.status("web")["warnings"]
    assert "no_such_call" in warning


def test_killed_daemon_leaves_whole_files_and_catches_up(namespace: Namespace) -> None:
    names = [f"p{n}" for n in range(20)]
    namespace.apply(seccomp_profile("deleted"), seccomp_profile("changed"), seccomp_profile("kept"))
    for name in ("deleted", "changed", "kept"):
        namespace.wait_ready(name)
    namespace.apply(*(seccomp_profile(name, "SCMP_ACT_LOG") for name in names))
    kill_container(daemon_container(namespace.cluster))
    for file in namespace.file("kept").parent.iterdir():
        if file.suffix == ".json":
            json.loads(file.read_text())
    namespace.kubectl("delete", "seccompprofile", "deleted", "--wait=false")
    namespace.apply(seccomp_profile("changed", "SCMP_ACT_LOG"))

    namespace.kubectl("wait", "--for=delete", "seccompprofile/deleted", "--timeout=30s")
    namespace.kubectl("wait", "--for=condition=ready", "--all", "seccompprofiles", "--timeout=30s")
    namespace.eventually("the change", lambda: "LOG" in namespace.file("changed").read_text())
    left = sorted(path.name for path in namespace.file("kept").parent.iterdir())
    assert left == sorted(f"{name}.json" for name in (*names, "changed", "kept"))
