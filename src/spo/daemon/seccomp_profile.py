"""Make one file below the kubelet's seccomp root equal what the SeccompProfiles of that name want."""

import asyncio
from typing import Final, Protocol

from spo import klog
from spo.api.node_status import ProfileState, StatusKey
from spo.api.seccomp_profile import SECCOMP_PROFILES, SeccompProfile
from spo.controller import DONE, Request, Result
from spo.daemon.node_status import NodeStatusReporter
from spo.errors import SpoError, TerminalError
from spo.host.libseccomp import check_filter
from spo.host.seccomp_dir import CannotRemoveProfileError, SeccompDir
from spo.profiles.allowance import Allowance, ProfileNotAllowedError
from spo.profiles.base import resolve_base
from spo.profiles.file_owner import file_stem, names_of_file, oldest_first
from spo.profiles.merge import merge
from spo.profiles.oci import render
from spo.profiles.paths import ProfileKey, localhost_profile, parse_localhost_profile, path_of
from spo.profiles.release import is_released
from spo.profiles.validation import validate
from spo.profiles.withheld import withheld

log = klog.get("seccomp-spod")

INVALID: Final = "InvalidSeccompProfile"
NOT_ALLOWED: Final = "ProfileNotAllowed"
NOT_SUPPORTED: Final = "SeccompNotSupportedOnNode"
CANNOT_SAVE: Final = "CannotSaveSeccompProfile"
CANNOT_REMOVE: Final = "CannotRemoveSeccompProfile"

LATER: Final = Result(requeue_after=5.0)
"""Look again when the caches may be complete."""


class Profiles(Protocol):
    """The node's copy of all SeccompProfiles it watches."""

    def get(self, namespace: str | None, name: str) -> SeccompProfile | None:
        """One object, ``None`` if it does not exist."""


class NodeView(Protocol):
    """What decides about files, besides the profiles; :class:`spo.daemon.node_view.CachedNodeView`."""

    def is_referenced(self, file: ProfileKey) -> bool:
        """Whether a pod of this node references the file."""

    def is_certain(self, file: ProfileKey) -> bool:
        """Whether what is absent from the caches is absent; before, the file is not removed."""

    def is_strict(self) -> bool:
        """Whether a syscall that no architecture has makes a profile invalid."""

    def allowance(self) -> Allowance | None:
        """What profiles may let happen; ``None``: everything."""


class Announcer(Protocol):
    """Where users hear about it; :class:`spo.daemon.seccomp_events.SeccompProfileEvents` in production."""

    def saved(self, profile: SeccompProfile) -> None:
        """The file has new content."""

    def removed(self) -> None:
        """A file was removed."""

    def failed(self, profile: SeccompProfile | None, reason: str, message: str) -> None:
        """Something went wrong; ``None`` if the object is gone."""


class SeccompProfileReconciler:
    """Brings one file of this node to its wanted state.

    A request names a file (namespace and name without ``.json``), not an object: two objects can share
    it. Level based: looks at the objects, the claims of this node and the disk, never at what happened.
    """

    def __init__(
        self,
        profiles: Profiles,
        view: NodeView,
        reports: NodeStatusReporter,
        seccomp_dir: SeccompDir,
        announcer: Announcer,
        *,
        namespaces: tuple[str, ...] = (),
        unsupported: str = "",
    ) -> None:
        """Take what it works with.

        Args:
            namespaces: the watched ones, empty: all. In others an absent object means nothing.
            unsupported: why this node cannot use seccomp profiles, empty if it can.
        """
        self._profiles = profiles
        self._view = view
        self._reports = reports
        self._dir = seccomp_dir
        self._announcer = announcer
        self._namespaces = namespaces
        self._unsupported = unsupported

    async def reconcile(self, request: Request) -> Result:
        """See :class:`spo.controller.Reconciler`."""
        file = ProfileKey(request.namespace, request.name)
        names = names_of_file(file.name)
        found = [self._profiles.get(file.namespace, name) for name in names]
        objects = oldest_first(one for one in found if one is not None)
        orphaned = [
            key
            for name, one in zip(names, found, strict=True)
            if one is None and self._reports.state(key := profile_key(file.namespace, name))
        ]
        if not objects:
            return await self._remove_orphan(file, orphaned)
        for key in orphaned:
            self._reports.forget(key)  # the file belongs to the object that is left
        owner, *others = objects
        for other in others:
            self._refuse_second(other, owner)
        if owner.metadata.deletion_timestamp:
            return await self._remove(owner, file)
        await self._install(owner)
        return DONE

    async def _install(self, profile: SeccompProfile) -> None:
        if (state := withheld(profile)) is not None:
            await self._withhold(profile, state)
            return
        if self._unsupported:
            self._refuse(profile, NOT_SUPPORTED, f"{NOT_SUPPORTED}: {self._unsupported}")
            return
        try:
            path = localhost_profile(*_names(profile))
            content = await self._render(profile)
        except ProfileNotAllowedError as error:
            await self._disallow(profile, path, error)
            return
        except SpoError as error:
            self._refuse(profile, INVALID, str(error))
            if isinstance(error, TerminalError):
                return
            raise  # nothing wrong with the profile: the node lacks something
        key, generation = key_of(profile), profile.metadata.generation
        await self._reports.claim(key, generation)
        if not self._is_current(profile):
            return  # whatever changed it has queued this file again
        try:
            changed = await asyncio.to_thread(self._dir.write, path, content)
        except (SpoError, OSError) as error:
            self._reports.report(key, ProfileState.ERROR, generation, str(error))
            self._announcer.failed(profile, CANNOT_SAVE, str(error))
            raise
        self._reports.report(key, ProfileState.INSTALLED, generation)
        if changed:
            self._announcer.saved(profile)
            log.info(
                "Reconciled profile from SeccompProfile",
                **{"resource version": profile.metadata.resource_version},
                name=profile.metadata.name,
                namespace=profile.metadata.namespace,
                profile=profile.metadata.name,
            )

    async def _disallow(self, profile: SeccompProfile, path: str, error: ProfileNotAllowedError) -> None:
        """Refuse the profile; what its file says now may be within the limits, or be needed by a pod."""
        problem, allowance = str(error), self._view.allowance()
        content = await asyncio.to_thread(self._dir.read, path)
        if content is not None and not (allowance and allowance.permits_file(content)):
            namespace, name = _names(profile)
            file = ProfileKey(namespace, file_stem(name))
            if self._view.is_referenced(file):
                problem += "; the file of before stays as long as a pod of this node uses it"
            elif self._reports.state(key_of(profile)) is not None:
                await self._remove_file(file)
        self._refuse(profile, NOT_ALLOWED, problem)

    async def _withhold(self, profile: SeccompProfile, state: ProfileState) -> None:
        """Nothing of this profile belongs on a node; a file that a pod uses stays until the pod is gone."""
        namespace, name = _names(profile)
        key, file = key_of(profile), ProfileKey(namespace, file_stem(name))
        if self._reports.state(key) is not None and not self._view.is_referenced(file):
            await self._remove_file(file)
        self._reports.report(key, state, profile.metadata.generation)

    async def _render(self, profile: SeccompProfile) -> bytes:
        """The content of the file, tried out with libseccomp."""
        namespace = profile.metadata.namespace
        chain = resolve_base(profile, lambda name: self._profiles.get(namespace, name))
        spec = merge(chain)
        if (allowance := self._view.allowance()) is not None:
            allowance.check(spec)
        validate(spec, strict_syscalls=self._view.is_strict())
        await asyncio.to_thread(check_filter, spec)
        return render(spec)

    async def _remove(self, profile: SeccompProfile, file: ProfileKey) -> Result:
        key = key_of(profile)
        if self._reports.state(key) is None:
            return DONE  # this node never claimed the file, or has removed it
        if self._view.is_referenced(file) or not is_released(profile):
            self._reports.report(key, ProfileState.TERMINATING, profile.metadata.generation)
            return DONE
        if not self._view.is_certain(file):
            return LATER
        try:
            await self._remove_file(file)
        except (SpoError, OSError) as error:
            self._reports.report(key, ProfileState.ERROR, profile.metadata.generation, str(error))
            self._announcer.failed(profile, CANNOT_REMOVE, str(error))
            raise
        self._reports.forget(key)
        return DONE

    async def _remove_orphan(self, file: ProfileKey, claims: list[str]) -> Result:
        """Remove a file that this node once claimed and whose objects are gone."""
        if not claims or (self._namespaces and file.namespace not in self._namespaces):
            return DONE
        if self._view.is_referenced(file):
            for key in claims:
                known = self._reports.state(key)
                self._reports.report(key, ProfileState.TERMINATING, known.generation if known else 0)
            return DONE
        if not self._view.is_certain(file):
            return LATER
        try:
            await self._remove_file(file)
        except (SpoError, OSError) as error:
            self._announcer.failed(None, CANNOT_REMOVE, str(error))
            raise
        for key in claims:
            self._reports.forget(key)
        return DONE

    async def _remove_file(self, file: ProfileKey) -> None:
        path = path_of(file)
        if parse_localhost_profile(path) != file:
            return  # no file can have this name, so there is none
        try:
            removed = await asyncio.to_thread(self._dir.remove, path)
        except CannotRemoveProfileError as error:
            if isinstance(error.__cause__, IsADirectoryError):
                return  # somebody's directory; no file of ours can be there
            raise
        if removed:
            self._announcer.removed()
            log.info("Removed profile from disk", name=file.name, namespace=file.namespace)

    def _refuse_second(self, profile: SeccompProfile, owner: SeccompProfile) -> None:
        if profile.metadata.deletion_timestamp:
            self._reports.forget(key_of(profile))  # it owns no file that would have to go first
            return
        message = (
            f"PathConflict: the file of this profile belongs to the older SeccompProfile "
            f"{owner.metadata.name}; delete one of the two"
        )
        self._refuse(profile, INVALID, message)

    def _refuse(self, profile: SeccompProfile, reason: str, message: str) -> None:
        """Nothing can be written for this object; a good file from before stays."""
        news = self._reports.report(key_of(profile), ProfileState.ERROR, profile.metadata.generation, message)
        if news:
            self._announcer.failed(profile, reason, message)
            log.warning(
                "Profile not added",
                name=profile.metadata.name,
                namespace=profile.metadata.namespace,
                problem=message,
            )

    def _is_current(self, profile: SeccompProfile) -> bool:
        """Whether the object is still wanted as it was read."""
        now = self._profiles.get(*_names(profile))
        return now is not None and version_of(now) == version_of(profile)


def profile_key(namespace: str, name: str) -> str:
    """Key of a SeccompProfile in node statuses."""
    return str(StatusKey(SECCOMP_PROFILES.kind, namespace, name))


def key_of(profile: SeccompProfile) -> str:
    """Key of this object in node statuses."""
    return profile_key(*_names(profile))


def version_of(profile: SeccompProfile) -> tuple[object, ...]:
    """What of an object matters to this node; status changes, but ``Released``, do not."""
    metadata = profile.metadata
    return (
        metadata.uid,
        metadata.generation,
        metadata.deletion_timestamp,
        is_released(profile),
        withheld(profile),
    )


def _names(profile: SeccompProfile) -> tuple[str, str]:
    return profile.metadata.namespace or "", profile.metadata.name
