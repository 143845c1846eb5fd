"""The generated tables: spot checks against the ABI documents, and their shape."""

import subprocess
import sys

import pytest

from spo.api.seccomp_profile import Architecture
from spo.profiles.syscall_tables import (
    TABLE_OF_ARCHITECTURE,
    UnknownArchitectureError,
    all_syscall_names,
    syscall_names,
)

X32_BIT = 0x40000000


@pytest.mark.parametrize(
    ("architecture", "number", "name"),
    [
        ("SCMP_ARCH_X86_64", 0, "read"),
        ("SCMP_ARCH_X86_64", 257, "openat"),
        ("SCMP_ARCH_X86_64", 451, "cachestat"),
        ("SCMP_ARCH_X86", 102, "socketcall"),
        ("SCMP_ARCH_X86", 117, "ipc"),
        ("SCMP_ARCH_X32", X32_BIT + 512, "rt_sigaction"),
        ("SCMP_ARCH_ARM", 0x0F0005, "set_tls"),
        ("SCMP_ARCH_ARM", 0x0F0002, "cacheflush"),
        ("SCMP_ARCH_AARCH64", 56, "openat"),
        ("SCMP_ARCH_RISCV64", 258, "riscv_hwprobe"),
        ("SCMP_ARCH_RISCV64", 259, "riscv_flush_icache"),
        ("SCMP_ARCH_MIPS", 4001, "exit"),
        ("SCMP_ARCH_MIPSEL64", 5000, "read"),
        ("SCMP_ARCH_MIPS64N32", 6000, "read"),
        ("SCMP_ARCH_MIPSEL", 4468, "file_getattr"),
        ("SCMP_ARCH_PPC64LE", 117, "ipc"),
        ("SCMP_ARCH_S390X", 447, "memfd_secret"),
        ("SCMP_ARCH_PARISC", 356, "cacheflush"),
    ],
)
def test_known_numbers(architecture: str, number: int, name: str) -> None:
    assert syscall_names(architecture)[number] == name


@pytest.mark.parametrize("architecture", TABLE_OF_ARCHITECTURE)
def test_every_table_is_complete_in_itself(architecture: str) -> None:
    table = syscall_names(architecture)
    assert len(table) > 300
    assert len(set(table.values())) == len(table)
    assert list(table) == sorted(table)
    assert set(table.values()) <= all_syscall_names()
    assert {"read", "execve", "exit_group", "mseal"} <= set(table.values())


def test_every_architecture_of_the_api_has_a_table() -> None:
    assert {*TABLE_OF_ARCHITECTURE, "SCMP_ARCH_NATIVE"} == {str(word) for word in Architecture}


def test_names_are_plain_words() -> None:
    assert all(name.isidentifier() and name.islower() for name in all_syscall_names())
    assert not {"syscalls", "arch_specific_syscall", "unused150"} & all_syscall_names()


@pytest.mark.parametrize("architecture", ["SCMP_ARCH_NATIVE", "x86_64", ""])
def test_an_unknown_architecture_is_an_error(architecture: str) -> None:
    with pytest.raises(UnknownArchitectureError, match="has no syscall table"):
        syscall_names(architecture)


def test_one_table_loads_no_other() -> None:
    script = (
        "import sys; from spo.profiles.syscall_tables import syscall_names;"
        "syscall_names('SCMP_ARCH_X86_64');"
        "print([name for name in sorted(sys.modules) if name.startswith('spo.profiles.syscall_tables.')])"
    )
    done = subprocess.run((sys.executable, "-c", script), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['spo.profiles.syscall_tables.x86_64']"
