"""What the log enricher tells of containers that are recorded: their calls, and what may be missing."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import datetime
from typing import Final, NamedTuple

from spo import klog
from spo.bpf.observation import MAX_SYSCALLS, Observation, Phase, SyscallClass
from spo.daemon.recording.tracking import LogProgress
from spo.recording.profile import ARCHITECTURES, X32_BIT, Machine
from spo.rpc.log_enricher import MAX_ENTRIES, Count, Losses, SeenCalls

log = klog.get("recorder-spod")

MAX_UNCLAIMED: Final = 1000
"""Containers whose calls are kept although nobody has asked for them yet."""
MAX_DONE: Final = 1000
"""Containers that the enricher is yet to hear of that nothing more is wanted."""
CLOCKS_S: Final = 1.0
"""The API server tells when a pod was created in whole seconds."""

RECORDS: Final = ("overruns", "gaps", "process_gone", "backlog_full", "unreadable", "kernel_dropped")
"""Of the losses of the enricher, those that may be calls of a container that is recorded."""

Drain = Callable[[], Awaitable[bool | None]]
"""Has the enricher tell all that was logged up to now; False: it is not there; ``None``: not enabled."""


class Position(NamedTuple):
    """How far one run of the enricher is."""

    session: str
    began_s: float
    """Since when it listens, in seconds since the Unix epoch."""
    lost: int
    """Records lost since then."""
    first_serial: int | None
    """Of the audit events it has seen; 0: none yet; ``None``: its source does not show them all."""
    through_serial: int
    """All up to this one was told; 0: not known."""


class LogBook:
    """Keeps the calls of containers until somebody takes them.

    Args:
        changed: told of containers that have made calls not seen before.
        progressed: told after every batch, when :attr:`position` is up to date.
    """

    def __init__(
        self,
        machine: Machine,
        changed: Callable[[str], None],
        progressed: Callable[[], None],
    ) -> None:
        self._classes = {str(name): cls for cls, name in ARCHITECTURES[machine].items()}
        self._changed = changed
        self._progressed = progressed
        self._calls: dict[str, Observation] = {}
        self._done: list[str] = []
        self.position: Position | None = None
        """``None``: no enricher has ever told anything."""

    def observe(self, batch: Count) -> list[str]:
        """Take a batch.

        Returns:
            Containers of which nothing more is wanted.
        """
        self.position = Position(
            batch.session,
            batch.began_ms / 1000,
            lost_records(batch.losses),
            batch.first_serial,
            batch.through_serial,
        )
        for seen in batch.seen:
            self._add(seen)
        self._progressed()
        for container_id in dict.fromkeys(one.container_id for one in batch.seen):
            self._changed(container_id)
        done, self._done = self._done[:MAX_ENTRIES], self._done[MAX_ENTRIES:]
        return done

    def has(self, container_id: str) -> bool:
        """Whether there is something to take."""
        return container_id in self._calls

    def take(self, container_id: str) -> Observation:
        """The calls of a container that nobody has taken yet."""
        return self._calls.pop(container_id, Observation.EMPTY)

    def forget(self, container_ids: Iterable[str]) -> None:
        """Nothing more is wanted of them: the enricher need not tell it again."""
        for container_id in container_ids:
            self._calls.pop(container_id, None)
            self._done.append(container_id)
        del self._done[:-MAX_DONE]

    def _add(self, seen: SeenCalls) -> None:
        cls = self._classes.get(seen.architecture)
        if cls is None:
            log.warning("A container made calls of another architecture", architecture=seen.architecture)
            return
        phase = Phase.RUNTIME_FILTERED if seen.by_runtime else Phase.PROGRAM
        numbers = list(_numbers(cls, seen.numbers))
        before = self._calls.pop(seen.container_id, Observation.EMPTY)
        if len(self._calls) >= MAX_UNCLAIMED:
            del self._calls[next(iter(self._calls))]
        self._calls[seen.container_id] = before | Observation({(cls, phase): numbers})


def _numbers(cls: SyscallClass, numbers: Iterable[int]) -> Iterator[int]:
    for number in numbers:
        bare = number & ~X32_BIT if cls is SyscallClass.X32 else number
        if 0 <= bare < MAX_SYSCALLS:
            yield bare


def lost_records(losses: Losses) -> int:
    """How many records may be calls of any container; a full buffer counts as one."""
    return sum(getattr(losses, reason) for reason in RECORDS)


def progress(before: LogProgress | None, now: Position, created: str) -> LogProgress:
    """Add what may be missing of a pod.

    Args:
        before: what was known of the pod; ``None``: nothing yet.
        now: how far the enricher is.
        created: when the pod was created, RFC 3339.
    """
    if before is not None and before.session == now.session:
        return LogProgress(
            session=now.session,
            counted=now.lost,
            through=now.through_serial or before.through,
            lost=before.lost + max(0, now.lost - before.counted),
        )
    if before is None:
        # Who began to listen after the pod has missed at least one record.
        missed = now.began_s > _seconds(created) + CLOCKS_S
        lost = 1 + now.lost if missed else 0
        return LogProgress(session=now.session, counted=now.lost, through=now.through_serial, lost=lost)
    if before.through and now.first_serial == 0:
        return before  # nothing has happened since: whether something is missing shows with the next event
    between = max(0, now.first_serial - before.through - 1) if before.through and now.first_serial else 1
    return LogProgress(
        session=now.session,
        counted=now.lost,
        through=now.through_serial,
        lost=before.lost + between + now.lost,
    )


def may_lack(known: LogProgress | None, now: Position | None) -> int:
    """How many records a profile may lack that is made now."""
    if known is None:
        return 0
    # A later run of the enricher has seen no event yet: it was not there when the pod did the last thing.
    return known.lost + (now is not None and now.session != known.session)


def _seconds(created: str) -> float:
    """RFC 3339 -> seconds since the Unix epoch; the far past for what is none."""
    try:
        return datetime.fromisoformat(created).timestamp()
    except ValueError:
        return 0.0
