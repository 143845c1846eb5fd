"""Which files to look at when something changes: a profile, one of its bases, a pod of this node."""

from collections.abc import Callable, Iterator
from typing import Final

from spo.api.core import Pod
from spo.api.node_status import StatusKey
from spo.api.seccomp_profile import SECCOMP_PROFILES, SeccompProfile
from spo.controller import Request
from spo.daemon.seccomp_profile import profile_key, version_of
from spo.kube.cache import Cache
from spo.kube.errors import UnreadableObjectError
from spo.profiles.file_owner import file_stem, names_of_file
from spo.profiles.paths import ProfileKey, referenced_profiles
from spo.profiles.withheld import withheld

BASE_INDEX: Final = "base"
"""Index of profiles: (namespace, name of the base profile)."""

REFERENCE_INDEX: Final = "reference"
"""Index of the node's pods: the file that one of its containers uses."""

References = tuple[ProfileKey, ...]
"""All that this node keeps of a pod: the files it uses."""


def project_pod(pod: Pod) -> References | None:
    """What to keep of a pod of this node; nothing if it uses no file of ours."""
    return referenced_profiles(pod) or None


def base_of(profile: SeccompProfile) -> tuple[tuple[str, str], ...]:
    """Value of :data:`BASE_INDEX`."""
    base = profile.spec.base_profile_name
    return ((profile.metadata.namespace or "", base),) if base else ()


class Wakeups:
    """Listens to the caches and enqueues the files that may have to change."""

    def __init__(
        self,
        enqueue: Callable[[Request], None],
        profiles: Cache[SeccompProfile],
        has_error: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """Take what it works with.

        Args:
            has_error: whether this node reports an error for the profile with this key of node statuses.
        """
        self._enqueue = enqueue
        self._profiles = profiles
        self._has_error = has_error

    def profile_changed(self, old: SeccompProfile | None, new: SeccompProfile | None) -> None:
        """Listener of the profiles."""
        if old is not None and new is not None and version_of(old) == version_of(new):
            return
        changed = new or old
        if changed is None:
            return
        namespace, name = changed.metadata.namespace or "", changed.metadata.name
        self.file_of(namespace, name)
        if _content(old) != _content(new):
            for user in self._users_of(namespace, name):
                self.file_of(namespace, user)

    def pod_changed(self, old: References | None, new: References | None) -> None:
        """Listener of the node's pods: a file may go when its last user has gone."""
        for file in set(old or ()) - set(new or ()):
            names = names_of_file(file.name)
            wanted = any(self._is_alive(file.namespace, name) for name in names)
            if not wanted or any(self._has_error(profile_key(file.namespace, name)) for name in names):
                self._enqueue(Request(file.namespace, file.name))

    def claimed(self, key: str) -> None:
        """A key of the node status: its object may be gone."""
        about = StatusKey.parse(key)
        if about and about.kind == SECCOMP_PROFILES.kind:
            self.file_of(about.namespace, about.name)

    def all_profiles(self) -> None:
        """The rules for profiles have changed."""
        for profile in self._profiles.list():
            self.file_of(profile.metadata.namespace or "", profile.metadata.name)

    def file_of(self, namespace: str, name: str) -> None:
        """Enqueue the file of an object, whatever happened to it."""
        self._enqueue(Request(namespace, file_stem(name)))

    def _is_alive(self, namespace: str, name: str) -> bool:
        try:
            profile = self._profiles.get(namespace, name)
        except UnreadableObjectError:
            return True
        if profile is None or profile.metadata.deletion_timestamp:
            return False
        return withheld(profile) is None

    def _users_of(self, namespace: str, name: str) -> Iterator[str]:
        """Names of all profiles that build on ``name``, directly or through others."""
        seen = {name}
        waiting = [name]
        while waiting:
            for user in self._profiles.by_index(BASE_INDEX, (namespace, waiting.pop())):
                if user.metadata.name not in seen:
                    seen.add(user.metadata.name)
                    waiting.append(user.metadata.name)
                    yield user.metadata.name


def _content(profile: SeccompProfile | None) -> tuple[str, int] | None:
    return (profile.metadata.uid, profile.metadata.generation) if profile else None
