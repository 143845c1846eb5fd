"""Profile files on a real file system, with everything in the way that can be."""

import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

from spo.host.atomic_file import TEMP_PREFIX
from spo.host.seccomp_dir import (
    CannotRemoveProfileError,
    CannotSaveProfileError,
    ForeignPathError,
    SeccompDir,
)

PATH = "operator/ns/profile.json"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "operator"
    folder.mkdir()
    return folder


@pytest.fixture
def seccomp_dir(root: Path) -> SeccompDir:
    return SeccompDir(root)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_write_read_remove(seccomp_dir: SeccompDir, root: Path) -> None:
    assert seccomp_dir.write(PATH, b"one") is True
    assert files(root) == {"ns/profile.json": b"one"}
    assert seccomp_dir.remove(PATH) is True
    assert (root / "ns").is_dir()
    assert files(root) == {}
    assert seccomp_dir.remove(PATH) is False


def test_the_same_content_is_not_written_again(seccomp_dir: SeccompDir, root: Path) -> None:
    seccomp_dir.write(PATH, b"one")
    inode = (root / "ns/profile.json").stat().st_ino
    assert seccomp_dir.write(PATH, b"one") is False
    assert (root / "ns/profile.json").stat().st_ino == inode
    assert seccomp_dir.write(PATH, b"two") is True
    assert files(root) == {"ns/profile.json": b"two"}


@pytest.fixture
def no_permissions() -> Iterator[None]:
    before = os.umask(0o777)
    yield
    os.umask(before)


@pytest.mark.usefixtures("no_permissions")
def test_the_umask_does_not_matter(seccomp_dir: SeccompDir, root: Path) -> None:
    seccomp_dir.write(PATH, b"one")
    assert mode(root / "ns") == 0o744
    assert mode(root / "ns/profile.json") == 0o644


def test_a_file_with_another_mode_is_written_again(seccomp_dir: SeccompDir, root: Path) -> None:
    seccomp_dir.write(PATH, b"one")
    (root / "ns/profile.json").chmod(0o600)
    assert seccomp_dir.write(PATH, b"one") is True
    assert mode(root / "ns/profile.json") == 0o644


def test_a_reader_of_the_old_file_keeps_it_whole(seccomp_dir: SeccompDir, root: Path) -> None:
    seccomp_dir.write(PATH, b"old content")
    with (root / "ns/profile.json").open("rb") as reader:
        seccomp_dir.write(PATH, b"new")
        assert reader.read() == b"old content"


@pytest.mark.parametrize(
    "path",
    [
        "operator/../profile.json",
        "operator/ns/../x.json",
        "operator/ns/..json",
        "../operator/ns/x.json",
        "/operator/ns/x.json",
        "ns/x.json",
        "operator/ns/x",
        "operator/ns/.spo-tmp-1.json",
        "operator/ns/x\0.json",
        "",
    ],
)
def test_foreign_paths_are_refused(seccomp_dir: SeccompDir, root: Path, path: str) -> None:
    for call in (seccomp_dir.remove, lambda path: seccomp_dir.write(path, b"x")):
        with pytest.raises(ForeignPathError, match=r"is not operator/<namespace>/<name>\.json"):
            call(path)
    assert list(root.iterdir()) == []


def test_a_namespace_that_is_a_symbolic_link_is_refused(
    seccomp_dir: SeccompDir, root: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "profile.json").write_bytes(b"theirs")
    (root / "ns").symlink_to(outside)
    with pytest.raises(CannotSaveProfileError, match="its directory is a symbolic link or a file; remove it"):
        seccomp_dir.write(PATH, b"x")
    with pytest.raises(CannotRemoveProfileError):
        seccomp_dir.remove(PATH)
    assert seccomp_dir.remove_stale_temp_files() == 0
    assert files(outside) == {"profile.json": b"theirs"}


def test_a_file_that_is_a_symbolic_link_is_replaced_not_followed(
    seccomp_dir: SeccompDir, root: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"theirs")
    victim.chmod(0o644)
    (root / "ns").mkdir()
    (root / "ns/profile.json").symlink_to(victim)
    assert seccomp_dir.write(PATH, b"theirs") is True
    assert not (root / "ns/profile.json").is_symlink()
    assert victim.read_bytes() == b"theirs"


def test_removing_a_symbolic_link_leaves_its_target(
    seccomp_dir: SeccompDir, root: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"theirs")
    (root / "ns").mkdir()
    (root / "ns/profile.json").symlink_to(victim)
    assert seccomp_dir.remove(PATH) is True
    assert victim.exists()


def test_a_fifo_in_the_place_of_a_file_does_not_hang(seccomp_dir: SeccompDir, root: Path) -> None:
    (root / "ns").mkdir()
    os.mkfifo(root / "ns/profile.json", 0o644)
    assert seccomp_dir.write(PATH, b"x") is True
    assert files(root) == {"ns/profile.json": b"x"}


def test_a_directory_in_the_place_of_a_file_is_an_error(seccomp_dir: SeccompDir, root: Path) -> None:
    (root / "ns/profile.json").mkdir(parents=True)
    with pytest.raises(
        CannotSaveProfileError, match=r"^cannot save profile: operator/ns/profile\.json: Is a"
    ):
        seccomp_dir.write(PATH, b"x")
    with pytest.raises(CannotRemoveProfileError, match="Is a directory"):
        seccomp_dir.remove(PATH)
    assert list((root / "ns").iterdir()) == [root / "ns/profile.json"]


def test_a_missing_root_is_an_error_for_writing_only(tmp_path: Path) -> None:
    seccomp_dir = SeccompDir(tmp_path / "absent")
    with pytest.raises(CannotSaveProfileError, match="No such file or directory"):
        seccomp_dir.write(PATH, b"x")
    assert seccomp_dir.remove(PATH) is False


def test_the_root_itself_may_be_a_symbolic_link(tmp_path: Path, root: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert SeccompDir(tmp_path / "link").write(PATH, b"x") is True
    assert files(root) == {"ns/profile.json": b"x"}


def test_only_our_stale_temporary_files_go(seccomp_dir: SeccompDir, root: Path) -> None:
    seccomp_dir.write(PATH, b"x")
    stale = root / "ns" / f"{TEMP_PREFIX}0011223344556677"
    for name in (stale.name, "foreign", ".spo-other"):
        (root / "ns" / name).write_bytes(b"")
    (root / "ns" / f"{TEMP_PREFIX}directory").mkdir()
    (root / "ns" / f"{TEMP_PREFIX}link").symlink_to(root / "ns/foreign")
    assert seccomp_dir.remove_stale_temp_files() == 1
    assert not stale.exists()
    assert {"profile.json", "foreign", ".spo-other"} <= {path.name for path in (root / "ns").iterdir()}
    assert seccomp_dir.remove_stale_temp_files() == 0


def test_threads_write_their_files_undisturbed_by_cleaning(seccomp_dir: SeccompDir, root: Path) -> None:
    def write(number: int) -> None:
        for turn in range(20):
            seccomp_dir.write(f"operator/ns/p{number}.json", f"{number}-{turn}".encode())

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        seccomp_dir.remove_stale_temp_files()
    assert files(root) == {f"ns/p{number}.json": f"{number}-19".encode() for number in range(4)}


def killed_at_call(number: int, action: Callable[[], object]) -> bool:
    """Run in a child that kills itself before its nth call of a builtin; return whether it got that far."""
    pid = os.fork()
    if pid == 0:
        left = number

        def count(_frame: FrameType, event: str, _function: object) -> None:
            nonlocal left
            if event == "c_call":
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(count)
        action()
        sys.setprofile(None)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("before", [None, b"old" * 1000], ids=["new", "replaced"])
def test_a_kill_at_any_step_leaves_the_old_or_the_new_file(root: Path, before: bytes | None) -> None:
    new, steps, leftovers, seen = b"new" * 1000, 0, 0, set()
    while True:
        seccomp_dir = SeccompDir(root)
        seccomp_dir.remove(PATH)
        if before is not None:
            seccomp_dir.write(PATH, before)
        killed = killed_at_call(steps, lambda: SeccompDir(root).write(PATH, new))
        content = files(root).get("ns/profile.json")
        assert content in {before, new}
        seen.add(content)
        leftovers += seccomp_dir.remove_stale_temp_files()
        assert set(files(root)) <= {"ns/profile.json"}
        if not killed:
            break
        steps += 1
    assert content == new
    assert steps > 15
    assert leftovers > 3
    assert seen == {before, new}
