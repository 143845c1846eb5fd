"""What the clean-up takes from a node, and what it leaves."""

import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from spo.__main__ import cli
from spo.host.claims_file import ClaimsFile
from spo.host.node_cleanup import Cleaned, clean
from spo.host.node_paths import pin_root

NS = "security-profiles-operator"
ME = os.getuid()


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A node that an operator has worked on."""
    root = tmp_path / "node"
    profiles = root / "var/lib/security-profiles-operator"
    write(profiles / "team/web.json")
    write(profiles / ".recordings/web.json")
    ClaimsFile(profiles, NS).write(["SeccompProfile/team/web"])
    seccomp = root / "var/lib/kubelet/seccomp"
    seccomp.mkdir(parents=True)
    (seccomp / "operator").symlink_to(profiles)
    for path in ("var/run", "run"):
        for name in ("daemon/a.sock", "probes/b.sock", "recordings/c.json"):
            write(root / path / NS / name)
    write(pins(root) / "hash/map")
    return root


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def pins(root: Path) -> Path:
    return root / "sys/fs/bpf" / NS


def cleaned(root: Path, shipped: Path | None = None, owner: int = ME) -> Cleaned:
    return clean(root, NS, pins(root), shipped, owner=owner)


def left(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def test_nothing_is_left(node: Path) -> None:
    found = cleaned(node)
    assert found.kept == []
    assert found.removed >= 14
    assert left(node) == []
    assert not [path for path in node.rglob("*") if path.name == NS]
    assert cleaned(node) == Cleaned()


def test_kubelets_own_profiles_stay(node: Path) -> None:
    other = write(node / "var/lib/kubelet/seccomp/audit.json")
    assert cleaned(node).kept == []
    assert left(node) == [str(other.relative_to(node))]


def test_files_of_others_are_named(node: Path) -> None:
    found = cleaned(node, owner=ME + 1)
    web = node / "var/lib/security-profiles-operator/team/web.json"
    assert web.exists()
    assert f"{web}: it belongs to uid {ME}, not to the operator" in found.kept
    assert not (node / "var/lib/security-profiles-operator/.recordings").exists()


def test_socket_of_a_user_stays(node: Path) -> None:
    user = write(node / "var/run" / NS / "listener.sock")
    assert cleaned(node).kept == [f"{user.parent}: it holds listener.sock"]
    assert left(node) == [str(user.relative_to(node))]


def test_links_are_removed_and_not_followed(node: Path, tmp_path: Path) -> None:
    outside = write(tmp_path / "outside/precious")
    profiles = node / "var/lib/security-profiles-operator"
    (profiles / "evil").symlink_to(outside.parent)
    (profiles / "team/evil.json").symlink_to(outside)
    (node / "run" / NS / "daemon/evil").symlink_to(outside.parent)
    assert cleaned(node).kept == []
    assert outside.exists()
    assert left(node) == []


def test_link_in_the_place_of_our_directory_is_refused(node: Path, tmp_path: Path) -> None:
    outside = write(tmp_path / "outside/precious")
    profiles = node / "var/lib/security-profiles-operator"
    profiles.rename(tmp_path / "moved")
    profiles.symlink_to(outside.parent)
    assert any(str(profiles) in text for text in cleaned(node).kept)
    assert outside.exists()


def test_directories_that_are_nested_too_deep_are_named(node: Path) -> None:
    profiles = node / "var/lib/security-profiles-operator"
    inner = os.open(profiles, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=inner)
        outer, inner = inner, os.open("d", os.O_RDONLY, dir_fd=inner)
        os.close(outer)
    os.close(inner)
    try:
        assert any(str(profiles) in text for text in cleaned(node).kept)
    finally:
        subprocess.run(("rm", "-rf", str(profiles)), check=True)  # shutil.rmtree does not go so deep


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("--namespace=../../etc", "is no name of a namespace"),
        ("--pins=/etc", "is no directory in"),
        ("--pins=/sys/fs/bpf", "is no directory in"),
        ("--pins=/sys/fs/bpf/..", "is no directory in"),
    ],
)
def test_options_that_lead_elsewhere_are_refused(node: Path, option: str, problem: str) -> None:
    before = left(node)
    result = CliRunner().invoke(cli, ["node-cleanup", f"--root={node}", option])
    assert result.exit_code == 2
    assert problem in result.output
    assert left(node) == before


@pytest.mark.parametrize("kind", ["directory", "link"])
def test_foreign_thing_in_the_place_of_the_link_stays(node: Path, kind: str, tmp_path: Path) -> None:
    link = node / "var/lib/kubelet/seccomp/operator"
    link.unlink()
    if kind == "directory":
        link.mkdir()
    else:
        link.symlink_to(tmp_path)
    (text,) = cleaned(node).kept
    assert text.startswith(f"{link}: it ")
    assert os.path.lexists(link)


def test_other_operator_keeps_what_it_uses(node: Path) -> None:
    profiles = node / "var/lib/security-profiles-operator"
    theirs = write(profiles / "other/db.json")
    their_socket = write(node / "var/run" / NS / "probes/bpf-recorder-abc.sock")
    write(node / "var/run" / NS / "probes/bpf-recorder.sock.lock")
    ClaimsFile(profiles, "second").write(["SeccompProfile/other/db"])
    (text,) = cleaned(node).kept
    assert "the operator of namespace second uses it" in text
    assert theirs.exists()
    assert (node / "var/lib/kubelet/seccomp/operator").is_symlink()
    assert not (profiles / "team/web.json").exists()
    assert not (profiles / f".claims-{NS}.json").exists()
    assert their_socket.exists()
    assert not (their_socket.parent / "bpf-recorder.sock.lock").exists()
    assert not pins(node).exists()


def test_hostile_claims_reach_nothing_outside(node: Path) -> None:
    profiles = node / "var/lib/security-profiles-operator"
    outside = write(node / "var/lib/precious.json")
    ClaimsFile(profiles, "second").write(["SeccompProfile/other/db"])
    ClaimsFile(profiles, NS).write(["SeccompProfile/../precious", "a/b", "x/../../y"])
    cleaned(node)
    assert outside.exists()


def test_shipped_profiles_go_unless_they_were_changed(node: Path, tmp_path: Path) -> None:
    seccomp = node / "var/lib/kubelet/seccomp"
    for name in ("same.json", "changed.json"):
        write(tmp_path / "shipped" / name)
    (seccomp / "same.json").write_text("x")
    (seccomp / "same.json").chmod(0o644)
    write(seccomp / "changed.json", "mine").chmod(0o644)
    cleaned(node, tmp_path / "shipped")
    assert left(node) == ["var/lib/kubelet/seccomp/changed.json"]


def test_pins_of_operators_that_share_a_machine_differ() -> None:
    from pathlib import PurePosixPath

    assert str(pin_root(PurePosixPath("/"))) == f"/sys/fs/bpf/{NS}"
    assert pin_root(PurePosixPath("/a")) != pin_root(PurePosixPath("/b"))
