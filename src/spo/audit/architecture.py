"""From the architecture number in a record to the name in a profile."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

X32_BIT: Final = 0x40000000
_X86_64: Final = 0xC000003E

ARCHITECTURES: Final[Mapping[int, str]] = MappingProxyType(
    {
        0x40000003: "SCMP_ARCH_X86",
        _X86_64: "SCMP_ARCH_X86_64",
        0x40000028: "SCMP_ARCH_ARM",
        0xC00000B7: "SCMP_ARCH_AARCH64",
        0x00000008: "SCMP_ARCH_MIPS",
        0x40000008: "SCMP_ARCH_MIPSEL",
        0x80000008: "SCMP_ARCH_MIPS64",
        0xC0000008: "SCMP_ARCH_MIPSEL64",
        0xA0000008: "SCMP_ARCH_MIPS64N32",
        0xE0000008: "SCMP_ARCH_MIPSEL64N32",
        0x0000000F: "SCMP_ARCH_PARISC",
        0x8000000F: "SCMP_ARCH_PARISC64",
        0x00000014: "SCMP_ARCH_PPC",
        0x80000015: "SCMP_ARCH_PPC64",
        0xC0000015: "SCMP_ARCH_PPC64LE",
        0xC00000F3: "SCMP_ARCH_RISCV64",
        0x00000016: "SCMP_ARCH_S390",
        0x80000016: "SCMP_ARCH_S390X",
    }
)
"""linux/audit.h, ``AUDIT_ARCH_*``."""


def architecture_of(architecture: int, number: int) -> str | None:
    """Name of the syscall table that ``number`` counts in; ``None``: not one that a profile can name.

    x32 has no architecture number of its own: bit 30 of the syscall number tells it from x86_64.
    """
    if architecture == _X86_64 and number & X32_BIT:
        return "SCMP_ARCH_X32"
    return ARCHITECTURES.get(architecture)
