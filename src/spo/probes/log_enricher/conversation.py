"""What is said to the daemon, and when: whose containers these are, what they did, that all has been told."""

from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from spo import klog
from spo.probes.log_enricher.counts import Counts
from spo.probes.log_enricher.enricher import Enricher
from spo.probes.log_enricher.link import Done
from spo.probes.log_enricher.waiting import WaitingRoom
from spo.rpc.log_enricher import Counted, Drain, Drained, Find, Found, Losses, Trace, Traced

log = klog.get("log-enricher")

SETTLE_S: Final = 0.1
"""How long a record may be on its way from the kernel to us, ..."""
SETTLE_FILES_S: Final = 1.0
"""... and how long if another process writes it to a file first."""
DRAIN_S: Final = 5.0
"""After this time everything from before is read, however much comes after it."""


class Connection(Protocol):
    """Carries calls; :class:`spo.probes.log_enricher.link.DaemonLink`."""

    @property
    def is_ready(self) -> bool:
        """Whether a call can be made."""

    def call(self, request: msgspec.Struct, done: Done) -> None:
        """Send a request."""


class Origin(Protocol):
    """Where the records come from, as far as it matters whether some are missing."""

    def losses(self) -> Losses:
        """What was lost, as far as it is known."""

    def look_for_losses(self) -> None:
        """Find out what it costs something to know."""

    def serials(self) -> tuple[int, int] | None:
        """First and last serial number; ``None``: not all are seen."""

    def is_settled(self) -> bool:
        """No record is overdue."""


class _Draining:
    """A question of the daemon that is being answered."""

    __slots__ = ("due_s", "is_read", "is_told", "limit_s", "number")

    def __init__(self, number: int, now_s: float, settle_s: float) -> None:
        self.number = number
        self.due_s = now_s + settle_s
        self.limit_s = now_s + settle_s + DRAIN_S
        self.is_read = False
        """All records from before are read."""
        self.is_told = False
        """All containers were asked for, and what they did is on its way."""


class Conversation:
    """Never waits: :meth:`tick` does what can be done now.

    Args:
        count_pause_s: how long counts are collected before they are sent.
        settle_s: how long a record may be on its way to us.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        link: Connection,
        enricher: Enricher,
        waiting: WaitingRoom,
        counts: Counts,
        origin: Origin,
        *,
        count_pause_s: float,
        settle_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._link = link
        self._enricher = enricher
        self._waiting = waiting
        self._counts = counts
        self._origin = origin
        self._count_pause_s = count_pause_s
        self._settle_s = settle_s
        self._clock = clock
        self._is_counting = False
        self._count_s = 0.0
        self._has_more = False
        self._draining: _Draining | None = None
        self._next_drain = 0

    @property
    def is_over(self) -> bool:
        """Nothing more can be told."""
        return not self._link.is_ready or self._counts.is_told

    @property
    def is_draining(self) -> bool:
        """All that can be read must be read."""
        return self._draining is not None and not self._draining.is_read

    def deadline_s(self) -> float | None:
        """When :meth:`tick` must be called at the latest; ``None``: no need."""
        times = [self._count_s or None]
        if self._link.is_ready:
            times.append(self._waiting.next_due_s())
        if self._draining is not None and not self._draining.is_read:
            times.append(self._draining.due_s)
        if self._enricher.gone is not None:
            times.append(self._enricher.gone.next_due_s())
        return min((one for one in times if one is not None), default=None)

    def link_changed(self, is_ready: bool) -> None:
        """The connection is there, or lost."""
        self._is_counting, self._has_more = False, False
        self._draining, self._next_drain = None, 0
        if is_ready:
            self._waiting.ask_all()
            self._counts.connected()
            self._send_counts()
            self._has_more = True  # that may have been a batch from before

    def event(self, event: object) -> None:
        """The daemon says something."""
        if not isinstance(event, Drain):
            return
        if self._draining is None:
            self._draining = _Draining(event.number, self._clock(), self._settle_s)
        else:
            self._next_drain = event.number

    def tick(self, *, dry: bool) -> None:
        """Do what is due.

        Args:
            dry: everything that the sources had is read.
        """
        now_s = self._clock()
        self._ask(now_s)
        self._trace()
        draining = self._draining
        if draining is not None and not draining.is_read and now_s >= draining.due_s:
            if now_s < draining.limit_s and not (dry and self._origin.is_settled()):
                draining.due_s = now_s + SETTLE_S
            else:
                self._drain(draining)
        self._count(now_s)

    def tell_losses(self) -> None:
        """There are new ones: tell them without waiting for records."""
        self._count_s = self._count_s or self._clock()

    def finish(self) -> None:
        """Begin to tell everything, for the last time."""
        self._origin.look_for_losses()
        self._tell_all()

    def _ask(self, now_s: float) -> None:
        due_s = self._waiting.next_due_s()
        if self._link.is_ready and due_s is not None and due_s <= now_s and (wanted := self._waiting.due()):
            self._link.call(Find(wanted), self._found)

    def _trace(self) -> None:
        """Ask what the recorder saw of processes that had ended before we could look."""
        if self._enricher.gone is None:
            return
        pids = self._enricher.gone.due()
        if pids and self._link.is_ready:
            self._link.call(Trace(pids), self._traced)
        self._enricher.give_up()

    def _traced(self, answer: Traced) -> None:
        if answer.processes:
            self._enricher.learn(answer.processes)

    def _found(self, answer: Found) -> None:
        for name in answer.waiting:
            log.info("container ID is still empty, retrying", containerName=name)
        for container in answer.containers:
            self._enricher.found(container)

    def _drain(self, draining: _Draining) -> None:
        draining.is_read = True
        self._origin.look_for_losses()
        self._waiting.ask_all()
        wanted = self._waiting.due()
        if not wanted:
            self._tell_all()
            return
        while more := self._waiting.due():
            self._link.call(Find(wanted), self._found)
            wanted = more

        def found(answer: Found) -> None:
            self._found(answer)
            self._tell_all()

        self._link.call(Find(wanted), found)

    def _tell_all(self) -> None:
        if self._draining is not None:
            self._draining.is_told = self._draining.is_read
        self._enricher.collect()
        self._send_counts()
        self._say_drained()

    def _say_drained(self) -> None:
        draining = self._draining
        if draining is None or not draining.is_told or self._is_counting:
            return
        self._draining = None
        self._link.call(Drained(draining.number), _nothing)
        if self._next_drain:
            self._draining = _Draining(self._next_drain, self._clock(), self._settle_s)
            self._next_drain = 0

    def _count(self, now_s: float) -> None:
        """Send what came; without records there is nothing to do, and no need to wake up for it."""
        if self._count_s == 0.0:
            if self._enricher.has_news:
                self._count_s = now_s + self._count_pause_s
        elif now_s >= self._count_s:
            self._count_s = 0.0
            self._enricher.collect()
            self._send_counts()

    def _send_counts(self) -> None:
        self._has_more = self._is_counting  # the batch that is on its way does not know the latest losses
        if not self._link.is_ready or self._is_counting:
            return
        first, through = self._origin.serials() or (None, 0)
        gone = self._enricher.gone
        waiting = [self._waiting.first_serial, gone.first_serial if gone is not None else None]
        self._counts.reached(first, min((through, *(one - 1 for one in waiting if one is not None))))
        batch = self._counts.batch(self._origin.losses())
        if batch is not None:
            self._is_counting = True
            self._link.call(batch, self._counted)

    def _counted(self, answer: Counted) -> None:
        self._is_counting = False
        self._counts.acknowledged()
        self._counts.calls.forget(answer.done)
        if self._counts.is_waiting or self._has_more:
            self._send_counts()
        self._say_drained()


def _nothing(_: object) -> None:
    """The answer says that it arrived."""
