"""Wires together what the manager does for recordings."""

import asyncio
from collections.abc import Iterator
from typing import Final

from spo.api.core import NAMESPACES
from spo.api.profile_recording import PROFILE_RECORDINGS, ProfileRecording
from spo.api.seccomp_profile import SeccompProfile
from spo.controller import Controller, Request
from spo.kube.client import KubeClient
from spo.kube.clock import Clock
from spo.kube.errors import NotFoundError
from spo.kube.events import EventRecorder
from spo.kube.informer import Informer
from spo.manager.followed_pods import FollowedPods
from spo.manager.object_store import ObjectStore
from spo.manager.recording.merger import Merger
from spo.manager.recording.pods import RecordedPod, project_recorded_pod
from spo.manager.recording.reconciler import RecordingReconciler
from spo.names import MANAGER_FIELD_MANAGER, RECORDING_LABEL
from spo.recording.recorded_profile import recording_label

WORKERS: Final = 4
RECORDING_INDEX: Final = "recording"
"""Index of profiles: (namespace, label of the recording)."""


def recording_of(profile: SeccompProfile) -> Iterator[tuple[str, str]]:
    """Value of :data:`RECORDING_INDEX`."""
    if label := profile.metadata.labels.get(RECORDING_LABEL):
        yield profile.metadata.namespace or "", label


class RecordingControllers:
    """The work of the leader for recordings; made anew each time it leads."""

    def __init__(
        self,
        client: KubeClient,
        profiles: Informer[SeccompProfile],
        recordings: Informer[ProfileRecording],
        clock: Clock,
    ) -> None:
        profiles.add_index(RECORDING_INDEX, recording_of)
        self._client = client
        self._profiles = profiles
        self._recordings = recordings
        self._events = EventRecorder(client, "policymerger", clock=clock)
        self._pods: FollowedPods[RecordedPod] = FollowedPods(
            client, clock, self._pods_changed, project_recorded_pod
        )
        store = ObjectStore(client, PROFILE_RECORDINGS, recordings.cache, MANAGER_FIELD_MANAGER)
        reconciler = RecordingReconciler(
            store, self._pods.pods, self._profiles_of, Merger(client, self._events), self._is_ending, clock
        )
        self._controller = Controller("profilerecording", reconciler, workers=WORKERS, clock=clock)

    @property
    def controllers(self) -> tuple[Controller, ...]:
        """Whose work ``/metrics`` shows."""
        return (self._controller,)

    async def run(self) -> None:
        """Work until cancelled; the informers run, and have their first lists."""
        self._recordings.add_listener(self._recording_changed)
        self._profiles.add_listener(self._profile_changed)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._events.run())
            group.create_task(self._pods.run())
            await self._controller.run()

    def _profiles_of(self, namespace: str, recording: str) -> list[SeccompProfile]:
        found = self._profiles.cache.by_index(RECORDING_INDEX, (namespace, recording_label(recording)))
        return [one for one in found if not one.metadata.deletion_timestamp]

    async def _is_ending(self, namespace: str) -> bool:
        try:
            found = await self._client.get(NAMESPACES, namespace)
        except NotFoundError:
            return True
        return bool(found.metadata.deletion_timestamp)

    def _recording_changed(self, old: ProfileRecording | None, new: ProfileRecording | None) -> None:
        self._pods.follow(one.metadata.namespace or "" for one in self._recordings.cache.list())
        if changed := new or old:
            self._enqueue(changed)

    def _profile_changed(self, old: SeccompProfile | None, new: SeccompProfile | None) -> None:
        changed = new or old
        if changed is None:
            return
        for namespace, label in recording_of(changed):
            for recording in self._recordings.cache.list(namespace):
                if recording_label(recording.metadata.name) == label:
                    self._enqueue(recording)

    def _pods_changed(self, namespace: str) -> None:
        for recording in self._recordings.cache.list(namespace):
            self._enqueue(recording)

    def _enqueue(self, recording: ProfileRecording) -> None:
        self._controller.enqueue(Request(recording.metadata.namespace or "", recording.metadata.name))
