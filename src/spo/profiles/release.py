"""Conditions of a profile that more than one process reads: ``Ready`` and ``Released``."""

from typing import Final

from spo.api.meta import Condition
from spo.api.seccomp_profile import SeccompProfile

READY: Final = "Ready"
"""The profile is on every node that should have it."""

RELEASED: Final = "Released"
"""Set while a profile is being deleted: whether the nodes may remove its file."""


def find_condition(profile: SeccompProfile, kind: str) -> Condition | None:
    """The condition of this type, if the stored status has it."""
    conditions = profile.status.conditions if profile.status else []
    return next((one for one in conditions if one.type == kind), None)


def is_true(profile: SeccompProfile, kind: str) -> bool:
    """Whether the condition holds for the present generation, not for an older one."""
    found = find_condition(profile, kind)
    return (
        found is not None
        and found.status == "True"
        and found.observed_generation == profile.metadata.generation
    )


def is_released(profile: SeccompProfile) -> bool:
    """Whether the nodes may remove the file, as far as the whole cluster is concerned."""
    return profile.metadata.deletion_timestamp is not None and is_true(profile, RELEASED)
