"""Profiles by file name, or by the name of the containers' default."""

import platform
from typing import Final

from spo.api.meta import ObjectMeta
from spo.api.seccomp_profile import Architecture, SeccompProfile
from spo.bpf.observation import SyscallClass
from spo.cli.profile_files import ProfileFile, ProfileFileError, read_profile
from spo.recording.profile import ARCHITECTURES, Machine
from spo.recording.runtime_default import runtime_default

RUNTIME_DEFAULT: Final = "RuntimeDefault"
"""As pods name it."""


def read_named_profile(name: str) -> ProfileFile:
    """The default profile of this machine for ``RuntimeDefault``, otherwise the profile in a file.

    Raises:
        ProfileFileError: as for ``read_profile``; or the default of this machine is not known.
    """
    if name != RUNTIME_DEFAULT:
        return read_profile(name)
    machine = this_machine()
    if machine is None:
        problem = f"the default profile of {platform.machine()} is not known; use a file"
        raise ProfileFileError(name, problem)
    profile = SeccompProfile(metadata=ObjectMeta(name="runtime-default"), spec=runtime_default(machine))
    return ProfileFile(profile, "raw-seccomp", ())


def this_machine() -> Machine | None:
    """The machine that runs this; ``None`` if its syscalls cannot be recorded."""
    name = platform.machine()
    return next((machine for machine in ARCHITECTURES if machine == name), None)


def native_architecture() -> Architecture | None:
    """What calls of this machine's own programs belong to, as far as it is known."""
    machine = this_machine()
    return None if machine is None else ARCHITECTURES[machine][SyscallClass.NATIVE]
