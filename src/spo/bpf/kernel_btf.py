"""Find the BTF of the running kernel: its own, a file, or a directory in the layout of BTFHub."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from spo.bpf.errors import KernelBtfMissingError

SYSTEM_BTF: Final = Path("/sys/kernel/btf/vmlinux")
OS_RELEASE: Final = Path("/etc/os-release")
_MAGIC: Final = (b"\x9f\xeb", b"\xeb\x9f")
# BTFHub writes machine names its own way.
_BTFHUB_MACHINES: Final = {"aarch64": "arm64"}


def find(btf: Path | None, *, system: Path = SYSTEM_BTF, os_release: Path = OS_RELEASE) -> Path | None:
    """Where the types of this kernel are described; None: in the kernel itself.

    Args:
        btf: a BTF file, or a directory ``<os>/<version>/<arch>/<kernel>.btf``; None: the kernel must have it.

    Raises:
        KernelBtfMissingError: there is none, with the place that was looked at.
    """
    if btf is None:
        if not system.exists():
            raise KernelBtfMissingError(f"{system} is absent")
        return None
    candidate = btf / btfhub_name(_release(os_release), os.uname()) if btf.is_dir() else btf
    try:
        with candidate.open("rb") as file:
            magic = file.read(2)
    except OSError as error:
        raise KernelBtfMissingError(f"{candidate}: {error.strerror}") from error
    if magic not in _MAGIC:
        raise KernelBtfMissingError(f"{candidate} is not a BTF file")
    return candidate


def btfhub_name(release: Mapping[str, str], uname: os.uname_result) -> Path:
    """``<os>/<version>/<arch>/<kernel>.btf``, as BTFHub lays out its archive.

    Raises:
        KernelBtfMissingError: os-release does not name the system.
    """
    if not release.get("ID") or not release.get("VERSION_ID"):
        raise KernelBtfMissingError("os-release has no ID or VERSION_ID, which a BTFHub directory needs")
    machine = _BTFHUB_MACHINES.get(uname.machine, uname.machine)
    return Path(release["ID"], release["VERSION_ID"], machine, f"{uname.release}.btf")


def _release(path: Path) -> dict[str, str]:
    """The assignments of os-release; empty when it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}
