"""Brings what is recorded of one pod to its wanted state, from the first container to the profiles."""

from collections.abc import Sequence
from typing import Final

from spo.bpf.observation import Observation
from spo.controller import Request, Result
from spo.daemon.recording.link import RecorderLink
from spo.daemon.recording.pods import PodRecord
from spo.daemon.recording.recorded_pods import RecordedPods
from spo.daemon.recording.sightings import PAUSE, Sighting, Sightings, waits
from spo.daemon.recording.tracking import (
    Spare,
    TrackedContainer,
    TrackedPod,
    container_id_of,
    is_nested,
    observation_of,
)
from spo.rpc.bpf_recorder import Observed

SWEEP: Final = Request("", "")
"""Look at the sightings that belong to no pod we know."""
SWEEP_EVERY_S: Final = 5.0
GRACE_S: Final = 5.0
"""How long the end of a pod waits for namespaces of its containers that the recorder has not told of."""
NO_RECORDER_S: Final = 60.0
"""How long it waits for the recorder itself, if there is nothing to lose."""
HOPELESS_S: Final = 600.0
"""How long it waits for the recorder if that has calls of the pod."""
GRACE_STEP_S: Final = 0.25

LATE: Final = "SeccompProfileRecordingLate"


class RecordingReconciler:
    """A request names a pod: its namespace, and its uid in the place of a name."""

    def __init__(self, pods: RecordedPods, sightings: Sightings, link: RecorderLink) -> None:
        self._pods = pods
        self._sightings = sightings
        self._link = link
        self._kept: dict[int, str] = {}

    def reconnected(self) -> None:
        """The recorder may be another process: nothing is known about what it keeps."""
        self._kept.clear()
        self._sightings.clear()

    async def reconcile(self, request: Request) -> Result:
        """See :class:`spo.controller.Reconciler`."""
        if request == SWEEP:
            return await self._sweep()
        uid = request.name
        pod = self._pods.book.get(uid)
        present = self._pods.checkpoint.get(uid)
        sighted = self._sightings.of(uid, _ids(pod))
        accepted = self._pods.acceptor.accept(pod, present, sighted=bool(sighted)) if pod else None
        tracked = accepted.pod if accepted else present
        if tracked is None:
            return await self._leave(uid, sighted, accepted.recheck_s if accepted else None)
        if tracked.losses is None and self._link.is_recording:
            tracked.losses = self._link.losses
        if present is None:
            self._pods.checkpoint.add(tracked)
        gone = not self._pods.book.is_present(uid)
        unwanted = self._assign(pod, tracked, gone=gone)
        over = gone or (pod is not None and pod.over)
        if over and self._is_hopeless(tracked):
            _give_up(tracked)
        await self._pods.checkpoint.save()
        await self._keep(tracked)
        await self._reject(unwanted)
        await self._fold(pod, tracked, everything=over)
        if over:
            return await self._finish(pod, tracked)
        await self._pods.snapshot(tracked, self._seen_of)
        return Result(accepted.recheck_s if accepted else None)

    async def _leave(self, uid: str, sighted: Sequence[Sighting], recheck_s: float | None) -> Result:
        """Nothing of the pod is recorded; unless that may still change, the recorder forgets it."""
        if recheck_s is None:
            for one in sighted:
                await self._link.reject(one.key)
                self._sightings.drop(one.key)
        return self._pods.leave(uid, recheck_s)

    def _assign(self, pod: PodRecord | None, tracked: TrackedPod, *, gone: bool) -> list[int]:
        """Give namespaces to containers. Returns the keys of those that nobody wants."""
        names = {identifier: name for identifier, name, _ in pod.instances} if pod else {}
        unwanted = []
        for one in self._sightings.of(tracked.uid, names):
            tracked.runtime = one.runtime or tracked.runtime
            self._sightings.drop(one.key)
            pause = one.comm in PAUSE
            if instance := tracked.instance_of(one.container_id, one.key):
                tracked.spare[instance] = Spare(one.key, one.late, pause)
            elif pause and (spare := tracked.spare.get(one.container_id)) is not None:
                spare.pause = True  # it had the name of the runtime before
        if gone:
            names = {**names, **_guess(tracked)}
        for instance in list(tracked.spare):
            name = names.get(container_id_of(instance))
            if name is None:
                continue
            spare, container = tracked.spare.pop(instance), tracked.container(name)
            if container is None:
                unwanted.append(spare.key)
            else:
                container.keys[instance] = spare.key
                container.late = container.late or (spare.late and not is_nested(instance))
        return unwanted

    async def _keep(self, tracked: TrackedPod) -> None:
        """Tell the recorder which namespaces are wanted, also those of which the container is not known."""
        for identifier, spare in list(tracked.spare.items()):
            if await self._is_lost(spare.key, None):
                del tracked.spare[identifier]
        for container in tracked.containers:
            for identifier, key in list(container.keys.items()):
                if await self._is_lost(key, container):
                    container.missed = True
                    container.end(identifier)
            if container.late and not container.told_late:
                container.told_late = True
                self._pods.tell(
                    tracked,
                    LATE,
                    f"container {container.name} was running before the recorder was attached: "
                    "its start was not recorded",
                )

    async def _is_lost(self, key: int, container: TrackedContainer | None) -> bool:
        """Keep a namespace; again when its container has become known, for the log of the recorder."""
        name, trace = (container.name, container.trace) if container else ("", "")
        if self._kept.get(key) == name:
            return False
        if await self._link.keep(key, trace, name) is None:
            return True
        self._kept[key] = name
        return False

    async def _fold(self, pod: PodRecord | None, tracked: TrackedPod, *, everything: bool) -> None:
        """Fetch what instances did that have ended, so that the recorder can forget them."""
        ended = {identifier for identifier, _, over in pod.instances if over} if pod else set()
        fetched: list[int] = []
        for container in tracked.containers:
            for identifier, key in list(container.keys.items()):
                if everything or container_id_of(identifier) in ended:
                    await self._fetch(container, key, nested=is_nested(identifier))
                    container.end(identifier)
                    fetched.append(key)
        if fetched:
            await self._pods.checkpoint.save()  # first: after the rejection nobody else knows
            await self._reject(fetched)

    async def _fetch(self, container: TrackedContainer, key: int, *, nested: bool) -> None:
        observed = await self._link.read(key)
        if observed is None:
            container.missed = True
            return
        container.late = container.late or (observed.late and not nested)
        container.add(_of_container(observed, nested=nested))
        self._pods.collector.count(container, observed)

    async def _reject(self, keys: list[int]) -> None:
        for key in keys:
            await self._link.reject(key)
            self._kept.pop(key, None)

    async def _seen_of(self, container: TrackedContainer) -> Observation:
        """What a container did so far."""
        seen = container.observation
        for identifier, key in container.keys.items():
            observed = await self._link.read(key)
            if observed is not None:
                seen |= _of_container(observed, nested=is_nested(identifier))
        return seen

    async def _finish(self, pod: PodRecord | None, tracked: TrackedPod) -> Result:
        """Write the profiles of a pod that has ended, unless something may still come in."""
        missing = _missing(pod, tracked)
        if missing and self._may_come(tracked):
            return Result(GRACE_STEP_S)
        for container in tracked.containers:
            if missing.get(container.name):
                container.missed = True
            expected = container.missed or bool(container.done)
            await self._pods.conclude(tracked, container, expected=expected)
        await self._reject(list(tracked.keys()))
        await self._pods.drop(tracked)
        return self._pods.leave(tracked.uid)

    def _is_hopeless(self, tracked: TrackedPod) -> bool:
        """Whether the recorder has been away for so long that nobody waits for it."""
        return self._pods.waited_s(tracked) > HOPELESS_S and not self._link.is_recording

    def _may_come(self, tracked: TrackedPod) -> bool:
        waited_s = self._pods.waited_s(tracked)
        if self._link.is_recording:
            return waited_s < GRACE_S
        return waited_s < NO_RECORDER_S

    async def _sweep(self) -> Result:
        """Reject what belongs to nobody who is recorded; look again while something is undecided."""
        now_s = self._pods.clock.monotonic()
        for one in self._sightings.all():
            pod = self._pods.book.get(one.pod_uid)
            foreign = pod is not None and not pod.traces
            if self._pods.checkpoint.get(one.pod_uid) is None and (foreign or not waits(one, now_s)):
                await self._link.reject(one.key)
                self._sightings.drop(one.key)
        return Result(SWEEP_EVERY_S if self._sightings.all() else None)


def _ids(pod: PodRecord | None) -> tuple[str, ...]:
    return tuple(identifier for identifier, _, _ in pod.instances) if pod else ()


def _give_up(tracked: TrackedPod) -> None:
    """What the recorder had is lost."""
    tracked.spare.clear()
    for container in tracked.containers:
        for instance in list(container.keys):
            container.missed = True
            container.end(instance)


def _of_container(observed: Observed, *, nested: bool) -> Observation:
    seen = observation_of(observed.seen)
    return seen.as_program() if nested else seen


def _missing(pod: PodRecord | None, tracked: TrackedPod) -> dict[str, list[str]]:
    """Recorded containers -> ids of their instances that the recorder has not told of."""
    missing: dict[str, list[str]] = {}
    for identifier, name, _ in pod.instances if pod else ():
        if tracked.container(name) is not None and not tracked.knows(identifier):
            missing.setdefault(name, []).append(identifier)
    return missing


def _guess(tracked: TrackedPod) -> dict[str, str]:
    """Container id -> name, if one container and one namespace are left for each other.

    The pod is gone, so no status will ever name the container. The namespace of the process that holds the
    pod's network must be known: otherwise the one that is left may be that.
    """
    if not any(spare.pause for spare in tracked.spare.values()):
        return {}
    nameless = [one.name for one in tracked.containers if not one.keys and not one.done]
    left = [one for one, spare in tracked.spare.items() if not spare.pause and not is_nested(one)]
    return {left[0]: nameless[0]} if len(nameless) == len(left) == 1 else {}
