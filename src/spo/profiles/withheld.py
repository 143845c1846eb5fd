"""Profiles that exist and are not to be on any node."""

from spo.api.node_status import ProfileState
from spo.api.seccomp_profile import SeccompProfile
from spo.names import PARTIAL_LABEL


def is_partial(profile: SeccompProfile) -> bool:
    """Whether a recording is not done with it yet."""
    return profile.metadata.labels.get(PARTIAL_LABEL) == "true"


def withheld(profile: SeccompProfile) -> ProfileState | None:
    """The state of a profile that is not to be installed: disabled, or not whole yet."""
    if profile.spec.disabled:
        return ProfileState.DISABLED
    return ProfileState.PARTIAL if is_partial(profile) else None
