"""What the daemon's caches say about one file of its node."""

from typing import NamedTuple

from spo.api.seccomp_profile import SeccompProfile
from spo.api.spod import SecurityProfilesOperatorDaemon
from spo.daemon.wakeups import REFERENCE_INDEX, References
from spo.kube.informer import Informer
from spo.profiles.allowance import Allowance
from spo.profiles.file_owner import names_of_file
from spo.profiles.paths import ProfileKey


class SpodRules(NamedTuple):
    """The part of a SecurityProfilesOperatorDaemon that decides which profiles are valid."""

    strict_syscalls: bool
    """A syscall that no architecture has makes a profile invalid; otherwise it is a warning."""
    allowance: Allowance | None
    """What profiles may let happen; None: everything."""


def rules_of(spod: SecurityProfilesOperatorDaemon) -> SpodRules:
    """What to keep of the settings."""
    return SpodRules(spod.spec.strict_syscalls, Allowance.of(spod.spec))


class CachedNodeView:
    """See :class:`spo.daemon.seccomp_profile.NodeView`."""

    def __init__(
        self, profiles: Informer[SeccompProfile], pods: Informer[References], rules: Informer[SpodRules]
    ) -> None:
        self._profiles = profiles
        self._pods = pods
        self._rules = rules

    def is_referenced(self, file: ProfileKey) -> bool:
        """See :class:`spo.daemon.seccomp_profile.NodeView`."""
        pods = self._pods.cache
        # A pod that we cannot read may use any file.
        return bool(pods.by_index(REFERENCE_INDEX, file)) or bool(pods.unreadable)

    def is_certain(self, file: ProfileKey) -> bool:
        """See :class:`spo.daemon.seccomp_profile.NodeView`."""
        # Of a profile that cannot be read now the cache may hold an older state.
        unreadable = self._profiles.cache.unreadable
        if any((file.namespace, name) in unreadable for name in names_of_file(file.name)):
            return False
        return self._profiles.last_list_complete and self._pods.last_list_complete

    def is_strict(self) -> bool:
        """See :class:`spo.daemon.seccomp_profile.NodeView`."""
        return any(rules.strict_syscalls for rules in self._rules.cache.list())

    def allowance(self) -> Allowance | None:
        """See :class:`spo.daemon.seccomp_profile.NodeView`."""
        return next((rules.allowance for rules in self._rules.cache.list()), None)
