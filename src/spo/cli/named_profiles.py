"""Profiles by file name, or by the name of the containers' default."""

import platform
from typing import Final

from spo.api.meta import ObjectMeta
from spo.api.seccomp_profile import SeccompProfile
from spo.cli.profile_files import ProfileFile, ProfileFileError, read_profile
from spo.recording.profile import ARCHITECTURES
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
    machine = platform.machine()
    for known in ARCHITECTURES:
        if known == machine:
            metadata = ObjectMeta(name="runtime-default")
            return ProfileFile(
                SeccompProfile(metadata=metadata, spec=runtime_default(known)), "raw-seccomp", ()
            )
    raise ProfileFileError(name, f"the default profile of {machine} is not known; use a file")
