"""What the pod runner remembers about each container of a pod.

Podman knows the present container only; how earlier ones ended is kept here and, across restarts of the
pod runner, in the pod's status.
"""

from dataclasses import dataclass, replace
from typing import Any, Final, Self

from onenode.kubelet.settings import KubeletSettings
from onenode.kubelet.state import ContainerPhase, ContainerState, Image, parse_time, timestamp

_KILLED: Final = 137
_NEVER_STARTED: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How one run of a container ended."""

    exit_code: int
    reason: str
    message: str = ""
    started_s: float = 0.0
    finished_s: float = 0.0
    container_id: str = ""

    @classmethod
    def from_state(cls, state: ContainerState, message: str = "") -> Self:
        """From a container that runs no more."""
        if state.phase is ContainerPhase.CREATED:
            return cls(
                exit_code=_NEVER_STARTED,
                reason="StartError",
                message=state.error or message,
                finished_s=state.finished_s,
                container_id=state.id,
            )
        reason = "Completed" if state.exit_code == 0 else "Error"
        return cls(
            exit_code=state.exit_code,
            reason="OOMKilled" if state.oom_killed else reason,
            message=message,
            started_s=state.started_s,
            finished_s=state.finished_s,
            container_id=state.id,
        )

    @classmethod
    def from_wire(cls, value: dict[str, Any] | None) -> Self | None:
        """From ``state.terminated`` of a stored status."""
        if not value:
            return None
        return cls(
            exit_code=int(value.get("exitCode", _KILLED)),
            reason=str(value.get("reason", "")),
            message=str(value.get("message", "")),
            started_s=parse_time(str(value.get("startedAt") or "")),
            finished_s=parse_time(str(value.get("finishedAt") or "")),
            container_id=str(value.get("containerID", "")).removeprefix("podman://"),
        )

    def to_wire(self) -> dict[str, Any]:
        """For ``state.terminated``."""
        value: dict[str, Any] = {"exitCode": self.exit_code, "reason": self.reason}
        if self.message:
            value["message"] = self.message
        value["startedAt"] = timestamp(self.started_s) if self.started_s else None
        value["finishedAt"] = timestamp(self.finished_s) if self.finished_s else None
        if self.container_id:
            value["containerID"] = f"podman://{self.container_id}"
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRecord:
    """One container of a pod: its present run, how the last one ended, when it may start again."""

    running: ContainerState | None = None
    ended: Ended | None = None
    """How the newest run ended; ``None`` while it runs or before the first."""
    previous: Ended | None = None
    """How the run before ended."""
    restarts: int = 0
    waiting_reason: str = ""
    """Why it could not be started; empty when nothing went wrong."""
    waiting_message: str = ""
    retry_at_s: float = 0.0
    """Not to be started before."""
    failures: int = 0
    """Tries in a row that did not make a container."""
    crashes: int = 0
    """Runs in a row that ended soon."""
    image: str = ""
    image_id: str = ""
    started: bool = False
    """Runs, and its startup probe succeeded."""
    ready: bool = False
    """Runs, started, and its readiness probe says so."""

    @property
    def started_ever(self) -> bool:
        """It has run, or runs."""
        return self.running is not None or self.ended is not None

    @property
    def next_attempt(self) -> int:
        """Number of the next run."""
        return self.restarts + 1 if self.started_ever else 0

    def with_running(self, state: ContainerState, *, started: bool = True, ready: bool = True) -> Self:
        """A new run began; what has a probe is not ``started`` or ``ready`` yet."""
        return replace(
            self,
            running=state,
            ended=None,
            previous=self.ended or self.previous,
            restarts=state.attempt,
            waiting_reason="",
            waiting_message="",
            failures=0,
            started=started,
            ready=ready,
        )

    def with_end(self, ended: Ended, settings: KubeletSettings) -> Self:
        """The present run ended; the next must wait, but not after the first crash."""
        ran_s = ended.finished_s - ended.started_s if ended.started_s else 0.0
        crashes = 1 if ran_s >= settings.crash_reset_s else self.crashes + 1
        wait_s = crash_wait_s(crashes, settings)
        return replace(
            self,
            running=None,
            started=False,
            ready=False,
            ended=ended,
            restarts=max(self.restarts, self.running.attempt if self.running else 0),
            crashes=crashes,
            retry_at_s=ended.finished_s + wait_s if wait_s else 0.0,
        )

    def with_failure(self, reason: str, message: str, now_s: float, settings: KubeletSettings) -> Self:
        """The container could not be made."""
        wait_s = settings.start_backoff_s * 2 ** min(self.failures, 16)
        return replace(
            self,
            waiting_reason=reason,
            waiting_message=message,
            failures=self.failures + 1,
            retry_at_s=now_s + min(wait_s, settings.start_backoff_max_s),
        )

    def with_image(self, image: Image) -> Self:
        """The image that the next run uses."""
        return replace(self, image=image.reference, image_id=image.digest)


def crash_wait_s(crashes: int, settings: KubeletSettings) -> float:
    """Wait before the next start after so many runs in a row that ended."""
    if crashes <= 1:
        return 0.0
    return min(settings.crash_backoff_s * 2.0 ** min(crashes - 2, 16), settings.crash_backoff_max_s)


def record_from_status(
    status: dict[str, Any] | None, settings: KubeletSettings, now_s: float
) -> ContainerRecord:
    """What a stored ``containerStatuses`` entry tells; a run that it calls present is taken as lost."""
    if not status:
        return ContainerRecord()
    state, last = status.get("state") or {}, status.get("lastState") or {}
    ended = Ended.from_wire(state.get("terminated"))
    previous = Ended.from_wire(last.get("terminated"))
    restarts = int(status.get("restartCount") or 0)
    if state.get("running"):
        ended = Ended(
            exit_code=_KILLED,
            reason="ContainerStatusUnknown",
            message="The container could not be located when the pod was looked at again",
            finished_s=now_s,
            container_id=str(status.get("containerID", "")).removeprefix("podman://"),
        )
    elif ended is None and previous is not None:
        ended, previous = previous, None  # it was waiting for its next start
    record = ContainerRecord(
        ended=ended,
        previous=previous,
        restarts=restarts,
        crashes=restarts,
        image=str(status.get("image") or ""),
        image_id=str(status.get("imageID") or ""),
    )
    if ended is None:
        return record
    wait_s = crash_wait_s(record.crashes + 1, settings)
    return replace(record, retry_at_s=ended.finished_s + wait_s if wait_s else 0.0)
