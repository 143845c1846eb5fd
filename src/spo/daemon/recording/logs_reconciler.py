"""Brings what is recorded of one pod from the audit log to its wanted state, up to its profiles."""

from collections.abc import Iterable
from typing import Final

from spo.controller import Request, Result
from spo.daemon.recording.logged_pods import LoggedPod
from spo.daemon.recording.logs import Drain, LogBook, progress
from spo.daemon.recording.pods import PodRecord
from spo.daemon.recording.recorded_pods import RecordedPods
from spo.daemon.recording.tracking import TrackedPod
from spo.names import LOG_PROFILE_NAME

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
_LOG_PROFILE_FILE: Final = f"/{LOG_PROFILE_NAME}.json"
ENABLE: Final = "set spec.enableLogEnricher of the spod object to true"


class LogsReconciler:
    """A request names a pod: its namespace, and its uid in the place of a name."""

    def __init__(self, pods: RecordedPods, calls: LogBook, drain: Drain) -> None:
        self._pods = pods
        self._calls = calls
        self._drain = drain
        self._absent_since: dict[str, float] = {}
        self._collected: dict[str, None] = {}
        self.patience_s = 0.0
        """How long the enricher may be away before users are told: not at all while none is enabled."""

    def progressed(self) -> None:
        """The enricher has told how far it is: note what may be missing of each pod."""
        position = self._calls.position
        if position is not None:
            for pod in self._pods.checkpoint.tracked.pods.values():
                pod.log = progress(pod.log, position, pod.created)

    async def reconcile(self, request: Request) -> Result:
        """See :class:`spo.controller.Reconciler`."""
        uid = request.name
        if uid in self._collected:
            return self._pods.leave(uid)
        pod = self._pods.book.get(uid)
        present = self._pods.checkpoint.get(uid)
        sighted = any(map(self._calls.has, _ids(pod)))
        accepted = self._pods.acceptor.accept(pod, present, sighted=sighted) if pod else None
        tracked = accepted.pod if accepted else present
        if tracked is None:
            return self._pods.leave(uid, accepted.recheck_s if accepted else None)
        if present is None:
            self._pods.checkpoint.add(tracked)
            self._begin(pod, tracked)
        for container in tracked.containers:
            if container.profile.endswith(_LOG_PROFILE_FILE):
                container.profile = ""  # not the user's
        self._fold(pod, tracked)
        await self._pods.checkpoint.save()
        if not self._pods.book.is_present(uid) or (pod is not None and pod.over):
            return await self._finish(pod, tracked)
        await self._pods.snapshot(tracked)
        waits = (accepted.recheck_s if accepted else None, self._look_for_enricher(tracked))
        return Result(min((one for one in waits if one is not None), default=None))

    def _begin(self, pod: PodRecord | None, tracked: TrackedPod) -> None:
        if self._calls.position is not None:
            tracked.log = progress(None, self._calls.position, tracked.created)
        replaced = pod.replaced if isinstance(pod, LoggedPod) else {}
        for container in tracked.containers:
            if profile := replaced.get(container.name):
                what = f"the seccomp profile {profile[:MAX_SHOWN]} of container {container.name}"
                problem = f"{what} is replaced while it is recorded: everything is allowed and logged"
                self._pods.tell(tracked, REPLACED, problem)

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
        now_s = self._pods.clock.monotonic()
        since_s = self._absent_since.setdefault(tracked.uid, now_s)
        if now_s - since_s < self.patience_s:
            return self.patience_s - (now_s - since_s)
        if not tracked.told_absent:
            tracked.told_absent = True
            self._pods.tell(tracked, ABSENT, f"the log enricher does not run on this node; {ENABLE}")
        return None

    async def _finish(self, pod: PodRecord | None, tracked: TrackedPod) -> Result:
        """Write the profiles of a pod that has ended, when all that was logged has been told."""
        waited_s = self._pods.waited_s(tracked)
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
            expected = container.missed or bool(container.done)
            await self._pods.conclude(tracked, container, expected=expected, advice=self._advice())
        self._calls.forget(_ids(pod))
        self._note_collected(tracked.uid)
        await self._pods.drop(tracked)
        return self._pods.leave(tracked.uid)

    def _advice(self) -> str:
        return "" if self._calls.position is not None else f"; {ENABLE}"

    def _note_collected(self, uid: str) -> None:
        self._absent_since.pop(uid, None)
        self._collected[uid] = None
        if len(self._collected) > MAX_COLLECTED:
            del self._collected[next(iter(self._collected))]


def _ids(pod: PodRecord | None) -> Iterable[str]:
    return tuple(identifier for identifier, _, _ in pod.instances) if pod else ()


def _missing(pod: PodRecord | None, tracked: TrackedPod) -> set[str]:
    """Recorded containers with an instance of which nothing was told."""
    return {
        name
        for identifier, name, _ in (pod.instances if pod else ())
        if (container := tracked.container(name)) is not None and identifier not in container.done
    }
