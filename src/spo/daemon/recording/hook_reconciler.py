"""Brings what OCI hooks record of one pod to its wanted state, up to its profiles."""

from collections.abc import Iterator
from typing import Final

from spo import klog
from spo.controller import Request, Result
from spo.daemon.recording.hook_source import HookRecordingError, HookSource, NoRecordingError, file_of
from spo.daemon.recording.pods import PodRecord
from spo.daemon.recording.recorded_pods import NOTHING, RecordedPods
from spo.daemon.recording.tracking import TrackedContainer, TrackedPod
from spo.host.hook_files import LEFTOVER_S

log = klog.get("recorder-spod")

SWEEP: Final = Request("", "")
"""Remove the files that nobody came for."""
FIRST_SWEEP_S: Final = 60.0
"""After a start those that somebody waits for are collected first."""
GRACE_S: Final = 10.0
"""How long the end of a pod waits for files: hooks write them after the containers have ended."""
_STEM: Final = 200
"""Characters of a file's name by which whoever waits for it is found."""

INCOMPLETE: Final = "RecordedProfile"


class HookReconciler:
    """A request names a pod: its namespace, and its uid in the place of a name."""

    def __init__(self, pods: RecordedPods, source: HookSource) -> None:
        self._pods = pods
        self._source = source
        self._waiting: dict[Request, frozenset[str]] = {}
        self._old: set[str] = set()
        self._collected: set[str] = set()
        self._swept = False

    def begin(self) -> None:
        """Pods that have ended by now may be those that an earlier process has dealt with."""
        self._old = {pod.uid for pod in self._pods.book.traced() if pod.over}

    def waiting_for(self, file: str | None) -> list[Request]:
        """The pods that something may have happened for: to a file of this name, or to any."""
        return [
            request
            for request, stems in self._waiting.items()
            if file is None or any(stem in file for stem in stems)
        ]

    async def reconcile(self, request: Request) -> Result:
        """See :class:`spo.controller.Reconciler`."""
        if request == SWEEP:
            return await self._sweep()
        uid = request.name
        if uid in self._collected:
            return self._leave(request, None)
        pod, present = self._pods.book.get(uid), self._pods.checkpoint.get(uid)
        # First of all: what is written from here on wakes the pod again.
        self._waiting[request] = frozenset(_stems(pod, present))
        sighted = pod is not None and pod.over and await self._is_sighted(pod)
        accepted = self._pods.acceptor.accept(pod, present, sighted=sighted) if pod else None
        tracked = accepted.pod if accepted else present
        if tracked is None:
            return self._leave(request, accepted.recheck_s if accepted else None)
        if present is None:
            self._pods.checkpoint.add(tracked)
        _note_instances(pod, tracked)
        await self._pods.checkpoint.save()
        over = not self._pods.book.is_present(uid) or (pod is not None and pod.over)
        missing = await self._fold(pod, tracked, everything=over)
        if over:
            return await self._finish(request, tracked, missing)
        # Of instances that have ended: what hooks see of others nobody knows before their end.
        await self._pods.snapshot(tracked)
        return Result(accepted.recheck_s if accepted else None)

    async def _is_sighted(self, pod: PodRecord) -> bool:
        """Whether there may be something of a pod that had ended before it was seen."""
        if pod.uid not in self._old:
            return True
        return await self._source.has(pod.traces.values(), [one for one, _, _ in pod.instances])

    def _leave(self, request: Request, recheck_s: float | None) -> Result:
        uid = request.name
        if not self._pods.book.is_present(uid):
            self._waiting.pop(request, None)
            self._old.discard(uid)
            self._collected.discard(uid)
        return self._pods.leave(uid, recheck_s)

    async def _fold(
        self, pod: PodRecord | None, tracked: TrackedPod, *, everything: bool
    ) -> dict[str, HookRecordingError]:
        """Take the recordings of instances that have ended. Returns containers of which one is missing."""
        missing: dict[str, HookRecordingError] = {}
        for container in tracked.containers:
            for instance in _ended(pod, container, everything=everything):
                try:
                    await self._take(tracked, container, instance)
                except HookRecordingError as error:
                    missing[container.name] = error
        return missing

    async def _take(self, tracked: TrackedPod, container: TrackedContainer, instance: str) -> None:
        others = frozenset() if instance else self._foreign(tracked)
        name, recorded = await self._source.find(container.trace, instance, others)
        container.add(recorded.observation)
        container.end(instance or recorded.container_id or name)
        await self._pods.checkpoint.save()  # first: without the file nobody else knows
        await self._source.remove(name)
        if recorded.unknown:
            shown = ", ".join(recorded.unknown)[:200]
            problem = f"syscalls of container {container.name} that are not known here are left out: {shown}"
            self._pods.tell(tracked, INCOMPLETE, problem)

    def _foreign(self, tracked: TrackedPod) -> frozenset[str]:
        """Ids of all containers of other pods."""
        pods = (one for one in self._pods.book.traced() if one.uid != tracked.uid)
        reported = (identifier for one in pods for identifier, _, _ in one.instances)
        others = (one for one in self._pods.checkpoint.tracked.pods.values() if one.uid != tracked.uid)
        return frozenset(reported).union(*(each.keys for one in others for each in one.containers))

    async def _finish(
        self, request: Request, tracked: TrackedPod, missing: dict[str, HookRecordingError]
    ) -> Result:
        """Write the profiles of a pod that has ended, unless something may still come in."""
        left_s = GRACE_S - self._pods.waited_s(tracked)
        if missing and left_s > 0:
            return Result(left_s)
        for container in tracked.containers:
            error = missing.get(container.name)
            if error is not None:
                container.missed = _is_expected(container)
                if _is_expected(container) or not isinstance(error, NoRecordingError):
                    self._pods.tell(tracked, NOTHING, f"container {container.name}: {error}")
            expected = error is None and bool(container.done)
            await self._pods.conclude(tracked, container, expected=expected)
        self._note_collected(request)
        await self._pods.drop(tracked)
        return self._leave(request, None)

    def _note_collected(self, request: Request) -> None:
        self._waiting.pop(request, None)
        self._collected.add(request.name)

    async def _sweep(self) -> Result:
        if not self._swept:
            self._swept = True
            return Result(FIRST_SWEEP_S)
        removed = await self._source.remove_leftovers(self._pods.clock.now().timestamp())
        if removed:
            log.info("Removed recordings of hooks that nobody came for", count=len(removed), first=removed[0])
        return Result(LEFTOVER_S)


def _stems(pod: PodRecord | None, tracked: TrackedPod | None) -> Iterator[str]:
    """How the names of a pod's files begin."""
    traces = [*pod.traces.values()] if pod else []
    traces += [one.trace for one in tracked.containers] if tracked else []
    for trace in traces:
        if name := file_of(trace):
            yield name.removesuffix(".json")[:_STEM]


def _note_instances(pod: PodRecord | None, tracked: TrackedPod) -> None:
    """Their ids find their files, also after the pod has gone while no daemon ran."""
    for identifier, name, _ in pod.instances if pod else ():
        container = tracked.container(name)
        if container is not None and identifier not in container.done:
            container.keys[identifier] = 0


def _ended(pod: PodRecord | None, container: TrackedContainer, *, everything: bool) -> list[str]:
    """Ids of instances that have ended and were not dealt with.

    An empty one stands for an instance that nobody has told of.
    """
    if everything:
        return [*container.keys] or ([] if pod and container.done else [""])
    over = {identifier for identifier, _, ended in pod.instances if ended} if pod else frozenset()
    return [one for one in container.keys if one in over]


def _is_expected(container: TrackedContainer) -> bool:
    """Whether an instance has run of which nothing was taken."""
    return bool(container.keys)
