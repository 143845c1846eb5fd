"""Where the types of the kernel are looked for."""

import os
from pathlib import Path

import pytest

from spo.bpf import kernel_btf
from spo.bpf.errors import KernelBtfMissingError

UNAME = os.uname_result(("Linux", "node", "5.10.0-1-cloud", "#1", "aarch64"))
DEBIAN = 'NAME="Debian"\nID=debian\n# VERSION_ID=9\nVERSION_ID="12"\n'


@pytest.fixture
def os_release(tmp_path: Path) -> Path:
    path = tmp_path / "os-release"
    path.write_text(DEBIAN)
    return path


def test_the_kernel_tells_its_types_itself(tmp_path: Path) -> None:
    system = tmp_path / "vmlinux"
    system.touch()

    assert kernel_btf.find(None, system=system) is None


def test_a_kernel_without_btf_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(KernelBtfMissingError, match=r"vmlinux is absent; name a file .* with --btf"):
        kernel_btf.find(None, system=tmp_path / "vmlinux")


def test_a_file_is_used_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "my.btf"
    path.write_bytes(b"\x9f\xeb\x01")

    assert kernel_btf.find(path) == path


@pytest.mark.parametrize("content", [b"", b"\x9f", b"\x7fELF"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "my.btf"
    path.write_bytes(content)

    with pytest.raises(KernelBtfMissingError, match=r"my\.btf is not a BTF file"):
        kernel_btf.find(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KernelBtfMissingError, match=r"none\.btf: No such file"):
        kernel_btf.find(tmp_path / "none.btf")


def test_a_btfhub_directory_is_searched_for_the_running_kernel(tmp_path: Path, os_release: Path) -> None:
    uname = os.uname()
    machine = {"aarch64": "arm64"}.get(uname.machine, uname.machine)
    path = tmp_path / "debian" / "12" / machine / f"{uname.release}.btf"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x9f\xeb")

    assert kernel_btf.find(tmp_path, os_release=os_release) == path


def test_a_btfhub_directory_without_this_kernel_says_which_file_is_missing(
    tmp_path: Path, os_release: Path
) -> None:
    with pytest.raises(KernelBtfMissingError, match=rf"debian/12/.*{os.uname().release}\.btf: No such file"):
        kernel_btf.find(tmp_path, os_release=os_release)


def test_btfhub_has_its_own_name_for_arm() -> None:
    name = kernel_btf.btfhub_name({"ID": "debian", "VERSION_ID": "12"}, UNAME)

    assert name == Path("debian/12/arm64/5.10.0-1-cloud.btf")


def test_an_unknown_system_is_no_reason_to_fail_without_words() -> None:
    with pytest.raises(KernelBtfMissingError, match="os-release has no ID or VERSION_ID"):
        kernel_btf.btfhub_name({}, UNAME)
