"""Finalizers and status of one SeccompProfile: reads caches, asks pure functions, writes what differs."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from spo.api.node_status import StatusKey
from spo.api.seccomp_profile import SECCOMP_PROFILES, SeccompProfile, SeccompProfileStatus
from spo.controller import DONE, Request, Result
from spo.kube.clock import Clock, format_time
from spo.kube.errors import NotFoundError
from spo.manager.aggregation import Observation, is_pressing, next_status
from spo.manager.cluster_view import ClusterView
from spo.manager.finalizers import wanted_finalizers
from spo.profiles.file_owner import file_stem, names_of_file, oldest_first
from spo.profiles.paths import ProfileKey
from spo.profiles.release import is_released
from spo.profiles.validation import InvalidProfileError, validate

PROGRESS_DELAY_S: Final = 2.0
"""How long mere progress (see ``is_pressing``) waits for something that is worth a write."""

RECHECK_S: Final = 5.0
"""When to list pods again after the last list knew a user of the profile that our cache does not know."""

FinalizerChange = Callable[[SeccompProfile], list[str]]
"""The finalizers that an object should have; called again with the newer object after a conflict."""


class Profiles(Protocol):
    """The profiles, and writes to them; :class:`spo.manager.profile_store.ProfileStore` in production."""

    def get(self, namespace: str, name: str) -> SeccompProfile | None:
        """The newest state we know, our own writes included."""

    async def change_finalizers(self, profile: SeccompProfile, change: FinalizerChange) -> SeccompProfile:
        """Store other finalizers; returns the stored object."""

    async def write_status(self, profile: SeccompProfile, status: SeccompProfileStatus) -> SeccompProfile:
        """Store the status; returns the stored object."""


class SeccompProfileReconciler:
    """The only writer of the status and finalizers of SeccompProfiles."""

    def __init__(
        self,
        profiles: Profiles,
        view: ClusterView,
        references_after_now: Callable[[], Awaitable[frozenset[ProfileKey]]],
        clock: Clock,
    ) -> None:
        self._profiles = profiles
        self._view = view
        self._references_after_now = references_after_now
        self._clock = clock
        self._progress_due: dict[Request, float] = {}

    async def reconcile(self, request: Request) -> Result:
        """See :class:`spo.controller.Reconciler`."""
        profile = self._profiles.get(request.namespace, request.name)
        if profile is None:
            self._progress_due.pop(request, None)
            return DONE
        try:
            if profile.metadata.deletion_timestamp:
                return await self._release(request, profile)
            return await self._keep(request, profile)
        except NotFoundError:
            return DONE  # gone since it was read

    async def _keep(self, request: Request, profile: SeccompProfile) -> Result:
        users = self._users(profile)
        in_use = bool(users)
        profile = await self._set_finalizers(
            profile, lambda one: wanted_finalizers(one, in_use=in_use, on_nodes=True, released=False)
        )
        return await self._set_status(request, profile, users, released=False)

    async def _release(self, request: Request, profile: SeccompProfile) -> Result:
        users = self._users(profile)
        nodes = self._view.living_nodes_with(_key(profile))
        released = not users and await self._is_unused(profile, nodes)
        recheck_s = None if users or released else RECHECK_S
        if nodes or users:
            result = await self._set_status(request, profile, users, released=released)
            waits = (result.requeue_after, recheck_s, self._view.next_gone_in_s(nodes))
            result = Result(min((wait for wait in waits if wait is not None), default=None))
        else:
            result = DONE  # it goes now: nobody would read the status
        await self._set_finalizers(
            self._profiles.get(*request) or profile,
            lambda one: wanted_finalizers(one, in_use=bool(users), on_nodes=bool(nodes), released=released),
        )
        return result

    async def _is_unused(self, profile: SeccompProfile, nodes: Sequence[str]) -> bool:
        """Whether no pod that was created before the deletion was seen references the profile."""
        if not nodes or is_released(profile):
            return True
        return _file(profile) not in await self._references_after_now()

    def _users(self, profile: SeccompProfile) -> list[str]:
        """Pods that use the profile; an object whose path belongs to an older one is used by nobody."""
        file = _file(profile)
        objects = (self._profiles.get(file.namespace, name) for name in names_of_file(file.name))
        owner = oldest_first(one for one in objects if one is not None)[:1]
        if owner and owner[0].metadata.name != profile.metadata.name:
            return []
        return self._view.workloads(file)

    async def _set_finalizers(self, profile: SeccompProfile, change: FinalizerChange) -> SeccompProfile:
        if change(profile) == profile.metadata.finalizers:
            return profile
        return await self._profiles.change_finalizers(profile, change)

    async def _set_status(
        self, request: Request, profile: SeccompProfile, users: Sequence[str], *, released: bool
    ) -> Result:
        seen = Observation(
            nodes=self._view.states(_key(profile)),
            workloads=users,
            released=released,
            warnings=_warnings(profile),
        )
        wanted = next_status(profile, seen, format_time(self._clock.now()))
        wait_s = self._wait_s(request, profile.status, wanted)
        if wait_s is not None:
            return Result(wait_s)
        if wanted != profile.status:
            await self._profiles.write_status(profile, wanted)
        return DONE

    def _wait_s(
        self, request: Request, present: SeccompProfileStatus | None, wanted: SeccompProfileStatus
    ) -> float | None:
        """How long this status may wait for company, ``None`` if it need not."""
        if wanted == present or is_pressing(present, wanted):
            self._progress_due.pop(request, None)
            return None
        now = self._clock.monotonic()
        due = self._progress_due.setdefault(request, now + PROGRESS_DELAY_S)
        if due <= now:
            del self._progress_due[request]
            return None
        return due - now


def _key(profile: SeccompProfile) -> str:
    return str(StatusKey(SECCOMP_PROFILES.kind, profile.metadata.namespace or "", profile.metadata.name))


def _file(profile: SeccompProfile) -> ProfileKey:
    return ProfileKey(profile.metadata.namespace or "", file_stem(profile.metadata.name))


def _warnings(profile: SeccompProfile) -> tuple[str, ...]:
    try:
        return validate(profile.spec)
    except InvalidProfileError:
        return ()  # the nodes report it as their error
