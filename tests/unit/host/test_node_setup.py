"""What root prepares on a node, below a directory that stands for it."""

import os
import stat
from pathlib import Path

import pytest

from spo.host.node_setup import NodeSetupError, prepare

pytestmark = pytest.mark.root

LINK = "var/lib/kubelet/seccomp/operator"
OPERATOR = "var/lib/security-profiles-operator"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A ConfigMap volume: the files are links into a hidden directory."""
    folder = tmp_path / "profiles"
    hidden = folder / "..2026_11_23"
    hidden.mkdir(parents=True)
    (hidden / "operator.json").write_bytes(b"{}")
    (folder / "..data").symlink_to(hidden.name)
    (folder / "operator.json").symlink_to("..data/operator.json")
    return folder


@pytest.fixture
def node(tmp_path: Path) -> Path:
    folder = tmp_path / "node"
    folder.mkdir()
    return folder


def described(path: Path) -> str:
    """As ``stat -L -c %a,%u,%g``."""
    found = path.stat()
    return f"{stat.S_IMODE(found.st_mode):o},{found.st_uid},{found.st_gid}"


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_fresh_node(node: Path, source: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        steps = prepare(node, source)
    finally:
        os.umask(before)
    assert len(steps) == 7
    assert described(node / LINK) == "744,65535,65535"
    assert (node / LINK).readlink() == node / OPERATOR
    copied = node / "var/lib/kubelet/seccomp/operator.json"
    assert copied.read_bytes() == b"{}"
    assert described(copied) == "644,0,0"
    assert sorted(path.name for path in copied.parent.iterdir()) == ["operator", "operator.json"]


def test_sockets_of_the_daemon_are_in_a_directory_of_its_own(node: Path) -> None:
    prepare(node, None)
    sockets = node / "var/run/security-profiles-operator/daemon"
    assert described(sockets) == "750,65535,65535"
    assert described(sockets.parent) == "755,0,0"


def test_again_changes_nothing(node: Path, source: Path) -> None:
    first = prepare(node, source)
    profile = node / OPERATOR / "ns/profile.json"
    profile.parent.mkdir()
    profile.write_bytes(b"x")
    inode = (node / "var/lib/kubelet/seccomp/operator.json").stat().st_ino
    assert prepare(node, source) == first
    assert profile.read_bytes() == b"x"
    assert (node / "var/lib/kubelet/seccomp/operator.json").stat().st_ino == inode


def test_without_shipped_profiles(node: Path) -> None:
    assert len(prepare(node, None)) == 6


def test_present_directories_keep_their_modes(node: Path) -> None:
    (node / "var/lib/kubelet").mkdir(parents=True)
    (node / "var/lib/kubelet").chmod(0o750)
    prepare(node, None)
    assert described(node / "var/lib/kubelet") == "750,0,0"


def test_a_real_operator_directory_is_taken_over(node: Path) -> None:
    (node / LINK).mkdir(parents=True)
    prepare(node, None)
    assert described(node / LINK) == "744,65535,65535"
    assert not (node / LINK).is_symlink()


def test_a_link_that_leads_elsewhere_is_refused(node: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    before = described(victim)
    (node / LINK).parent.mkdir(parents=True)
    (node / LINK).symlink_to(victim)
    with pytest.raises(
        NodeSetupError, match=r"give .* to 65535:65535: .* leads to .*victim, not to .*; remove it"
    ):
        prepare(node, None)
    assert described(victim) == before


def test_an_operator_root_that_is_a_link_is_refused(node: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    before = described(victim)
    (node / OPERATOR).parent.mkdir(parents=True)
    (node / OPERATOR).symlink_to(victim)
    with pytest.raises(NodeSetupError, match=r"^create .*/security-profiles-operator with mode 0744: "):
        prepare(node, None)
    assert described(victim) == before


def test_a_link_in_the_place_of_a_copy_is_replaced(node: Path, source: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"theirs")
    (node / LINK).parent.mkdir(parents=True)
    (node / "var/lib/kubelet/seccomp/operator.json").symlink_to(victim)
    prepare(node, source)
    assert victim.read_bytes() == b"theirs"
    assert (node / "var/lib/kubelet/seccomp/operator.json").read_bytes() == b"{}"


def test_a_file_in_the_way_names_the_step(node: Path) -> None:
    (node / "var").write_bytes(b"")
    with pytest.raises(NodeSetupError, match=r"^create .*/var/lib/kubelet/seccomp: ") as caught:
        prepare(node, None)
    assert caught.value.step == f"create {node}/var/lib/kubelet/seccomp"


def test_a_missing_source_names_the_step(node: Path, tmp_path: Path) -> None:
    with pytest.raises(NodeSetupError, match=r"^copy the files of .*absent to .*: "):
        prepare(node, tmp_path / "absent")
