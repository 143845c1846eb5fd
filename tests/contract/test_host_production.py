"""Profile files, written as on a node: by uid 65535, on the file system of this machine, by a real kernel."""

import ctypes
import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spo.host.node_setup import prepare
from spo.host.seccomp_dir import SeccompDir
from spo.host.seccomp_support import seccomp_supported
from spo.names import OPERATOR_ROOT, PROFILES_ROOT, ROOTLESS_UID

PATH = "operator/ns/profile.json"


def in_child(action: Callable[[], object], *, uid: int | None = None) -> str:
    """Run in a forked child, as another user; return what it returned or raised, as text."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.umask(0o077)
        if uid is not None:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        try:
            answer = str(action())
        except Exception as error:  # the parent judges it
            answer = f"{type(error).__name__}: {error}"
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answers:
        text = answers.read()
    os.waitpid(pid, 0)
    return text


@pytest.fixture
def node() -> Iterator[Path]:
    """A node's file system that every user can enter, unlike tmp_path."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def operator_root(node: Path) -> Path:
    prepare(node, None)
    return node / OPERATOR_ROOT.lstrip("/")


def described(path: Path) -> str:
    found = path.stat()
    return f"{stat.S_IMODE(found.st_mode):o},{found.st_uid},{found.st_gid}"


@pytest.mark.root
def test_the_daemons_user_can_do_everything(operator_root: Path) -> None:
    # By the mounted root, as in the pod: the way over the kubelet's directories is for root only.
    seccomp_dir = SeccompDir(operator_root)
    assert in_child(lambda: seccomp_dir.write(PATH, b"x"), uid=ROOTLESS_UID) == "True"
    assert described(operator_root / "ns") == "744,65535,65535"
    assert described(operator_root / "ns/profile.json") == "644,65535,65535"
    assert in_child(lambda: seccomp_dir.write(PATH, b"x"), uid=ROOTLESS_UID) == "False"
    assert (operator_root / "ns/profile.json").read_bytes() == b"x"
    assert in_child(seccomp_dir.remove_stale_temp_files, uid=ROOTLESS_UID) == "0"
    assert in_child(lambda: seccomp_dir.remove(PATH), uid=ROOTLESS_UID) == "True"


@pytest.mark.root
def test_root_sees_the_files_where_the_kubelet_looks(node: Path, operator_root: Path) -> None:
    in_child(lambda: SeccompDir(operator_root).write(PATH, b"x"), uid=ROOTLESS_UID)
    assert (node / PROFILES_ROOT.lstrip("/") / "ns/profile.json").read_bytes() == b"x"


@pytest.mark.root
def test_a_directory_of_somebody_else_is_an_error(operator_root: Path) -> None:
    os.chown(operator_root, 0, 0)
    operator_root.chmod(0o755)
    answer = in_child(lambda: SeccompDir(operator_root).write(PATH, b"x"), uid=ROOTLESS_UID)
    assert answer == (
        f"CannotCreateDirectoryError: cannot create operator directory: {operator_root}/ns: Permission denied"
    )
    (operator_root / "ns").mkdir()
    answer = in_child(lambda: SeccompDir(operator_root).write(PATH, b"x"), uid=ROOTLESS_UID)
    assert answer == f"CannotSaveProfileError: cannot save profile: {PATH}: Permission denied"


@pytest.mark.root
def test_a_read_only_file_system_is_an_error(operator_root: Path) -> None:
    (operator_root / "ns").mkdir()
    script = (
        "import sys; from pathlib import Path; from spo.host.seccomp_dir import SeccompDir\n"
        f"try: SeccompDir(Path(sys.argv[1])).write('{PATH}', b'x')\n"
        "except Exception as error: print(error)"
    )
    mount = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        ("unshare", "--mount", "sh", "-ec", mount, "sh", str(operator_root), sys.executable, script),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"cannot save profile: {PATH}: Read-only file system\n"


@pytest.mark.root
def test_two_hundred_profiles_take_about_a_second(operator_root: Path) -> None:
    seccomp_dir = SeccompDir(operator_root)
    started = time.monotonic()
    for number in range(200):
        seccomp_dir.write(f"operator/ns/p{number}.json", b"x" * 3000)
    assert time.monotonic() - started < 5  # 0.1 s on an idle machine; two fsync calls each


def test_this_kernel_filters_syscalls() -> None:
    assert seccomp_supported()


def test_a_kernel_without_filters_is_recognised() -> None:
    """A filter makes prctl(PR_SET_SECCOMP) answer as a kernel built without CONFIG_SECCOMP_FILTER does."""

    def without_filters() -> bool:
        library = ctypes.CDLL("libseccomp.so.2")
        library.seccomp_init.restype = ctypes.c_void_p
        context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(0x7FFF0000)))  # SCMP_ACT_ALLOW
        einval = ctypes.c_uint32(0x00050000 | 22)  # SCMP_ACT_ERRNO(EINVAL)
        prctl = library.seccomp_syscall_resolve_name(b"prctl")
        assert library.seccomp_rule_add_array(context, einval, prctl, 0, None) == 0
        assert library.seccomp_load(context) == 0
        return seccomp_supported()

    assert in_child(without_filters) == "False"
