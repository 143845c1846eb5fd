"""What the runtime says about one container."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum


class ContainerPhase(StrEnum):
    """Where a container is in its life."""

    CREATED = "created"
    """Made, but its process never started."""
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """One container of ours."""

    id: str
    pod_uid: str
    name: str
    """As in the pod; ``names.SANDBOX_CONTAINER`` for the one that holds the network."""
    attempt: int
    phase: ContainerPhase
    pid: int = 0
    monitor_pid: int = 0
    """Process that outlives the container's until its end is recorded."""
    exit_code: int = 0
    oom_killed: bool = False
    started_s: float = 0.0
    finished_s: float = 0.0
    image_id: str = ""
    ip: str = ""
    stop_signal: str = "SIGTERM"
    pod_key: tuple[str, str] = ("", "")
    error: str = ""
    """Why the process never started (phase CREATED)."""

    @property
    def running(self) -> bool:
        """It has a process."""
        return self.phase is ContainerPhase.RUNNING


@dataclass(frozen=True, slots=True)
class Image:
    """A local image."""

    id: str
    reference: str
    """A name that leads to it."""
    digest: str
    user: str
    """User that the image asks for; empty is root."""
    size_bytes: int = 0


def parse_time(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time; 0.0 for Podman's zero time and for nonsense."""
    try:
        # Nanoseconds are more than fromisoformat takes.
        head, _, rest = text.partition(".")
        digits = rest.rstrip("Z").partition("+")[0].partition("-")[0]
        zone = rest[len(digits) :] if rest else ""
        moment = datetime.fromisoformat(f"{head}.{digits[:6]:0<6}{zone}" if rest else text)
    except ValueError:
        return 0.0
    if moment.year < 1970:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def timestamp(seconds: float) -> str:
    """RFC 3339 time in whole seconds, as the API writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
