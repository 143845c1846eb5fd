import stat
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from onenode.kubelet.downward import PodFacts
from onenode.kubelet.errors import ContainerConfigError, VolumeError
from onenode.kubelet.pod import Pod, parse_pod
from onenode.kubelet.settings import KubeletSettings
from onenode.kubelet.volume_files import VolumeFile, checked_relative_path, write_files
from onenode.kubelet.volumes import Volumes, container_mounts

OBJECTS: dict[tuple[str, str], dict[str, Any]] = {
    ("configmaps", "settings"): {"data": {"k": "v"}, "binaryData": {"b": "AAE="}},
    ("secrets", "keys"): {"data": {"password": "aHVudGVyMg=="}},
    ("configmaps", "hostile"): {"data": {"../escape": "x"}},
}


class CountingTokens:
    def __init__(self) -> None:
        self.issued = 0

    def issue(self, *, pod: Pod, audience: str, expiration_s: int) -> str:
        self.issued += 1
        return f"token {self.issued} of {pod.spec.service_account_name}"


class Node:
    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.tokens = CountingTokens()
        self.folder = folder
        settings = KubeletSettings(
            node_name="n", state=folder / "state", seccomp_root=folder / "seccomp", instance="i"
        )
        self.volumes = Volumes(
            settings,
            lambda resource, _namespace, name: OBJECTS.get((resource, name)),
            self.tokens,
            lambda: self.now,
        )

    def prepare(self, source: dict[str, Any], **spec: Any) -> Path:
        return self.volumes.prepare(pod({"name": "v", **source}, **spec), PodFacts(pod_ip="10.0.0.1"))["v"]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def pod(*volumes: dict[str, Any], mounts: list[dict[str, Any]] | None = None, **spec: Any) -> Pod:
    container = {"name": "c", "volumeMounts": mounts or [], "resources": {"limits": {"cpu": "1500m"}}}
    return parse_pod(
        {
            "metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"b": "2", "a": '1"'}},
            "spec": {"containers": [container], "volumes": list(volumes), **spec},
        }
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Visible files, as a program in the container lists them."""
    found = {}
    for entry in sorted(folder.iterdir()):
        if not entry.name.startswith(".."):
            for path in [entry] if entry.is_file() else sorted(p for p in entry.rglob("*") if p.is_file()):
                found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_config_map_shows_all_keys(node: Node) -> None:
    folder = node.prepare({"configMap": {"name": "settings"}})
    assert contents(folder) == {"k": b"v", "b": b"\0\1"}
    assert mode(folder / "k") == 0o644


def test_chosen_keys_have_their_paths_and_modes(node: Node) -> None:
    items = [{"key": "password", "path": "deep/er/p", "mode": 0o400}]
    folder = node.prepare({"secret": {"secretName": "keys", "items": items, "defaultMode": 0o600}})
    assert contents(folder) == {"deep/er/p": b"hunter2"}
    assert mode(folder / "deep/er/p") == 0o400


def test_downward_files(node: Node) -> None:
    items = [
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "ip", "fieldRef": {"fieldPath": "status.podIP"}},
        {
            "path": "cpu",
            "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu", "divisor": "1m"},
        },
    ]
    folder = node.prepare({"downwardAPI": {"items": items}})
    assert contents(folder) == {"cpu": b"1500", "ip": b"10.0.0.1", "labels": b'a="1\\""\nb="2"'}


def test_projection_of_several_sources(node: Node) -> None:
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 1000}},
        {"configMap": {"name": "settings", "items": [{"key": "k", "path": "ca.crt"}]}},
    ]
    source = {"projected": {"sources": sources, "defaultMode": 0o444}}
    folder = node.prepare(source)
    assert contents(folder) == {"ca.crt": b"v", "token": b"token 1 of default"}
    assert mode(folder / "token") == 0o444
    node.now = 799.0
    assert contents(node.prepare(source))["token"] == b"token 1 of default"
    node.now = 800.0
    assert contents(node.prepare(source))["token"] == b"token 2 of default"


def test_refresh_replaces_all_files_at_once_and_only_when_they_change(tmp_path: Path) -> None:
    one, two = PurePosixPath("one"), PurePosixPath("two")
    assert write_files(tmp_path, {one: VolumeFile(b"1"), two: VolumeFile(b"2")})
    before = (tmp_path / "..data").readlink()
    assert not write_files(tmp_path, {one: VolumeFile(b"1"), two: VolumeFile(b"2")})
    assert (tmp_path / "..data").readlink() == before
    assert write_files(tmp_path, {one: VolumeFile(b"changed")})
    assert contents(tmp_path) == {"one": b"changed"}
    assert not (tmp_path / before).exists()


def test_empty_dir_is_for_everybody(node: Node) -> None:
    assert mode(node.prepare({"emptyDir": {}})) == 0o777


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        pytest.param({"configMap": {"name": "none"}}, 'configmap "none" not found', id="no-config-map"),
        pytest.param({"secret": {"secretName": "none"}}, 'secret "none" not found', id="no-secret"),
        pytest.param(
            {"configMap": {"name": "settings", "items": [{"key": "x", "path": "x"}]}},
            "references non-existent configmap key: x",
            id="no-key",
        ),
        pytest.param({"configMap": {"name": "hostile"}}, "must not contain '..'", id="key-leads-up"),
        pytest.param(
            {"configMap": {"name": "settings", "items": [{"key": "k", "path": "/etc/x"}]}},
            "must be relative",
            id="absolute-path",
        ),
        pytest.param({"hostPath": {"path": "relative"}}, "must be absolute", id="relative-host-path"),
        pytest.param({"hostPath": {"path": "/a/../b"}}, "without '..'", id="host-path-leads-up"),
        pytest.param({"nfs": {"server": "x"}}, "no volume plugin matched", id="unknown-kind"),
    ],
)
def test_volumes_that_cannot_be_made(node: Node, source: dict[str, Any], problem: str) -> None:
    with pytest.raises(VolumeError) as error:
        node.prepare(source)
    assert str(error.value).startswith('MountVolume.SetUp failed for volume "v" : ')
    assert problem in str(error.value)


def test_optional_objects_may_be_absent(node: Node) -> None:
    assert contents(node.prepare({"configMap": {"name": "none", "optional": True}})) == {}


@pytest.mark.parametrize(
    ("kind", "present", "allowed"),
    [
        ("Directory", "folder", True),
        ("Directory", "file", False),
        ("Directory", "absent", False),
        ("File", "file", True),
        ("File", "folder", False),
        ("DirectoryOrCreate", "absent", True),
        ("FileOrCreate", "absent", True),
        ("Socket", "file", False),
        ("", "absent", True),
        ("Nonsense", "file", False),
    ],
)
def test_host_path_types(node: Node, kind: str, present: str, allowed: bool) -> None:
    path = node.folder / "target"
    if present == "folder":
        path.mkdir()
    elif present == "file":
        path.touch()
    source = {"hostPath": {"path": str(path), "type": kind}}
    if allowed:
        assert node.prepare(source) == path
        assert path.exists()
    else:
        with pytest.raises(VolumeError):
            node.prepare(source)


@pytest.mark.parametrize("path", ["", "/a", "..", "a/../b", "..data", "a\0b"], ids=repr)
def test_paths_inside_a_volume_stay_inside(path: str) -> None:
    with pytest.raises(ValueError, match="invalid path"):
        checked_relative_path(path)


def test_sub_path_of_a_config_map_is_the_file_itself(node: Node) -> None:
    folder = node.prepare({"configMap": {"name": "settings"}})
    mounts = [{"name": "v", "mountPath": "/k", "subPath": "k"}]
    wanted = pod(mounts=mounts)
    (mount,) = container_mounts(wanted, wanted.spec.containers[0], {"v": folder}, {})
    assert mount.source.read_bytes() == b"v"


def test_sub_path_expands_and_is_made(node: Node) -> None:
    folder = node.prepare({"emptyDir": {}})
    wanted = pod(mounts=[{"name": "v", "mountPath": "/k", "subPathExpr": "$(POD)/x"}])
    (mount,) = container_mounts(wanted, wanted.spec.containers[0], {"v": folder}, {"POD": "p"})
    assert mount.source == folder / "p/x"
    assert mount.source.is_dir()


@pytest.mark.parametrize("sub_path", ["link", "link/below", "../v"])
def test_sub_path_does_not_leave_the_volume(node: Node, sub_path: str) -> None:
    folder = node.prepare({"emptyDir": {}})
    (folder / "link").symlink_to("/etc")
    wanted = pod(mounts=[{"name": "v", "mountPath": "/k", "subPath": sub_path}])
    with pytest.raises(ContainerConfigError):
        container_mounts(wanted, wanted.spec.containers[0], {"v": folder}, {})


def test_removed_pod_leaves_no_folder(node: Node) -> None:
    folder = node.prepare({"emptyDir": {}})
    node.volumes.remove("u")
    assert not folder.parent.parent.exists()
