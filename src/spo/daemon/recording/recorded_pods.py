"""What becomes of recorded pods, whatever records them: profiles, what users are told, and the end."""

from collections.abc import Awaitable, Callable
from typing import Final

from spo import klog
from spo.bpf.observation import Observation, Phase, SyscallClass
from spo.controller import DONE, Request, Result
from spo.daemon.recording.acceptor import Acceptor
from spo.daemon.recording.checkpoint import Checkpoint
from spo.daemon.recording.collector import Collector
from spo.daemon.recording.pods import PodBook, reference_of
from spo.daemon.recording.recordings import RecordingRecord
from spo.daemon.recording.tracking import TrackedContainer, TrackedPod
from spo.errors import TerminalError
from spo.kube.clock import Clock
from spo.kube.errors import NamespaceTerminatingError, NotFoundError
from spo.kube.events import WARNING, EventRecorder

log = klog.get("recorder-spod")

NOTHING: Final = "CannotCreateSeccompProfile"


async def _ended(container: TrackedContainer) -> Observation:
    return container.observation


class RecordedPods:
    """The pods of one recorder."""

    def __init__(
        self,
        book: PodBook,
        acceptor: Acceptor,
        checkpoint: Checkpoint,
        collector: Collector,
        events: EventRecorder,
        clock: Clock,
        lost: Callable[[TrackedPod], int] = lambda _: 0,
    ) -> None:
        """Take what it works with, and who knows how many observations of a pod the recorder has lost."""
        self.book: Final = book
        self.acceptor: Final = acceptor
        self.checkpoint: Final = checkpoint
        self.collector: Final = collector
        self.clock: Final = clock
        self._events = events
        self._lost = lost
        self._over_since: dict[str, float] = {}

    def known(self) -> list[Request]:
        """Those that were recorded when this process, or the last one, last looked: some may be gone."""
        return [Request(pod.namespace, pod.uid) for pod in self.checkpoint.tracked.pods.values()]

    def concerned(self, old: RecordingRecord | None, new: RecordingRecord | None) -> list[Request]:
        """Those that a recording may select which has changed; a listener's arguments."""
        changed = new or old
        if changed is None:
            return []
        return [
            Request(pod.namespace, pod.uid)
            for pod in self.book.traced()
            if pod.namespace == changed.namespace
        ]

    def tell(self, tracked: TrackedPod, reason: str, message: str) -> None:
        """Warn whoever looks at the pod."""
        about = reference_of(tracked.namespace, tracked.name, tracked.uid)
        self._events.event(about, WARNING, reason, message)

    def waited_s(self, tracked: TrackedPod) -> float:
        """How long ago the end of a pod was seen."""
        now_s = self.clock.monotonic()
        return now_s - self._over_since.setdefault(tracked.uid, now_s)

    async def snapshot(
        self, tracked: TrackedPod, seen_of: Callable[[TrackedContainer], Awaitable[Observation]] = _ended
    ) -> None:
        """Write the profiles of running containers that a snapshot is wanted of.

        Args:
            seen_of: what a container did so far; if not given, what its ended instances did.

        Raises:
            BusyNameError, KubeError, CannotKeepRecordingsError: try again.
        """
        for container in tracked.containers:
            wanted = self.acceptor.snapshot_of(tracked, container)
            if not wanted or wanted == container.snapshot:
                continue
            seen = await seen_of(container)
            if _is_worth_a_profile(seen):
                await self._write(tracked, container, seen, wanted)
                container.snapshot = wanted
                await self.checkpoint.save()

    async def conclude(
        self, tracked: TrackedPod, container: TrackedContainer, *, expected: bool, advice: str = ""
    ) -> None:
        """Write the profile of a container that has ended, or tell why there is none.

        Args:
            expected: users are told if there is nothing to write.
            advice: what they are told besides.

        Raises:
            BusyNameError, KubeError: try again.
        """
        seen = container.observation
        if _is_worth_a_profile(seen):
            await self._write(tracked, container, seen)
        elif expected:
            problem = f"nothing was recorded of container {container.name}: no profile is written"
            self.tell(tracked, NOTHING, f"{problem}{advice}")

    async def drop(self, tracked: TrackedPod) -> None:
        """Track a pod no more: its profiles are written.

        Raises:
            CannotKeepRecordingsError: the file system refuses.
        """
        self._over_since.pop(tracked.uid, None)
        self.checkpoint.remove(tracked.uid)
        await self.checkpoint.save()

    def leave(self, uid: str, recheck_s: float | None = None) -> Result:
        """Nothing of the pod is recorded now: forget it if it is gone, otherwise look again then."""
        if self.book.is_present(uid):
            return Result(recheck_s)
        self.book.forget(uid)
        self.acceptor.forget(uid)
        return DONE

    async def _write(
        self, tracked: TrackedPod, container: TrackedContainer, seen: Observation, snapshot: str = ""
    ) -> None:
        lost = self._lost(tracked) + container.missed
        try:
            await self.collector.write(tracked, container, seen, lost, snapshot)
        except (TerminalError, NotFoundError, NamespaceTerminatingError) as error:
            # Users were told, or their namespace is gone; other containers have profiles of their own.
            log.error("Cannot store a recorded profile", error=error, pod=tracked.name)


def _is_worth_a_profile(seen: Observation) -> bool:
    """Whether a program ran: the container runtime alone makes no profile."""
    return any(seen.numbers(cls, Phase.PROGRAM) for cls in SyscallClass)
