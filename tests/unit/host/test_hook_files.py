"""Recordings that hooks leave: nobody is overwritten, nothing is followed, nothing foreign is taken."""

import os
import stat
from pathlib import Path

import pytest

from spo.host.hook_files import LEFTOVER_S, MAX_BYTES, HookFileError, HookFiles, is_file_name

pytestmark = pytest.mark.root


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "recordings"


@pytest.fixture
def files(directory: Path) -> HookFiles:
    made = HookFiles(directory)
    made.make_directory()
    return made


def test_the_directory_is_for_root_and_the_daemon(directory: Path, files: HookFiles) -> None:
    found = directory.stat()

    assert stat.S_IMODE(found.st_mode) == 0o770
    assert (found.st_uid, found.st_gid) == (0, 65535)


def test_a_link_in_the_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "recordings").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(HookFileError, match="no directory"):
        HookFiles(tmp_path / "recordings").make_directory()


def test_a_recording_is_written_once_and_read_by_the_daemon(directory: Path, files: HookFiles) -> None:
    files.write("web-1.json", b"{}")

    assert files.read("web-1.json") == b"{}"
    found = (directory / "web-1.json").stat()
    assert stat.S_IMODE(found.st_mode) == 0o640
    assert found.st_gid == 65535
    with pytest.raises(HookFileError, match="File exists"):
        files.write("web-1.json", b"other")
    assert files.read("web-1.json") == b"{}"
    assert [path.name for path in directory.iterdir()] == ["web-1.json"]


def test_a_link_that_somebody_has_put_there_is_not_written_through(directory: Path, files: HookFiles) -> None:
    (directory / "web-1.json").symlink_to("/etc/shadow")

    with pytest.raises(HookFileError, match="File exists"):
        files.write("web-1.json", b"{}")
    with pytest.raises(HookFileError, match="symbolic links"):
        files.read("web-1.json")


@pytest.mark.parametrize(
    "name",
    [
        "../x.json",
        "/etc/x.json",
        "x",
        ".x.json",
        "x.json/",
        "a/b.json",
        "",
        "x.json\n",
        "é.json",
        "a" * 256 + ".json",
    ],
)
def test_names_that_are_none_are_refused(files: HookFiles, name: str) -> None:
    assert not is_file_name(name)
    for action in (lambda: files.write(name, b""), lambda: files.read(name), lambda: files.remove(name)):
        with pytest.raises(HookFileError, match="name"):
            action()


def test_what_is_not_there_yet_is_no_error(files: HookFiles) -> None:
    assert files.read("web-1.json") is None
    files.remove("web-1.json")


def test_a_file_of_somebody_else_is_not_taken(directory: Path, files: HookFiles) -> None:
    path = directory / "web-1.json"
    path.write_text("{}")
    os.chown(path, 65535, 65535)

    with pytest.raises(HookFileError, match="not a file that a hook has written"):
        files.read("web-1.json")


def test_a_second_name_of_a_file_of_root_is_not_taken(
    directory: Path, files: HookFiles, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret of root")
    os.link(secret, directory / "web-1.json")

    with pytest.raises(HookFileError, match="not a file that a hook has written"):
        files.read("web-1.json")


def test_a_pipe_does_not_hang_the_reader(directory: Path, files: HookFiles) -> None:
    os.mkfifo(directory / "web-1.json")

    with pytest.raises(HookFileError, match="not a file that a hook has written"):
        files.read("web-1.json")


def test_a_file_that_is_too_large_is_not_taken(directory: Path, files: HookFiles) -> None:
    (directory / "web-1.json").write_bytes(bytes(MAX_BYTES + 1))

    with pytest.raises(HookFileError, match="larger than"):
        files.read("web-1.json")


def test_leftovers_go_after_an_hour(directory: Path, files: HookFiles) -> None:
    for name in ("old.json", ".old.json.unfinished", "new.json"):
        (directory / name).write_text("{}")
    (directory / "link.json").symlink_to("old.json")
    now = (directory / "new.json").stat().st_mtime
    for name in ("old.json", ".old.json.unfinished"):
        os.utime(directory / name, (now - LEFTOVER_S - 1, now - LEFTOVER_S - 1))

    assert sorted(files.remove_leftovers(now)) == [".old.json.unfinished", "old.json"]
    assert sorted(path.name for path in directory.iterdir()) == ["link.json", "new.json"]
