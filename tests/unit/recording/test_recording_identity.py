import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.recording.identity import ContainerIdentity, container_of, container_of_proc

ID = "0123456789abcdef" * 4
OUTER = "f" * 64
UID = "11111111-2222-3333-4444-555555555555"
UID_ = UID.replace("-", "_")
STATIC = "0123456789abcdef0123456789abcdef"


def names(path: str) -> list[str]:
    """The name of a cgroup and of its ancestors, as the recorder reports them."""
    return [name for name in reversed(path.split("/")) if name]


@pytest.mark.parametrize(
    ("path", "pod"),
    [
        pytest.param(f"/docker/{ID}", None, id="docker-cgroupfs"),
        pytest.param(f"/system.slice/docker-{ID}.scope", None, id="docker-systemd"),
        pytest.param(f"/machine.slice/libpod-{ID}.scope", None, id="podman-systemd"),
        pytest.param(f"/machine.slice/libpod-{ID}.scope/container", None, id="podman-crun-v2"),
        pytest.param(f"/libpod_parent/libpod-{ID}", None, id="podman-cgroupfs"),
        pytest.param(
            f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container",
            None,
            id="podman-rootless",
        ),
        pytest.param(f"/system.slice/web.service/libpod-payload-{ID}", None, id="podman-split"),
        pytest.param(
            f"/machine.slice/machine-libpod_pod_{OUTER}.slice/libpod-{ID}.scope", None, id="podman-pod"
        ),
        pytest.param(f"/libpod_parent/{OUTER}/libpod-{ID}", None, id="podman-pod-cgroupfs"),
        pytest.param(f"/kubepods/pod{UID}/{ID}", UID, id="containerd-cgroupfs-guaranteed"),
        pytest.param(f"/kubepods/burstable/pod{UID}/{ID}", UID, id="containerd-cgroupfs-burstable"),
        pytest.param(
            f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID_}.slice/"
            f"cri-containerd-{ID}.scope",
            UID,
            id="containerd-systemd",
        ),
        pytest.param(
            f"/kubepods.slice/kubepods-pod{UID_}.slice/cri-containerd-{ID}.scope",
            UID,
            id="containerd-systemd-guaranteed",
        ),
        pytest.param(
            f"/system.slice/containerd.service/kubepods-besteffort-pod{UID_}.slice:cri-containerd:{ID}",
            UID,
            id="containerd-mixed-drivers",
        ),
        pytest.param(f"/kubepods/besteffort/pod{UID}/crio-{ID}", UID, id="crio-cgroupfs"),
        pytest.param(
            f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice/crio-{ID}.scope",
            UID,
            id="crio-systemd",
        ),
        pytest.param(
            f"/kubepods.slice/kubepods-burstable-pod{UID_}.slice/crio-{ID}.scope/container",
            UID,
            id="crio-crun-v2",
        ),
        pytest.param(f"/kubepods/burstable/pod{STATIC}/{ID}", STATIC, id="static-pod"),
        pytest.param(
            f"/kubepods.slice/kubepods-pod{STATIC}.slice/cri-containerd-{ID}.scope",
            STATIC,
            id="static-pod-systemd",
        ),
        pytest.param(f"/docker/{OUTER}/kubelet/kubepods/besteffort/pod{UID}/{ID}", UID, id="kind-cgroupfs"),
        pytest.param(
            f"/system.slice/docker-{OUTER}.scope/kubelet.slice/kubelet-kubepods.slice/"
            f"kubelet-kubepods-pod{UID_}.slice/cri-containerd-{ID}.scope",
            UID,
            id="kind-systemd",
        ),
        pytest.param(f"/kubepods/pod{UID}/{ID}/system.slice/nginx.service", UID, id="systemd-inside"),
        pytest.param(f"/kubepods/pod{UID}/{OUTER}/docker/{ID}", None, id="docker-in-a-pod"),
        pytest.param(
            f"/machine.slice/libpod-{ID}.scope/libpod-conmon-{OUTER}.scope", None, id="nested-conmon"
        ),
        pytest.param(f"/k8s.io/{ID}", None, id="containerd-ctr"),
    ],
)
def test_container_and_pod_are_found(path: str, pod: str | None) -> None:
    assert container_of(names(path)) == ContainerIdentity(ID, pod)
    assert container_of_proc(f"0::{path}\n") == ContainerIdentity(ID, pod)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/", id="root"),
        pytest.param("/init.scope", id="init"),
        pytest.param("/user.slice/user-0.slice/session-1.scope", id="session"),
        pytest.param(f"/machine.slice/libpod-conmon-{ID}.scope", id="podman-monitor"),
        pytest.param(
            f"/machine.slice/machine-libpod_pod_{OUTER}.slice/libpod-conmon-{ID}.scope", id="of-a-pod"
        ),
        pytest.param(f"/libpod_parent/{OUTER}/libpod-conmon-{ID}", id="of-a-pod-cgroupfs"),
        pytest.param(f"/kubepods.slice/kubepods-pod{UID_}.slice/crio-conmon-{ID}.scope", id="crio-monitor"),
        pytest.param(f"/kubepods/pod{UID}", id="pod-without-container"),
        pytest.param(f"/docker/{ID[:-1]}", id="63-digits"),
        pytest.param(f"/docker/{ID}0", id="65-digits"),
        pytest.param(f"/docker/{ID.upper()}", id="upper-case"),
        pytest.param("/" + "-" * 300 + ID, id="longer-than-any-name"),
    ],
)
def test_no_container_is_found(path: str) -> None:
    assert container_of(names(path)) is None


def test_pod_of_an_outer_container_is_not_taken() -> None:
    assert container_of(names(f"/kubepods/pod{UID}/{OUTER}/kubelet/kubepods/{ID}")) == (ID, None)


@pytest.mark.parametrize("uid", ["pod1111", f"pod{UID}0", f"podx{UID}", f"mypod{UID}"])
def test_what_only_looks_like_a_pod_is_not_taken(uid: str) -> None:
    assert container_of([ID, uid]) == (ID, None)


def test_first_controller_with_a_container_counts() -> None:
    text = f"3:cpuset:/\n2:memory:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/\n"
    assert container_of_proc(text) == (ID, None)
    assert container_of_proc("") is None
    assert container_of_proc("garbage\n\n::\n") is None


HOSTILE = st.text(alphabet=string.hexdigits + "-_.:/podconmlib", max_size=300)


@given(st.lists(HOSTILE, max_size=8))
def test_whatever_is_found_is_well_formed(cgroups: list[str]) -> None:
    identity = container_of(cgroups)

    if identity is not None:
        assert len(identity.container_id) == 64
        assert set(identity.container_id) <= set("0123456789abcdef")
        assert any(identity.container_id in name for name in cgroups)


@given(st.lists(st.text(alphabet="abcdefxyz-.", max_size=20), max_size=3))
def test_cgroups_made_inside_a_container_do_not_hide_it(inside: list[str]) -> None:
    assert container_of([*inside, f"cri-containerd-{ID}.scope", f"kubepods-pod{UID_}.slice"]) == (ID, UID)


@given(st.text(max_size=400))
def test_any_text_of_proc_is_read(text: str) -> None:
    container_of_proc(text)
