"""Base profiles: the profiles a profile is built upon, nearest first."""

from collections.abc import Callable
from typing import Final

from spo.api.seccomp_profile import SeccompProfile
from spo.errors import TerminalError

MAX_DEPTH: Final = 15
"""How many base profiles may follow one another."""


class BaseProfileNotFoundError(TerminalError):
    """A base profile does not exist (yet): its appearance queues the profile again."""

    def __init__(self, profile: str, base: str, namespace: str) -> None:
        super().__init__(profile, base, namespace)
        self.profile = profile
        self.base = base
        self.namespace = namespace

    def __str__(self) -> str:
        return (
            f"base profile {self.base!r} of profile {self.profile!r} not found: create a SeccompProfile "
            f"with this name in namespace {self.namespace!r}, or correct baseProfileName"
        )


class BaseProfileCycleError(TerminalError):
    """A profile is, over some steps, its own base."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(names)
        self.names = names

    def __str__(self) -> str:
        way = " -> ".join(self.names)
        return f"base profiles form a cycle: {way}; remove baseProfileName from one of them"


class BaseProfileDepthError(TerminalError):
    """Too many base profiles follow one another."""

    def __init__(self, profile: str) -> None:
        super().__init__(profile)
        self.profile = profile

    def __str__(self) -> str:
        return (
            f"profile {self.profile!r} has more than {MAX_DEPTH} base profiles upon one another; "
            "merge some of them into one"
        )


def resolve_base(
    profile: SeccompProfile, lookup: Callable[[str], SeccompProfile | None]
) -> tuple[SeccompProfile, ...]:
    """The profile, its base, the base of this one and so on.

    Args:
        profile: where to begin.
        lookup: finds a SeccompProfile of the same namespace by name.

    Returns:
        Nearest first; a profile without a base alone.

    Raises:
        BaseProfileNotFoundError, BaseProfileCycleError, BaseProfileDepthError: the chain has no good end.
    """
    chain = [profile]
    names = [profile.metadata.name]
    while base_name := chain[-1].spec.base_profile_name:
        if base_name in names:
            raise BaseProfileCycleError((*names[names.index(base_name) :], base_name))
        if len(chain) > MAX_DEPTH:
            raise BaseProfileDepthError(profile.metadata.name)
        base = lookup(base_name)
        if base is None:
            raise BaseProfileNotFoundError(names[-1], base_name, profile.metadata.namespace or "")
        chain.append(base)
        names.append(base_name)
    return tuple(chain)
