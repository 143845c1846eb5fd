"""Reads SeccompProfiles from the cache, writes them to the API, and never reads behind its own writes."""

import msgspec

from spo.api.seccomp_profile import SECCOMP_PROFILES, SeccompProfile, SeccompProfileStatus
from spo.kube.cache import Cache
from spo.kube.client import KubeClient
from spo.kube.retry import retry_on_conflict
from spo.manager.seccomp_profile import FinalizerChange
from spo.names import MANAGER_FIELD_MANAGER

Names = tuple[str, str]


class ProfileStore:
    """Profiles as the manager wants them.

    The cache learns of our own write a moment later. Reconciling from the older state would write the
    same status once more, so what the API returned for a write is preferred until the cache has it.
    """

    def __init__(self, client: KubeClient, cache: Cache[SeccompProfile]) -> None:
        self._client = client
        self._cache = cache
        self._written: dict[Names, SeccompProfile] = {}

    def get(self, namespace: str, name: str) -> SeccompProfile | None:
        """See :class:`spo.manager.seccomp_profile.Profiles`."""
        cached = self._cache.get(namespace, name)
        written = self._written.get((namespace, name))
        if written is None:
            return cached
        if cached is not None and _is_newer(written, cached):
            return written
        del self._written[namespace, name]
        return cached

    async def change_finalizers(self, profile: SeccompProfile, change: FinalizerChange) -> SeccompProfile:
        """See :class:`spo.manager.seccomp_profile.Profiles`."""
        namespace, name = _names(profile)
        newest: SeccompProfile | None = profile

        async def attempt() -> SeccompProfile:
            nonlocal newest
            one = newest or await self._client.get(SECCOMP_PROFILES, name, namespace)
            newest = None  # a conflict means: read again
            if one.metadata.uid != profile.metadata.uid or change(one) == one.metadata.finalizers:
                return one
            version = one.metadata.resource_version
            body = {"metadata": {"finalizers": change(one), "resourceVersion": version}}
            return await self._client.patch(SECCOMP_PROFILES, name, namespace, body)

        return self._note(await retry_on_conflict(attempt))

    async def write_status(self, profile: SeccompProfile, status: SeccompProfileStatus) -> SeccompProfile:
        """See :class:`spo.manager.seccomp_profile.Profiles`."""
        namespace, name = _names(profile)
        # The uid keeps this status away from an object that was made anew under the same name.
        body = {"metadata": {"uid": profile.metadata.uid}, "status": msgspec.to_builtins(status)}
        stored = await self._client.apply(
            SECCOMP_PROFILES,
            body,
            name,
            namespace,
            field_manager=MANAGER_FIELD_MANAGER,
            subresource="status",
        )
        return self._note(stored)

    def _note(self, profile: SeccompProfile) -> SeccompProfile:
        self._written[_names(profile)] = profile
        return profile


def _names(profile: SeccompProfile) -> Names:
    return profile.metadata.namespace or "", profile.metadata.name


def _is_newer(one: SeccompProfile, other: SeccompProfile) -> bool:
    """Versions of one object are decimal numbers that grow; anything else proves nothing."""
    ours, theirs = one.metadata.resource_version, other.metadata.resource_version
    same = one.metadata.uid == other.metadata.uid
    return same and ours.isdecimal() and theirs.isdecimal() and int(ours) > int(theirs)
