"""Writes merged profiles, and removes what has gone into them."""

import contextlib
from collections.abc import Sequence
from typing import Final

from spo import klog
from spo.api.profile_recording import PROFILE_RECORDINGS, ProfileRecording
from spo.api.seccomp_profile import SECCOMP_PROFILES, SeccompProfile
from spo.errors import SpoError, TerminalError
from spo.kube.client import KubeClient
from spo.kube.errors import AlreadyExistsError, ConflictError, NotFoundError
from spo.kube.events import WARNING, EventRecorder, reference
from spo.recording.merged import by_container, merged, same_content
from spo.recording.recorded_profile import Origin, Relation, patch_of, relation, replacement

log = klog.get("policymerger")

CANNOT_MERGE: Final = "CannotCreateUpdateMergedProfile"
ATTEMPTS: Final = 5


class NotOursError(TerminalError):
    """The name of the merged profile is taken."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"SeccompProfile {self.name} exists and was not recorded; the profiles of single pods stay "
            "unmerged: delete it or rename the recording"
        )


class ContendedError(SpoError):
    """Others changed the profile again and again."""


class Merger:
    """Merging is repeated with every change: it writes nothing that is there already."""

    def __init__(self, client: KubeClient, events: EventRecorder) -> None:
        self._client = client
        self._events = events

    async def merge(
        self, recording: ProfileRecording, partials: Sequence[SeccompProfile]
    ) -> list[SeccompProfile]:
        """Make one profile for each container.

        Returns:
            The partial profiles that are in one now; users were told of the others.
        """
        done: list[SeccompProfile] = []
        for container, of_container in by_container(partials).items():
            origin = Origin(recording.metadata.name, container, "", "", numbered=False)
            try:
                wanted = merged(origin.base_name, of_container)
                await self._store(origin, wanted)
            except TerminalError as error:
                self._events.event(
                    reference(PROFILE_RECORDINGS, recording), WARNING, CANNOT_MERGE, str(error)
                )
            else:
                done += of_container
        return done

    async def remove(self, partials: Sequence[SeccompProfile]) -> None:
        """Delete profiles of single pods."""
        for one in partials:
            metadata = one.metadata
            with contextlib.suppress(NotFoundError):
                await self._client.delete(
                    SECCOMP_PROFILES, metadata.name, metadata.namespace, uid=metadata.uid
                )

    async def _store(self, origin: Origin, wanted: SeccompProfile) -> None:
        name, namespace = wanted.metadata.name, wanted.metadata.namespace
        for _ in range(ATTEMPTS):
            try:
                present = await self._client.get(SECCOMP_PROFILES, name, namespace)
                if relation(present, origin) is Relation.FOREIGN:
                    raise NotOursError(name)
                content = replacement(present, wanted, add_only=False)
                if same_content(present, content):
                    return
                patch = patch_of(present, content)
                await self._client.patch(SECCOMP_PROFILES, name, namespace, patch)
            except NotFoundError:
                with contextlib.suppress(AlreadyExistsError):
                    await self._client.create(SECCOMP_PROFILES, wanted, namespace)
                    log.info("Created merged profile", name=name, namespace=namespace)
                    return
            except ConflictError:
                continue
            else:
                log.info("Updated merged profile", name=name, namespace=namespace)
                return
        raise ContendedError(f"SeccompProfile {name} is being changed by others")
