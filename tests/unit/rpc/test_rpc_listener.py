import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from spo.rpc.listener import Listener, SocketPlace, SocketPlaceError
from tests.fakes.rpc_server import place, short_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_socket_and_directory_have_their_modes(folder: Path) -> None:
    where = place(folder)
    where.path.parent.mkdir(mode=0o777)
    with Listener(where):
        assert mode(where.path) == 0o660
        assert mode(where.path.parent) == 0o750
        assert sorted(path.name for path in where.path.parent.iterdir()) == ["echo.sock", "echo.sock.lock"]
    assert not where.path.exists()


def test_socket_of_a_killed_process_is_replaced(folder: Path) -> None:
    where = place(folder)
    with Listener(where):
        pass
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(where.path))
    stale.close()
    where.path.with_name("echo.sock.new").touch()  # killed in between
    with Listener(where), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(where.path))


def test_second_process_is_refused(folder: Path) -> None:
    where = place(folder)
    with Listener(where):
        with (
            pytest.raises(SocketPlaceError, match=r"another process serves .*echo.sock; stop it first"),
            Listener(where),
        ):
            pass
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(where.path))  # the first one goes on


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, lambda path: path.symlink_to("/etc/passwd")])
def test_other_file_in_its_place_is_left_alone(folder: Path, make: object) -> None:
    where = place(folder)
    where.path.parent.mkdir()
    assert callable(make)
    make(where.path)
    with pytest.raises(SocketPlaceError, match="is not a socket; remove it"), Listener(where):
        pass
    assert where.path.lstat()


def test_linked_directory_is_refused(folder: Path) -> None:
    where = place(folder)
    (folder / "elsewhere").mkdir(mode=0o700)
    where.path.parent.symlink_to(folder / "elsewhere")
    with pytest.raises(SocketPlaceError, match="cannot listen on"), Listener(where):
        pass
    assert mode(folder / "elsewhere") == 0o700


def test_directory_of_another_user_is_refused(folder: Path) -> None:
    where = place(folder)
    where.path.parent.mkdir()
    other = SocketPlace(path=where.path, uid=os.getuid() + 1, gid=os.getgid())
    with pytest.raises(SocketPlaceError, match=r"belongs to uid \d+, which could replace"), Listener(other):
        pass


def test_linked_lock_is_refused(folder: Path) -> None:
    where = place(folder)
    where.path.parent.mkdir()
    (where.path.parent / "echo.sock.lock").symlink_to(folder / "victim")
    with pytest.raises(SocketPlaceError), Listener(where):
        pass
    assert not (folder / "victim").exists()


def test_path_is_too_long(folder: Path) -> None:
    where = SocketPlace(path=folder / ("x" * 100), uid=os.getuid(), gid=os.getgid())
    with pytest.raises(SocketPlaceError, match="too long: the kernel takes 107 bytes"), Listener(where):
        pass
