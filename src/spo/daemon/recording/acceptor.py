"""Decides which containers of a pod are recorded, and tells users of annotations that nothing comes of."""

from typing import Final, NamedTuple

from spo.api.core import ObjectReference
from spo.daemon.recording.pods import PodRecord, reference_of
from spo.daemon.recording.recordings import RecordingRecord
from spo.daemon.recording.tracking import TrackedContainer, TrackedPod
from spo.kube.cache import Cache
from spo.kube.clock import Clock
from spo.kube.events import NORMAL, WARNING, EventRecorder
from spo.recording.acceptance import Refused, accept

PATIENCE_S: Final = 5.0
"""How long an annotation may be ahead of the recording that it names: two watches tell of them."""

RECORDING: Final = "SeccompProfileRecording"
PARSING: Final = "SeccompAnnotationParsing"


class Acceptance(NamedTuple):
    """What becomes of a pod."""

    pod: TrackedPod | None
    """What is to be tracked; ``None``: nothing of it is recorded."""
    recheck_s: float | None = None
    """When to look again at annotations that no recording stands behind yet."""


class Acceptor:
    """See the module."""

    def __init__(
        self, recordings: Cache[RecordingRecord], prefix: str, events: EventRecorder, clock: Clock
    ) -> None:
        """Take all recordings, and the prefix of the annotations that ask for the recorder in question."""
        self._recordings = recordings
        self._prefix = prefix
        self._events = events
        self._clock = clock
        self._refused_since: dict[str, float] = {}
        self._told: set[tuple[str, str]] = set()

    def accept(self, pod: PodRecord, present: TrackedPod | None, *, sighted: bool) -> Acceptance:
        """Look at the annotations of a pod.

        Args:
            present: what of it is tracked already; it stays, whatever has become of the recordings.
            sighted: the recorder knows something of it that is not decided on.
        """
        if pod.over and not sighted:
            return Acceptance(present)  # it has been dealt with, or there is nothing to be had of it
        records = [one for one in self._of(pod.namespace) if one.applies_to(pod.created)]
        names = {one.name: one for one in pod.containers}
        accepted, refused = accept(pod.traces, pod.labels, names, [one.rule for one in records])
        tracked = present
        for container, rule in accepted:
            if tracked is None:
                tracked = _new(pod)
            if tracked.container(container) is None:
                record = next(one for one in records if one.rule.name == rule.name)
                tracked.containers.append(
                    TrackedContainer(
                        name=container,
                        recording=rule.name,
                        trace=pod.traces[container],
                        no_new_privileges=names[container].no_new_privileges,
                        profile=names[container].profile,
                        partial=record.partial,
                        disabled=record.disabled,
                    )
                )
        if tracked is not None and present is None:
            self._events.event(_reference(pod), NORMAL, RECORDING, "Recording profiles")
        known = tracked and {one.name for one in tracked.containers}
        open_ones = [one for one in refused if not known or one.container not in known]
        return Acceptance(tracked, self._doubt(pod, open_ones))

    def snapshot_of(self, pod: TrackedPod, container: TrackedContainer) -> str:
        """The snapshot that the profile of a running container should be written for, if any."""
        for one in self._of(pod.namespace):
            if one.rule.name == container.recording and one.snapshot >= pod.created:
                return one.snapshot
        return ""

    def forget(self, uid: str) -> None:
        """The pod is gone."""
        self._refused_since.pop(uid, None)
        self._told = {one for one in self._told if one[0] != uid}

    def _of(self, namespace: str) -> list[RecordingRecord]:
        """The recordings of a namespace with this recorder."""
        return [one for one in self._recordings.list(namespace) if one.rule.prefix == self._prefix]

    def _doubt(self, pod: PodRecord, refused: list[Refused]) -> float | None:
        if not refused:
            self._refused_since.pop(pod.uid, None)
            return None
        now_s = self._clock.monotonic()
        waited_s = now_s - self._refused_since.setdefault(pod.uid, now_s)
        if waited_s < PATIENCE_S:
            return PATIENCE_S - waited_s
        for one in refused:
            if (pod.uid, one.container) not in self._told:
                self._told.add((pod.uid, one.container))
                message = f"container {one.container!r} is not recorded: {one.problem}"
                self._events.event(_reference(pod), WARNING, PARSING, message)
        return None


def _new(pod: PodRecord) -> TrackedPod:
    return TrackedPod(
        uid=pod.uid,
        namespace=pod.namespace,
        name=pod.name,
        created=pod.created,
        generated=pod.generated,
        owner_uid=pod.owner_uid,
    )


def _reference(pod: PodRecord) -> ObjectReference:
    return reference_of(pod.namespace, pod.name, pod.uid)
