"""Which syscalls profiles may let happen at all, by the settings of the operator."""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple, Protocol, Self

import msgspec

from spo.api.spod import ALLOWABLE_ACTIONS, SpodSpec
from spo.errors import TerminalError
from spo.profiles.oci import OciProfile

MAX_NAMES_SHOWN: Final = 10


class ProfileNotAllowedError(TerminalError):
    """A profile lets more happen than the settings of the operator allow."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return self.problem


class _Rule(Protocol):
    @property
    def names(self) -> Sequence[str]: ...
    @property
    def action(self) -> str: ...


class _Profile(Protocol):
    @property
    def default_action(self) -> str: ...
    @property
    def syscalls(self) -> Sequence[_Rule]: ...


class Allowance(NamedTuple):
    """``allowedSyscalls`` and ``allowedSeccompActions`` of a SecurityProfilesOperatorDaemon."""

    syscalls: frozenset[str]
    actions: frozenset[str]
    """Actions that may name these syscalls and no others, nor be the default."""

    @classmethod
    def of(cls, spec: SpodSpec) -> Self | None:
        """What the settings allow; None: everything."""
        if not spec.allowed_syscalls:
            return None
        return cls(
            frozenset(spec.allowed_syscalls),
            frozenset(str(action) for action in spec.allowed_seccomp_actions or ALLOWABLE_ACTIONS),
        )

    def check(self, profile: _Profile) -> None:
        """Look at a profile into which its base profiles were merged.

        Raises:
            ProfileNotAllowedError: names the action or the syscalls.
        """
        if profile.default_action in self.actions:
            raise ProfileNotAllowedError(
                f"seccomp profile not allowed: defaultAction {profile.default_action} is for every syscall, "
                "and allowedSyscalls of the spod are some; use another defaultAction, such as SCMP_ACT_ERRNO"
            )
        beyond = {
            (name, rule.action)
            for rule in profile.syscalls
            if rule.action in self.actions
            for name in rule.names
            if name not in self.syscalls
        }
        if beyond:
            action = min(action for _, action in beyond)
            names = sorted(name for name, its_action in beyond if its_action == action)
            raise ProfileNotAllowedError(
                f"syscall not allowed: {_shown(names)} ({action}); allowedSyscalls of the spod name none of "
                "these; remove them from the profile and its base profiles, or have them added there"
            )

    def permits_file(self, content: bytes) -> bool:
        """Whether what a file of ours says is allowed; what cannot be read is not."""
        try:
            self.check(_DECODER.decode(content))
        except (msgspec.MsgspecError, UnicodeDecodeError, ProfileNotAllowedError):
            return False
        return True


_DECODER: Final = msgspec.json.Decoder(OciProfile)


def _shown(names: Collection[str]) -> str:
    listed = ", ".join(list(names)[:MAX_NAMES_SHOWN])
    more = len(names) - MAX_NAMES_SHOWN
    return listed + (f" and {more} more" if more > 0 else "")
