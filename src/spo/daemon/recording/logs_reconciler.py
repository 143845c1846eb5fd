"""Brings what is recorded of one pod from the audit log to its wanted state, up to its profiles."""

from collections.abc import Iterable
from typing import Final

from spo import klog
from spo.bpf.observation import Observation, Phase, SyscallClass
from spo.controller import DONE, Request, Result
from spo.daemon.recording.acceptor import Acceptor
from spo.daemon.recording.checkpoint import Checkpoint
from spo.daemon.recording.collector import Collector
from spo.daemon.recording.logged_pods import LoggedPod
from spo.daemon.recording.logs import Drain, LogBook, may_lack, progress
from spo.daemon.recording.pods import PodBook, PodRecord, reference_of
from spo.daemon.recording.tracking import TrackedContainer, TrackedPod
from spo.errors import TerminalError
from spo.kube.clock import Clock
from spo.kube.errors import NotFoundError
from spo.kube.events import WARNING, EventRecorder
from spo.names import LOG_PROFILE_NAME

log = klog.get("recorder-spod")

GRACE_S: Final = 20.0
"""How long the end of a pod waits for calls of its containers that nobody has told of."""
GRACE_STEP_S: Final = 0.25
NO_ENRICHER_S: Final = 60.0
"""How long it waits for the enricher itself."""
NO_ENRICHER_STEP_S: Final = 1.0
PATIENCE_S: Final = 10.0
"""How long an enricher that is enabled may be away before users are told."""
MAX_COLLECTED: Final = 1000
"""Pods that are remembered after their profiles were written: their last records come late."""

MAX_SHOWN: Final = 200
"""Characters of what users have written."""

ABSENT: Final = "LogEnricherNotRunning"
REPLACED: Final = "SecurityContextAlreadySet"
NOTHING: Final = "CannotCreateSeccompProfile"
_LOG_PROFILE_FILE: Final = f"/{LOG_PROFILE_NAME}.json"
ENABLE: Final = "set spec.enableLogEnricher of the spod object to true"


class LogsReconciler:
    """A request names a pod: its namespace, and its uid in the place of a name."""

    def __init__(
        self,
        book: PodBook,
        acceptor: Acceptor,
        calls: LogBook,
        drain: Drain,
        checkpoint: Checkpoint,
        collector: Collector,
        events: EventRecorder,
        clock: Clock,
    ) -> None:
        self._book = book
        self._acceptor = acceptor
        self._calls = calls
        self._drain = drain
        self._checkpoint = checkpoint
        self._collector = collector
        self._events = events
        self._clock = clock
        self._over_since: dict[str, float] = {}
        self._absent_since: dict[str, float] = {}
        self._collected: dict[str, None] = {}
        self.patience_s = 0.0
        """How long the enricher may be away before users are told: not at all while none is enabled."""

    def progressed(self) -> None:
        """The enricher has told how far it is: note what may be missing of each pod."""
        position = self._calls.position
        if position is not None:
            for pod in self._checkpoint.tracked.pods.values():
                pod.log = progress(pod.log, position, pod.created)

    async def reconcile(self, request: Request) -> Result:
        """See :class:`spo.controller.Reconciler`."""
        uid = request.name
        if uid in self._collected:
            return self._leave(uid, None)
        pod = self._book.get(uid)
        present = self._checkpoint.get(uid)
        sighted = any(map(self._calls.has, _ids(pod)))
        accepted = self._acceptor.accept(pod, present, sighted=sighted) if pod else None
        tracked = accepted.pod if accepted else present
        if tracked is None:
            return self._leave(uid, accepted.recheck_s if accepted else None)
        if present is None:
            self._checkpoint.add(tracked)
            self._begin(pod, tracked)
        for container in tracked.containers:
            if container.profile.endswith(_LOG_PROFILE_FILE):
                container.profile = ""  # not the user's
        self._fold(pod, tracked)
        await self._checkpoint.save()
        if not self._book.is_present(uid) or (pod is not None and pod.over):
            return await self._finish(pod, tracked)
        await self._snapshot(tracked)
        waits = (accepted.recheck_s if accepted else None, self._look_for_enricher(tracked))
        return Result(min((one for one in waits if one is not None), default=None))

    def _leave(self, uid: str, recheck_s: float | None) -> Result:
        if self._book.is_present(uid):
            return Result(recheck_s)
        self._book.forget(uid)
        self._acceptor.forget(uid)
        return DONE

    def _begin(self, pod: PodRecord | None, tracked: TrackedPod) -> None:
        if self._calls.position is not None:
            tracked.log = progress(None, self._calls.position, tracked.created)
        replaced = pod.replaced if isinstance(pod, LoggedPod) else {}
        for container in tracked.containers:
            if profile := replaced.get(container.name):
                what = f"the seccomp profile {profile[:MAX_SHOWN]} of container {container.name}"
                problem = f"{what} is replaced while it is recorded: everything is allowed and logged"
                self._tell(tracked, REPLACED, problem)

    def _fold(self, pod: PodRecord | None, tracked: TrackedPod) -> None:
        """Add what came in since the last time."""
        for identifier, name, _ in pod.instances if pod else ():
            container = tracked.container(name)
            if container is None or not self._calls.has(identifier):
                continue
            container.add(self._calls.take(identifier))
            if identifier not in container.done:
                container.end(identifier)

    def _look_for_enricher(self, tracked: TrackedPod) -> float | None:
        """Tell users, once, if nothing can come of a recording; returns when to look again."""
        if self._calls.position is not None:
            self._absent_since.pop(tracked.uid, None)
            return None
        now_s = self._clock.monotonic()
        since_s = self._absent_since.setdefault(tracked.uid, now_s)
        if now_s - since_s < self.patience_s:
            return self.patience_s - (now_s - since_s)
        if not tracked.told_absent:
            tracked.told_absent = True
            self._tell(tracked, ABSENT, f"the log enricher does not run on this node; {ENABLE}")
        return None

    async def _snapshot(self, tracked: TrackedPod) -> None:
        for container in tracked.containers:
            wanted = self._acceptor.snapshot_of(tracked, container)
            if not wanted or wanted == container.snapshot:
                continue
            seen = container.observation
            if _is_worth_a_profile(seen):
                await self._write(tracked, container, seen, wanted)
                container.snapshot = wanted
                await self._checkpoint.save()

    async def _finish(self, pod: PodRecord | None, tracked: TrackedPod) -> Result:
        """Write the profiles of a pod that has ended, when all that was logged has been told."""
        waited_s = self._waited_s(tracked)
        told = await self._drain()
        if told:
            self._fold(pod, tracked)
            if _missing(pod, tracked) and waited_s < GRACE_S:
                return Result(GRACE_STEP_S)
        elif told is not None and waited_s < NO_ENRICHER_S:
            return Result(NO_ENRICHER_STEP_S)
        else:
            for container in tracked.containers:
                container.missed = True
        missing = _missing(pod, tracked)
        for container in tracked.containers:
            container.missed = container.missed or container.name in missing
            seen = container.observation
            if _is_worth_a_profile(seen):
                await self._write(tracked, container, seen)
            elif container.missed or container.done:
                problem = f"nothing was recorded of container {container.name}: no profile is written"
                self._tell(tracked, NOTHING, f"{problem}{self._advice()}")
        self._calls.forget(_ids(pod))
        self._note_collected(tracked.uid)
        self._checkpoint.remove(tracked.uid)
        await self._checkpoint.save()
        return self._leave(tracked.uid, None)

    def _advice(self) -> str:
        return "" if self._calls.position is not None else f"; {ENABLE}"

    def _note_collected(self, uid: str) -> None:
        self._over_since.pop(uid, None)
        self._absent_since.pop(uid, None)
        self._collected[uid] = None
        if len(self._collected) > MAX_COLLECTED:
            del self._collected[next(iter(self._collected))]

    def _waited_s(self, tracked: TrackedPod) -> float:
        """How long ago the end of a pod was seen."""
        now_s = self._clock.monotonic()
        return now_s - self._over_since.setdefault(tracked.uid, now_s)

    async def _write(
        self, tracked: TrackedPod, container: TrackedContainer, seen: Observation, snapshot: str = ""
    ) -> None:
        lost = may_lack(tracked.log, self._calls.position) + container.missed
        try:
            await self._collector.write(tracked, container, seen, lost, snapshot)
        except (TerminalError, NotFoundError) as error:
            # Users were told, or their namespace is gone; other containers have profiles of their own.
            log.error("Cannot store a recorded profile", error=error, pod=tracked.name)

    def _tell(self, tracked: TrackedPod, reason: str, message: str) -> None:
        about = reference_of(tracked.namespace, tracked.name, tracked.uid)
        self._events.event(about, WARNING, reason, message)


def _ids(pod: PodRecord | None) -> Iterable[str]:
    return tuple(identifier for identifier, _, _ in pod.instances) if pod else ()


def _missing(pod: PodRecord | None, tracked: TrackedPod) -> set[str]:
    """Recorded containers with an instance of which nothing was told."""
    return {
        name
        for identifier, name, _ in (pod.instances if pod else ())
        if (container := tracked.container(name)) is not None and identifier not in container.done
    }


def _is_worth_a_profile(seen: Observation) -> bool:
    """Whether a program ran: the container runtime alone makes no profile."""
    return any(seen.numbers(cls, Phase.PROGRAM) for cls in SyscallClass)
