"""Writes recorded profiles: finds the name, never touches what is not the recording's own."""

from typing import Final

import msgspec

from spo import klog
from spo.api.core import ObjectReference
from spo.api.meta import ObjectMeta
from spo.api.profile_recording import PROFILE_RECORDINGS
from spo.api.seccomp_profile import SECCOMP_PROFILES, SeccompProfile
from spo.bpf.observation import Observation
from spo.daemon.metrics_recording import RecordingMetrics
from spo.daemon.recording.tracking import TrackedContainer, TrackedPod
from spo.errors import SpoError, TerminalError
from spo.kube.cache import Cache
from spo.kube.client import KubeClient
from spo.kube.errors import AlreadyExistsError, ConflictError, NotFoundError
from spo.kube.events import NORMAL, WARNING, EventRecorder, reference
from spo.names import (
    PARTIAL_LABEL,
    RECORDED_UNDER_ANNOTATION,
    RECORDING_LATE_ANNOTATION,
    RECORDING_LOST_ANNOTATION,
    SNAPSHOT_OF_ANNOTATION,
)
from spo.profiles.withheld import is_partial
from spo.recording.profile import Machine, profile_of, warnings_of
from spo.recording.recorded_profile import (
    TRUE,
    Origin,
    Relation,
    first_number,
    number_in,
    patch_of,
    relation,
    replacement,
)
from spo.recording.runtime_base import base_of
from spo.rpc.bpf_recorder import Observed

log = klog.get("recorder-spod")

CREATED: Final = "SeccompProfileCreated"
CANNOT_CREATE: Final = "CannotCreateSeccompProfile"
ATTEMPTS: Final = 500
"""Names tried, and conflicts met, before the work queue begins again."""


class ForeignProfileError(TerminalError):
    """The name that a recording needs is taken by a profile that it did not make."""

    def __init__(self, name: str, recording: str) -> None:
        super().__init__(name, recording)
        self.name = name
        self.recording = recording

    def __str__(self) -> str:
        return (
            f"SeccompProfile {self.name} exists and was not made by ProfileRecording {self.recording} from "
            "this container; delete the profile or rename the recording"
        )


class BusyNameError(SpoError):
    """The name is not to be had now."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"SeccompProfile {self.name} is being deleted or changed by others"


class Collector:
    """The only place of the daemon that writes profiles."""

    def __init__(
        self,
        client: KubeClient,
        profiles: Cache[SeccompProfile],
        events: EventRecorder,
        machine: Machine,
        metrics: RecordingMetrics | None = None,
    ) -> None:
        """Take what it works with; ``profiles`` may lag behind."""
        self._metrics = metrics
        self._client = client
        self._profiles = profiles
        self._events = events
        self._machine = machine

    async def write(
        self, pod: TrackedPod, container: TrackedContainer, seen: Observation, lost: int, snapshot: str = ""
    ) -> None:
        """Store what was seen of a container as its profile.

        Args:
            lost: observations lost meanwhile.
            snapshot: the snapshot it is for; empty: the container has ended.

        Raises:
            ForeignProfileError: the name is taken; users were told.
            NotMergeableError, AnnotationError: the present profile is in use, and cannot be added to.
            BusyNameError, KubeError: try again.
        """
        origin = Origin(
            container.recording,
            container.name,
            pod.uid,
            pod.owner_uid,
            numbered=pod.generated or bool(pod.owner_uid) or container.partial,
            partial=container.partial,
        )
        wanted = self._wanted(pod, container, seen, lost, snapshot)
        try:
            stored = await self._store(pod.namespace, origin, wanted)
        except TerminalError as error:
            about = ObjectReference(
                api_version=PROFILE_RECORDINGS.api_version,
                kind=PROFILE_RECORDINGS.kind,
                name=container.recording,
                namespace=pod.namespace,
            )
            self._events.event(about, WARNING, CANNOT_CREATE, str(error))
            raise
        if self._metrics is not None and not snapshot:
            self._metrics.lost(lost)
        about = reference(SECCOMP_PROFILES, stored)
        self._events.event(about, NORMAL, CREATED, "seccomp profile created")
        for warning in warnings_of(seen, self._machine):
            self._events.event(about, WARNING, "RecordedProfile", warning)
        log.info(
            "Collected profile",
            profile=stored.metadata.name,
            namespace=pod.namespace,
            pod=pod.name,
            container=container.name,
            lost=lost,
            snapshot=snapshot,
        )

    def count(self, container: TrackedContainer, observed: Observed) -> None:
        """Tell the metrics what an instance of a container did that has ended."""
        if self._metrics is not None:
            calls = {(one.syscall_class, number) for one in observed.seen for number in one.numbers}
            self._metrics.recorded(observed.key, f"{container.recording}-{container.name}", len(calls))

    def _wanted(
        self, pod: TrackedPod, container: TrackedContainer, seen: Observation, lost: int, snapshot: str
    ) -> SeccompProfile:
        """The profile, but for its name and the labels of its origin."""
        base = base_of(
            seen,
            self._machine,
            runtime=pod.runtime or None,
            no_new_privileges=container.no_new_privileges,
        )
        profile = profile_of("", seen, self._machine, base=base)
        about = {RECORDING_LOST_ANNOTATION: str(lost)}
        if container.late:
            about[RECORDING_LATE_ANNOTATION] = TRUE
        if container.profile:
            about[RECORDED_UNDER_ANNOTATION] = container.profile
        if snapshot:
            about[SNAPSHOT_OF_ANNOTATION] = snapshot
        metadata = ObjectMeta(annotations={**profile.metadata.annotations, **about})
        spec = msgspec.structs.replace(profile.spec, disabled=container.disabled)
        return msgspec.structs.replace(profile, metadata=metadata, spec=spec)

    async def _store(self, namespace: str, origin: Origin, wanted: SeccompProfile) -> SeccompProfile:
        found = self._known_numbers(namespace, origin) if origin.numbered else {}
        name = origin.base_name
        for _ in range(ATTEMPTS):
            number = first_number(found)
            if origin.numbered:
                name = f"{origin.base_name}-{number}"
            try:
                return await self._client.create(SECCOMP_PROFILES, _named(wanted, namespace, name, origin))
            except AlreadyExistsError:
                pass
            try:
                present = await self._client.get(SECCOMP_PROFILES, name, namespace)
                found[number] = what = _standing(present, origin)
                if what in {Relation.OWN, Relation.EARLIER}:
                    return await self._replace(present, _named(wanted, namespace, name, origin))
            except (NotFoundError, ConflictError):
                continue
            if not origin.numbered:
                self._refuse(present, origin)
        raise BusyNameError(name)

    async def _replace(self, present: SeccompProfile, wanted: SeccompProfile) -> SeccompProfile:
        snapshot = SNAPSHOT_OF_ANNOTATION in wanted.metadata.annotations
        add_only = snapshot and not is_partial(present)
        content = replacement(present, wanted, add_only=add_only)
        if add_only:  # what is installed stays installed
            labels = {key: value for key, value in wanted.metadata.labels.items() if key != PARTIAL_LABEL}
            metadata = msgspec.structs.replace(content.metadata, labels=labels)
            content = msgspec.structs.replace(content, metadata=metadata)
        metadata = present.metadata
        patch = patch_of(present, content)
        return await self._client.patch(SECCOMP_PROFILES, metadata.name, metadata.namespace, patch)

    def _known_numbers(self, namespace: str, origin: Origin) -> dict[int, Relation]:
        found = {}
        for profile in self._profiles.list(namespace):
            number = number_in(profile.metadata.name, origin.base_name)
            if number is not None:
                found[number] = _standing(profile, origin)
        return found

    def _refuse(self, present: SeccompProfile, origin: Origin) -> None:
        if present.metadata.deletion_timestamp:
            raise BusyNameError(present.metadata.name)
        error = ForeignProfileError(present.metadata.name, origin.recording)
        self._events.event(reference(SECCOMP_PROFILES, present), WARNING, CANNOT_CREATE, str(error))
        raise error


def _standing(profile: SeccompProfile, origin: Origin) -> Relation:
    """As :func:`relation`; what is being deleted is not to be had."""
    return Relation.FOREIGN if profile.metadata.deletion_timestamp else relation(profile, origin)


def _named(wanted: SeccompProfile, namespace: str, name: str, origin: Origin) -> SeccompProfile:
    labels = origin.labels()
    if SNAPSHOT_OF_ANNOTATION in wanted.metadata.annotations:
        labels[PARTIAL_LABEL] = TRUE
    metadata = msgspec.structs.replace(wanted.metadata, name=name, namespace=namespace, labels=labels)
    return msgspec.structs.replace(wanted, metadata=metadata)
