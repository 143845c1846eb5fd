"""A profile from apply to the file on the node and back."""

import json
import stat

import pytest

from tests.e2e.cluster import Namespace, pod, refusing, seccomp_profile

FULL_SPEC = {
    "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
    "flags": ["SECCOMP_FILTER_FLAG_LOG"],
    "syscalls": [
        {"action": "SCMP_ACT_ALLOW", "names": ["write", "read", "exit_group"]},
        {"action": "SCMP_ACT_ERRNO", "names": ["mkdirat"], "errnoRet": 13},
        {
            "action": "SCMP_ACT_ALLOW",
            "names": ["personality"],
            "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}],
        },
    ],
}


def test_applied_profile_is_on_the_node_as_the_spec_says(namespace: Namespace) -> None:
    profile = seccomp_profile("profile1", "SCMP_ACT_ERRNO", **FULL_SPEC)
    namespace.apply(profile)
    namespace.wait_ready("profile1")

    file = namespace.file("profile1")
    assert json.loads(file.read_text()) == profile["spec"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert (file.stat().st_uid, file.stat().st_gid) == (65535, 65535)
    operator_root = namespace.cluster.node_root / "var/lib/kubelet/seccomp/operator"
    assert operator_root.is_symlink()
    root = operator_root.stat()
    assert (stat.S_IMODE(root.st_mode), root.st_uid, root.st_gid) == (0o744, 65535, 65535)


def test_wide_output_and_documented_jsonpath_show_the_path(namespace: Namespace) -> None:
    namespace.apply(seccomp_profile("profile1", "SCMP_ACT_LOG"))
    namespace.wait_ready("profile1")
    path = f"operator/{namespace.name}/profile1.json"

    header, row = namespace.kubectl("get", "seccompprofile", "profile1", "--output=wide").splitlines()
    assert header.split() == ["NAME", "STATUS", "AGE", "LOCALHOSTPROFILE"]
    assert row.split()[0::3] == ["profile1", path]
    assert row.split()[1] == "Installed"
    for jsonpath in ("{.status.localhostProfile}", "{.status.seccompProfile\\.localhostProfile}"):
        assert namespace.kubectl("get", "sp", "profile1", f"--output=jsonpath={jsonpath}") == path


def test_status_counts_nodes_and_node_status_lists_the_profile(namespace: Namespace) -> None:
    namespace.apply(seccomp_profile("profile1"))
    namespace.wait_ready("profile1")

    status = namespace.status("profile1")
    nodes = len(json.loads(namespace.kubectl("get", "spns", "--all-namespaces", "--output=json"))["items"])
    assert status["nodes"] == {"desired": nodes, "installed": nodes, "failed": 0}
    states = json.loads(namespace.kubectl("get", "spns", "--all-namespaces", "--output=json"))["items"]
    for state in states:
        entry = state["profiles"][f"SeccompProfile/{namespace.name}/profile1"]
        assert entry["state"] == "Installed"
        assert entry["generation"] == 1


def test_saved_profile_is_told_as_an_event(namespace: Namespace) -> None:
    namespace.apply(seccomp_profile("profile1"))
    namespace.wait_ready("profile1")
    namespace.eventually(
        "event SavedSeccompProfile",
        lambda: (
            "Successfully saved profile to disk on"
            in namespace.kubectl("describe", "seccompprofile", "profile1")
        ),
    )


def test_changed_spec_changes_the_file(namespace: Namespace) -> None:
    namespace.apply(seccomp_profile("profile1", "SCMP_ACT_LOG"))
    namespace.wait_ready("profile1")
    namespace.apply(seccomp_profile("profile1", "SCMP_ACT_ALLOW", syscalls=refusing("mkdir")))
    namespace.eventually("the new content", lambda: "mkdir" in namespace.file("profile1").read_text())
    namespace.eventually(
        "the new generation", lambda: namespace.status("profile1").get("observedGeneration") == 2
    )
    namespace.wait_ready("profile1")


def test_deleted_profile_leaves_neither_file_nor_object(namespace: Namespace) -> None:
    namespace.apply(seccomp_profile("profile1"))
    namespace.wait_ready("profile1")
    namespace.kubectl("delete", "seccompprofile", "profile1", "--timeout=20s")
    assert not namespace.file("profile1").exists()
    listed = json.loads(namespace.kubectl("get", "spns", "--all-namespaces", "--output=json"))["items"]
    assert all(f"SeccompProfile/{namespace.name}/profile1" not in item["profiles"] for item in listed)


def test_base_profile_is_merged_and_its_changes_follow(namespace: Namespace) -> None:
    allow = {"action": "SCMP_ACT_ALLOW"}
    namespace.apply(
        seccomp_profile("base", "SCMP_ACT_ERRNO", syscalls=[{**allow, "names": ["write", "read"]}]),
        seccomp_profile(
            "own", "SCMP_ACT_ERRNO", baseProfileName="base", syscalls=[{**allow, "names": ["exit"]}]
        ),
    )
    namespace.wait_ready("own")
    merged = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["exit", "read", "write"], **allow}]}
    assert json.loads(namespace.file("own").read_text()) == merged

    namespace.apply(seccomp_profile("base", "SCMP_ACT_ERRNO", syscalls=[{**allow, "names": ["close"]}]))
    merged["syscalls"] = [{"names": ["close", "exit"], **allow}]
    namespace.eventually("the merged file", lambda: json.loads(namespace.file("own").read_text()) == merged)


@pytest.mark.parametrize(
    ("base", "message"),
    [
        pytest.param("absent", "absent", id="unknown-base"),
        pytest.param("profile1", "profile1", id="cycle"),
    ],
)
def test_bad_base_ends_in_error_and_keeps_the_last_good_file(
    namespace: Namespace, base: str, message: str
) -> None:
    namespace.apply(seccomp_profile("profile1", syscalls=refusing("mkdir")))
    namespace.wait_ready("profile1")
    good = namespace.file("profile1").read_bytes()

    namespace.apply(seccomp_profile("profile1", baseProfileName=base))
    namespace.eventually("state Error", lambda: namespace.status("profile1").get("status") == "Error")

    status = namespace.status("profile1")
    ready = next(condition for condition in status["conditions"] if condition["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Unavailable")
    assert message in status["failingNodes"][0]["message"]
    assert namespace.file("profile1").read_bytes() == good

    namespace.apply(seccomp_profile("profile1", "SCMP_ACT_LOG"))
    namespace.wait_ready("profile1")
    assert json.loads(namespace.file("profile1").read_text()) == {"defaultAction": "SCMP_ACT_LOG"}


def test_profile_recovers_when_its_base_appears(namespace: Namespace) -> None:
    namespace.apply(seccomp_profile("own", baseProfileName="later"))
    namespace.eventually("state Error", lambda: namespace.status("own").get("status") == "Error")
    namespace.apply(seccomp_profile("later", syscalls=refusing("mkdir")))
    namespace.wait_ready("own")


def test_two_objects_with_one_path_the_older_owns_it(namespace: Namespace) -> None:
    namespace.apply(seccomp_profile("same", "SCMP_ACT_LOG"))
    namespace.wait_ready("same")
    namespace.apply(seccomp_profile("same.json", "SCMP_ACT_ERRNO"))
    namespace.eventually("state Error", lambda: namespace.status("same.json").get("status") == "Error")
    assert json.loads(namespace.file("same").read_text()) == {"defaultAction": "SCMP_ACT_LOG"}
    namespace.kubectl("delete", "seccompprofile", "same", "--timeout=20s")
    namespace.wait_ready("same.json")
    assert json.loads(namespace.file("same").read_text()) == {"defaultAction": "SCMP_ACT_ERRNO"}


@pytest.mark.parametrize("length", [70, 250])
def test_long_name_is_installed_and_listed_on_every_node(namespace: Namespace, length: int) -> None:
    name = "x" * length
    namespace.apply(seccomp_profile(name))
    namespace.wait_ready(name)
    assert json.loads(namespace.file(name).read_text()) == {"defaultAction": "SCMP_ACT_ALLOW"}
    nodes = json.loads(namespace.kubectl("get", "spns", "--all-namespaces", "--output=json"))["items"]
    key = f"SeccompProfile/{namespace.name}/{name}"
    assert nodes
    assert [node["profiles"][key]["state"] for node in nodes] == ["Installed"] * len(nodes)


def test_name_too_long_for_a_file_is_an_error_and_goes(namespace: Namespace) -> None:
    name = "x" * 251
    namespace.apply(seccomp_profile(name))
    namespace.eventually("state Error", lambda: namespace.status(name).get("status") == "Error")
    namespace.kubectl("delete", "seccompprofile", name, "--timeout=20s")


def test_merged_base_is_enough_for_a_pod(namespace: Namespace) -> None:
    """The base lets the container start; the command has what it needs only by the profile on top of it."""
    base = seccomp_profile("base", syscalls=refusing("mkdir", "mkdirat", "rmdir"))
    allowing = [{"action": "SCMP_ACT_ALLOW", "names": ["mkdir", "mkdirat"]}]
    namespace.apply(base, seccomp_profile("hello", baseProfileName="base", syscalls=allowing))
    namespace.wait_ready("hello")
    path = f"operator/{namespace.name}/hello.json"
    context = {"seccompProfile": {"type": "Localhost", "localhostProfile": path}}
    script = "mkdir /tmp/x && echo made; rmdir /tmp/x || echo kept"
    namespace.apply(pod("hello", "sh", "-c", script, restartPolicy="Never", securityContext=context))
    namespace.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/hello", "--timeout=60s")
    output = namespace.kubectl("logs", "hello")
    assert "made" in output
    assert "Operation not permitted" in output
    assert "kept" in output
