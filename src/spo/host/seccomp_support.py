"""Whether the running kernel can filter syscalls."""

import ctypes
import errno
from typing import Final

PR_SET_SECCOMP: Final = 22
"""linux/prctl.h"""
SECCOMP_MODE_FILTER: Final = 2
"""linux/seccomp.h"""


def seccomp_supported() -> bool:
    """Offer the kernel no filter at all: one that knows seccomp complains about the address (EFAULT)."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)
    if prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, 0, 0, 0) == 0:
        return True
    return ctypes.get_errno() != errno.EINVAL
