"""Numbers and names of the syscalls of every architecture a profile can name.

One generated module per table, loaded on first use: a daemon needs the tables of its own machine only.
Source of the numbers: the kernel's headers, see ``tools/generate_syscall_tables.py``.
"""

import importlib
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Final

from spo.errors import TerminalError

TABLE_OF_ARCHITECTURE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "SCMP_ARCH_AARCH64": "aarch64",
        "SCMP_ARCH_ARM": "arm",
        "SCMP_ARCH_MIPS": "mips_o32",
        "SCMP_ARCH_MIPS64": "mips_n64",
        "SCMP_ARCH_MIPS64N32": "mips_n32",
        "SCMP_ARCH_MIPSEL": "mips_o32",
        "SCMP_ARCH_MIPSEL64": "mips_n64",
        "SCMP_ARCH_MIPSEL64N32": "mips_n32",
        "SCMP_ARCH_PARISC": "parisc",
        "SCMP_ARCH_PARISC64": "parisc64",
        "SCMP_ARCH_PPC": "ppc",
        "SCMP_ARCH_PPC64": "ppc64",
        "SCMP_ARCH_PPC64LE": "ppc64",
        "SCMP_ARCH_RISCV64": "riscv64",
        "SCMP_ARCH_S390": "s390",
        "SCMP_ARCH_S390X": "s390x",
        "SCMP_ARCH_X32": "x32",
        "SCMP_ARCH_X86": "x86",
        "SCMP_ARCH_X86_64": "x86_64",
    }
)
"""``SCMP_ARCH_NATIVE`` is absent: only ``spo.host.libseccomp`` knows the machine."""


class UnknownArchitectureError(TerminalError):
    """An architecture has no syscall table."""

    def __init__(self, architecture: str) -> None:
        super().__init__(architecture)
        self.architecture = architecture

    def __str__(self) -> str:
        return (
            f"{self.architecture} has no syscall table; one of {', '.join(TABLE_OF_ARCHITECTURE)} is needed"
        )


def syscall_names(architecture: str) -> Mapping[int, str]:
    """Number -> name, as the kernel of ``architecture`` counts (x32 with its bit, MIPS with its base).

    Raises:
        UnknownArchitectureError: ``architecture`` is not in ``TABLE_OF_ARCHITECTURE``.
    """
    table = TABLE_OF_ARCHITECTURE.get(architecture)
    if table is None:
        raise UnknownArchitectureError(architecture)
    return _load(table)


@cache
def all_syscall_names() -> frozenset[str]:
    """Every name that is a syscall on some architecture."""
    text: str = importlib.import_module(f"{__name__}.all_names").NAMES
    return frozenset(text.split())


@cache
def _load(table: str) -> Mapping[int, str]:
    text: str = importlib.import_module(f"{__name__}.{table}").TABLE
    return MappingProxyType(dict(_entries(text)))


def _entries(text: str) -> Iterator[tuple[int, str]]:
    """Read lines of a number and the names that follow it without a gap."""
    for line in text.splitlines():
        first, *names = line.split()
        yield from enumerate(names, start=int(first))
