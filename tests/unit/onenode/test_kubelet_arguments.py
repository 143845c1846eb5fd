from pathlib import Path
from typing import Any

import pytest

from onenode.kubelet.arguments import (
    ContainerSetup,
    Mount,
    cgroup_parent,
    container_arguments,
    environment_lines,
    mount_option,
    quality_of_service,
    sandbox_arguments,
)
from onenode.kubelet.errors import ContainerConfigError
from onenode.kubelet.pod import Pod, parse_pod
from onenode.kubelet.state import Image

UID = "6f0e3d2c-0000-4000-8000-000000000001"
IMAGE = Image("ab" * 32, "localhost/app:1", "localhost/app@sha256:1", "")


def pod(container: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None, **spec: Any) -> Pod:
    main = {"name": "c", "image": "app:1", **(container or {})}
    return parse_pod(
        {
            "metadata": {"name": "p", "namespace": "ns", "uid": UID, **(metadata or {})},
            "spec": {"containers": [main], **spec},
        }
    )


def arguments(wanted: Pod, **setup: Any) -> list[str]:
    values: dict[str, Any] = {
        "attempt": 0,
        "instance": "i1",
        "image": IMAGE,
        "sandbox": None if wanted.spec.host_network else "sandboxid",
        "environment": {},
        "environment_file": Path("/state/env"),
        "mounts": [],
        "log_file": Path("/state/0.log"),
        "seccomp": "seccomp=unconfined",
        **setup,
    }
    return container_arguments(wanted, wanted.spec.containers[0], ContainerSetup(**values))


def context(**values: Any) -> dict[str, Any]:
    return {"securityContext": values}


@pytest.mark.parametrize(
    ("wanted", "present"),
    [
        pytest.param(pod(context(runAsUser=1000)), "--user=1000", id="user"),
        pytest.param(pod(context(runAsUser=1000, runAsGroup=7)), "--user=1000:7", id="user-and-group"),
        pytest.param(pod(securityContext={"runAsUser": 5}), "--user=5", id="user-of-the-pod"),
        pytest.param(
            pod(context(runAsUser=6), securityContext={"runAsUser": 5}), "--user=6", id="container-wins"
        ),
        pytest.param(pod(context(runAsUser=0), securityContext={"runAsUser": 5}), "--user=0", id="zero-wins"),
        pytest.param(pod(context(runAsGroup=7)), "--user=0:7", id="group-only"),
        pytest.param(pod(securityContext={"fsGroup": 9}), "--group-add=9", id="fs-group"),
        pytest.param(pod(securityContext={"supplementalGroups": [8]}), "--group-add=8", id="groups"),
        pytest.param(pod(context(capabilities={"drop": ["ALL"]})), "--cap-drop=ALL", id="drop"),
        pytest.param(pod(context(capabilities={"add": ["SYS_ADMIN"]})), "--cap-add=SYS_ADMIN", id="add"),
        pytest.param(pod(context(privileged=True)), "--privileged", id="privileged"),
        pytest.param(pod(context(readOnlyRootFilesystem=True)), "--read-only", id="read-only"),
        pytest.param(
            pod(context(allowPrivilegeEscalation=False)),
            "--security-opt=no-new-privileges",
            id="no-new-privs",
        ),
        pytest.param(pod(context(procMount="Unmasked")), "--security-opt=unmask=ALL", id="proc-mount"),
        pytest.param(pod(hostPID=True), "--pid=host", id="host-pid"),
        pytest.param(pod(hostIPC=True), "--ipc=host", id="host-ipc"),
        pytest.param(pod(hostNetwork=True), "--network=host", id="host-network"),
        pytest.param(pod(), "--network=container:sandboxid", id="sandbox-network"),
        pytest.param(pod(), "--uts=container:sandboxid", id="sandbox-host-name"),
        pytest.param(pod(shareProcessNamespace=True), "--pid=container:sandboxid", id="shared-processes"),
        pytest.param(pod(), "--security-opt=seccomp=unconfined", id="seccomp"),
        pytest.param(pod({"workingDir": "/w"}), "--workdir=/w", id="working-dir"),
        pytest.param(pod({"command": ["a", "b c"]}), '--entrypoint=["a", "b c"]', id="command"),
        pytest.param(pod({"stdin": True}), "--interactive", id="stdin"),
        pytest.param(pod({"tty": True}), "--tty", id="tty"),
        pytest.param(
            pod({"resources": {"limits": {"memory": "64Mi"}}}), "--memory=67108864b", id="memory-limit"
        ),
        pytest.param(pod({"resources": {"limits": {"cpu": "500m"}}}), "--cpu-quota=50000", id="cpu-limit"),
        pytest.param(pod({"resources": {"requests": {"cpu": "2"}}}), "--cpu-shares=2048", id="cpu-request"),
        pytest.param(pod(), f"--cgroup-parent=/kubepods/besteffort/pod{UID}", id="cgroup"),
        pytest.param(pod(), f"--label=io.kubernetes.pod.uid={UID}", id="label-uid"),
        pytest.param(pod(), "--label=io.kubernetes.container.name=c", id="label-container"),
        pytest.param(pod(), "--label=onenode.instance=i1", id="label-instance"),
        pytest.param(pod(), "--pull=never", id="no-pull"),
    ],
)
def test_container_arguments_contain(wanted: Pod, present: str) -> None:
    assert present in arguments(wanted)


def test_a_container_gets_the_annotation_for_its_hook_and_no_other() -> None:
    wanted = pod()
    wanted.metadata.annotations = {
        "io.containers.trace-syscall/c": "of:/r/web.json",
        "io.containers.trace-syscall/other": "of:/r/other.json",
        "io.containers.trace-syscall": "of:/r/pod.json",
        "run.oci.handler": "krun",
    }
    annotations = [item for item in arguments(wanted) if item.startswith("--annotation")]
    assert annotations == ["--annotation=io.containers.trace-syscall=of:/r/web.json"]


def test_plain_container_gets_no_privileges_and_no_user() -> None:
    given = arguments(pod())
    assert not [item for item in given if item.startswith(("--user", "--cap", "--privileged", "--read-only"))]


def test_default_profile_of_podman_needs_no_option() -> None:
    assert not [item for item in arguments(pod(), seccomp=None) if "seccomp" in item]


def test_arguments_that_look_like_options_stand_behind_the_image() -> None:
    given = arguments(pod({"args": ["--privileged", "-v/:/host"]}))
    assert given[-3:] == [IMAGE.id, "--privileged", "-v/:/host"]
    assert "--privileged" not in given[: given.index(IMAGE.id)]


def test_command_and_arguments_expand_variables() -> None:
    given = arguments(pod({"command": ["$(A)"], "args": ["$$(A)", "$(B)"]}), environment={"A": "x"})
    assert '--entrypoint=["x"]' in given
    assert given[-2:] == ["$(A)", "$(B)"]


def test_secrets_are_in_the_file_unless_they_have_lines() -> None:
    environment = {"PASSWORD": "p a#ss=1 ", "KEY": "line 1\nline 2", "odd name": "x", "#c": "y"}
    given = arguments(pod(), environment=environment)
    assert environment_lines(environment) == "PASSWORD=p a#ss=1 \n"
    assert [item for item in given if item.startswith("--env=")] == [
        "--env=KEY=line 1\nline 2",
        "--env=odd name=x",
        "--env=#c=y",
    ]


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param(pod(metadata={"name": "../x"}), id="pod-name-leads-up"),
        pytest.param(pod(metadata={"name": "-v"}), id="pod-name-is-an-option"),
        pytest.param(pod(metadata={"name": "a..b"}), id="pod-name-double-dot"),
        pytest.param(pod(metadata={"namespace": "a/b"}), id="namespace-with-slash"),
        pytest.param(pod(metadata={"uid": "../../etc"}), id="uid-leads-up"),
        pytest.param(pod(metadata={"uid": ""}), id="uid-empty"),
        pytest.param(pod({"name": "POD"}), id="name-of-the-sandbox"),
        pytest.param(pod({"name": "a/b"}), id="container-name-with-slash"),
        pytest.param(pod({"workingDir": "relative"}), id="relative-working-dir"),
        pytest.param(pod(context(capabilities={"add": ["x,y"]})), id="odd-capability"),
        pytest.param(pod({"resources": {"limits": {"memory": "lots"}}}), id="odd-quantity"),
    ],
)
def test_malformed_names_are_refused(wanted: Pod) -> None:
    with pytest.raises(ContainerConfigError):
        arguments(wanted)


@pytest.mark.parametrize(
    ("image_user", "security", "refused"),
    [
        pytest.param("", {"runAsNonRoot": True}, "image will run as root", id="image-root"),
        pytest.param("0:0", {"runAsNonRoot": True}, "image will run as root", id="image-zero"),
        pytest.param("nginx", {"runAsNonRoot": True}, "non-numeric user (nginx)", id="image-name"),
        pytest.param("", {"runAsNonRoot": True, "runAsUser": 0}, "breaks non-root policy", id="user-zero"),
        pytest.param("101", {"runAsNonRoot": True}, "", id="image-number"),
        pytest.param("", {"runAsNonRoot": True, "runAsUser": 5}, "", id="user-number"),
        pytest.param("", {}, "", id="not-asked"),
    ],
)
def test_run_as_non_root(image_user: str, security: dict[str, Any], refused: str) -> None:
    image = Image(IMAGE.id, IMAGE.reference, IMAGE.digest, image_user)
    wanted = pod(context(**security))
    if not refused:
        assert arguments(wanted, image=image)
        return
    with pytest.raises(ContainerConfigError) as error:
        arguments(wanted, image=image)
    assert refused in str(error.value)


@pytest.mark.parametrize(
    ("mount", "option"),
    [
        pytest.param(
            Mount(source=Path("/a"), target="/b"),
            "type=bind,source=/a,destination=/b,bind-propagation=rprivate",
            id="plain",
        ),
        pytest.param(
            Mount(source=Path("/a"), target="/b", read_only=True, propagation="rslave"),
            "type=bind,source=/a,destination=/b,bind-propagation=rslave,ro=true",
            id="read-only",
        ),
        pytest.param(
            Mount(source=Path('/a,ro=true"x'), target="/b:c"),
            'type=bind,"source=/a,ro=true""x",destination=/b:c,bind-propagation=rprivate',
            id="hostile-characters-are-quoted",
        ),
    ],
)
def test_mount_option(mount: Mount, option: str) -> None:
    assert mount_option(mount) == option


@pytest.mark.parametrize("target", ["relative", "/a\nb", "/a\0b"])
def test_mount_targets_that_are_refused(target: str) -> None:
    with pytest.raises(ContainerConfigError):
        mount_option(Mount(source=Path("/a"), target=target))


def test_sandbox_shares_nothing_it_need_not() -> None:
    wanted = pod(
        {"ports": [{"containerPort": 80, "hostPort": 8080, "hostIP": "127.0.0.1"}]},
        metadata={"name": "p" * 70},
        securityContext={"sysctls": [{"name": "net.core.somaxconn", "value": "1"}]},
    )
    given = sandbox_arguments(wanted, instance="i1", rootfs=Path("/state/sandbox"), attempt=2)
    assert f"--hostname={'p' * 63}" in given
    assert "--cap-drop=ALL" in given
    assert "--publish=127.0.0.1:8080:80/tcp" in given
    assert "--sysctl=net.core.somaxconn=1" in given
    assert f"--name=k8s_POD_{'p' * 70}_ns_{UID}_2" in given
    assert given[-4:] == ["--rootfs", "/state/sandbox", "/pause", "-P"]


def resources(limits: dict[str, str], requests: dict[str, str] | None = None) -> Pod:
    return pod({"resources": {"limits": limits, "requests": requests or {}}})


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param(pod(), "BestEffort", id="nothing"),
        pytest.param(resources({"cpu": "1", "memory": "1Gi"}), "Guaranteed", id="limits"),
        pytest.param(
            resources({"cpu": "1", "memory": "1Gi"}, {"cpu": "1000m", "memory": "1Gi"}),
            "Guaranteed",
            id="equal-in-other-words",
        ),
        pytest.param(resources({"cpu": "1"}), "Burstable", id="one-limit"),
        pytest.param(resources({}, {"cpu": "1"}), "Burstable", id="request"),
    ],
)
def test_quality_of_service(wanted: Pod, expected: str) -> None:
    assert quality_of_service(wanted) == expected
    tier = "" if expected == "Guaranteed" else f"/{expected.lower()}"
    assert cgroup_parent(wanted) == f"/kubepods{tier}/pod{UID}"
