"""The structs of bpf/recorder.h for ctypes. A test compares them with the BTF of the built object."""

import ctypes
from typing import Final

from spo.bpf.observation import MAX_SYSCALLS, Observation, Phase, SyscallClass

BITMAP_BYTES: Final = MAX_SYSCALLS // 8
CGROUP_NAMES: Final = 6
CGROUP_NAME_BYTES: Final = 160
COMM_BYTES: Final = 16
TREE_KEY: Final = 2**64 - 1
"""The key of the tree of processes; no namespace has it."""
IDENTIFIED_AT_FIRST_EXEC: Final = 1

_Bitmap = ctypes.c_uint8 * BITMAP_BYTES


class Recording(ctypes.Structure):
    """``struct recording``: what was seen in one mount namespace, or in the tree."""

    _fields_ = (
        ("bits", (_Bitmap * len(Phase)) * len(SyscallClass)),
        ("inode", ctypes.c_uint32),
        ("ignored", ctypes.c_uint8),
        ("late", ctypes.c_uint8),
        ("exec_seen", ctypes.c_uint8),
        ("unused", ctypes.c_uint8),
    )

    def observation(self) -> Observation:
        """The numbers of the bits that are set."""
        return Observation.from_bitmaps(
            {(cls, phase): bytes(self.bits[cls][phase]) for cls in SyscallClass for phase in Phase}
        )


class Process(ctypes.Structure):
    """``struct process``: what is known of one thread group."""

    _fields_ = (
        ("program_key", ctypes.c_uint64),
        ("filtered_key", ctypes.c_uint64),
        ("in_tree", ctypes.c_uint64),
    )


class Identification(ctypes.Structure):
    """``struct identification``: one message of the ring buffer."""

    _fields_ = (
        ("key", ctypes.c_uint64),
        ("inode", ctypes.c_uint32),
        ("pid", ctypes.c_uint32),
        ("kind", ctypes.c_uint32),
        ("cgroup_names", ctypes.c_uint32),
        ("comm", ctypes.c_char * COMM_BYTES),
        ("cgroups", (ctypes.c_char * CGROUP_NAME_BYTES) * CGROUP_NAMES),
    )


class State(ctypes.Structure):
    """``struct recorder_state``: the global variable, mapped into our memory."""

    _fields_ = (
        ("attached_at", ctypes.c_uint64),
        ("generation", ctypes.c_uint32),
        ("probe_pid", ctypes.c_uint32),
        ("record_namespaces", ctypes.c_uint32),
        ("record_tree", ctypes.c_uint32),
        ("own_namespace", ctypes.c_uint64),
        ("host_namespace", ctypes.c_uint64),
        ("ready", ctypes.c_uint32),
        ("unused", ctypes.c_uint32),
        ("lost_recordings", ctypes.c_uint64),
        ("lost_processes", ctypes.c_uint64),
        ("lost_identifications", ctypes.c_uint64),
        ("unknown_numbers", ctypes.c_uint64),
    )
