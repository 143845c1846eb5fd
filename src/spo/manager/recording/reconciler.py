"""The only writer of finalizers, progress and merged profiles of a ProfileRecording."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from spo.api.profile_recording import MergeStrategy, ProfileRecording, ProfileRecordingStatus
from spo.api.seccomp_profile import SeccompProfile
from spo.controller import DONE, Request, Result
from spo.kube.clock import Clock, format_time
from spo.kube.errors import NotFoundError
from spo.manager.aggregation import MAX_WORKLOADS
from spo.manager.object_store import ObjectStore
from spo.manager.recording.merger import Merger
from spo.manager.recording.pods import RecordedPod
from spo.names import (
    CONTAINER_LABEL,
    PARTIAL_LABEL,
    RECORDED_POD_LABEL,
    RECORDING_FINALIZER,
    SNAPSHOT_OF_ANNOTATION,
    UNMERGED_FINALIZER,
)
from spo.profiles.label_selector import InvalidSelectorError
from spo.recording.merged import containers_seen, unmerged
from spo.recording.trace_annotation import recording_rule

SETTLE_S: Final = 10.0
"""How long the end of a pod is waited out for its profiles: the daemon of its node writes them."""
PROGRESS_DELAY_S: Final = 2.0
"""At most one status within this time, unless recording begins or ends."""


class _Active(NamedTuple):
    """A pod that is being recorded."""

    name: str
    uid: str
    containers: frozenset[str]
    """Those that are recorded."""


class _Memory:
    """Pods of a recording that were seen running, and when they ended."""

    def __init__(self, until_s: float) -> None:
        self.active: dict[str, _Active] = {}
        self.ended: dict[str, tuple[_Active, float]] = {}
        self.until_s = until_s
        """Before this moment pods may have ended that we never saw."""
        self.next_status_s = 0.0
        """Before this moment nothing that is mere progress is said."""
        self.merged: frozenset[tuple[object, ...]] = frozenset()
        """The profiles as they were at the last merge."""


class RecordingReconciler:
    """See the module."""

    def __init__(
        self,
        store: ObjectStore[ProfileRecording],
        pods: Callable[[str], Sequence[RecordedPod] | None],
        profiles: Callable[[str, str], Sequence[SeccompProfile]],
        merger: Merger,
        is_ending: Callable[[str], Awaitable[bool]],
        clock: Clock,
    ) -> None:
        """Take what it works with.

        Args:
            pods: gives those of a namespace, ``None`` while they are not all known.
            profiles: gives those of a namespace and a recording.
            is_ending: asks whether a namespace is being deleted.
        """
        self._store = store
        self._pods = pods
        self._profiles = profiles
        self._merger = merger
        self._is_ending = is_ending
        self._clock = clock
        self._memory: dict[Request, _Memory] = {}

    async def reconcile(self, request: Request) -> Result:
        """See :class:`spo.controller.Reconciler`."""
        recording = self._store.get(request.namespace, request.name)
        pods = self._pods(request.namespace)
        if recording is None:
            self._memory.pop(request, None)
            return DONE
        if pods is None:
            return DONE  # woken when they are known
        try:
            return await self._look_after(request, recording, pods)
        except NotFoundError:
            return DONE  # gone since it was read

    async def _look_after(
        self, request: Request, recording: ProfileRecording, pods: Sequence[RecordedPod]
    ) -> Result:
        profiles = self._profiles(request.namespace, request.name)
        memory = self._remembered(request, recording)
        active = _active(recording, pods)
        wait_s = self._update(memory, active, profiles)
        merging = recording.spec.merge_strategy == MergeStrategy.CONTAINERS
        partials = unmerged(profiles) if merging else []
        deleted = bool(recording.metadata.deletion_timestamp)
        if deleted and not active and (wait_s or partials) and await self._is_ending(request.namespace):
            # No profile can be created there any more: nothing is left to wait for, or to merge into.
            wait_s, partials = 0.0, []
        whole = [one for one in partials if SNAPSHOT_OF_ANNOTATION not in one.metadata.annotations]
        ends = deleted and not active and not wait_s
        if ends:
            await self._merger.remove(await self._merger.merge(recording, partials))
        elif whole and (content := _content(profiles)) != memory.merged:
            await self._merger.merge(recording, whole)
            memory.merged = content
        recording = await self._set_finalizers(
            recording, active=bool(active or wait_s), unmerged=bool(partials) and not ends
        )
        if ends:
            return DONE
        later = await self._set_status(memory, recording, active, profiles)
        return Result(min((one for one in (wait_s, later) if one), default=None))

    def _remembered(self, request: Request, recording: ProfileRecording) -> _Memory:
        if request not in self._memory:
            # Another leader may have seen pods end a moment ago.
            held = RECORDING_FINALIZER in recording.metadata.finalizers
            self._memory[request] = _Memory(self._clock.monotonic() + SETTLE_S if held else 0.0)
        return self._memory[request]

    def _update(
        self, memory: _Memory, active: Sequence[_Active], profiles: Sequence[SeccompProfile]
    ) -> float:
        """For how many seconds profiles of pods that have ended may still come; 0: none is missing."""
        now_s = self._clock.monotonic()
        present = {one.uid: one for one in active}
        for uid in memory.active.keys() - present.keys():
            memory.ended[uid] = memory.active[uid], now_s
        memory.active = present
        collected = {
            (one.metadata.labels.get(RECORDED_POD_LABEL), one.metadata.labels.get(CONTAINER_LABEL))
            for one in profiles
            if SNAPSHOT_OF_ANNOTATION not in one.metadata.annotations
        }
        memory.ended = {
            uid: (pod, ended_s)
            for uid, (pod, ended_s) in memory.ended.items()
            if now_s - ended_s < SETTLE_S and not {(uid, name) for name in pod.containers} <= collected
        }
        ends = (ended_s + SETTLE_S for _, ended_s in memory.ended.values())
        return max(memory.until_s, *ends, now_s) - now_s

    async def _set_finalizers(
        self, recording: ProfileRecording, *, active: bool, unmerged: bool
    ) -> ProfileRecording:
        wanted = {RECORDING_FINALIZER: active, UNMERGED_FINALIZER: unmerged}
        deleted = bool(recording.metadata.deletion_timestamp)

        def change(present: list[str]) -> list[str]:
            kept = [name for name in present if wanted.get(name, True)]
            # The API refuses new ones while the object is being deleted.
            added = [name for name, needed in wanted.items() if needed and name not in kept]
            return kept if deleted else [*kept, *added]

        if change(recording.metadata.finalizers) == recording.metadata.finalizers:
            return recording
        return await self._store.change_finalizers(recording, change)

    async def _set_status(
        self,
        memory: _Memory,
        recording: ProfileRecording,
        active: Sequence[_Active],
        profiles: Sequence[SeccompProfile],
    ) -> float | None:
        """Write what has changed; returns when to look again if it is too early to look at all."""
        present = recording.status or ProfileRecordingStatus()
        names = sorted(one.name for one in active)
        now_s = self._clock.monotonic()
        if now_s < memory.next_status_s and bool(names) == bool(present.active_workloads):
            return memory.next_status_s - now_s
        memory.next_status_s = now_s + PROGRESS_DELAY_S
        wanted = ProfileRecordingStatus(
            conditions=present.conditions,
            active_workloads=names[:MAX_WORKLOADS],
            active_workload_count=len(names),
            containers=containers_seen(profiles, present.containers, format_time(self._clock.now())),
            observed_generation=recording.metadata.generation,
        )
        if wanted != present:
            await self._store.write_status(recording, _ours(wanted))
        return None


def _content(profiles: Sequence[SeccompProfile]) -> frozenset[tuple[object, ...]]:
    """Changes with everything that a merge depends on, and not with the status of a profile."""
    return frozenset(
        (
            one.metadata.uid,
            one.metadata.generation,
            PARTIAL_LABEL in one.metadata.labels,
            one.metadata.annotations.get(SNAPSHOT_OF_ANNOTATION),
        )
        for one in profiles
    )


def _active(recording: ProfileRecording, pods: Sequence[RecordedPod]) -> list[_Active]:
    alive = msgspec.structs.replace(recording.metadata, deletion_timestamp=None)
    try:
        rule = recording_rule(msgspec.structs.replace(recording, metadata=alive))
    except InvalidSelectorError:
        rule = None
    if rule is None:
        return []
    found = [_Active(one.name, one.uid, one.recorded_by(rule)) for one in pods if not one.over]
    return [one for one in found if one.containers]


def _ours(status: ProfileRecordingStatus) -> dict[str, Any]:
    """The fields that this controller owns; conditions are said elsewhere."""
    body: dict[str, Any] = msgspec.to_builtins(status)
    body.pop("conditions", None)
    return body
