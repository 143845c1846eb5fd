"""The process: one thread, one loop, ended by SIGTERM."""

import contextlib
import os
import secrets
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final, TextIO, cast

from spo import klog
from spo.probes.log_enricher.conversation import SETTLE_FILES_S, SETTLE_S, Conversation
from spo.probes.log_enricher.counts import Counts
from spo.probes.log_enricher.enricher import Enricher
from spo.probes.log_enricher.forks import DRAIN_S, ForkEvents
from spo.probes.log_enricher.gone import GoneProcesses
from spo.probes.log_enricher.kernel_losses import KernelLosses
from spo.probes.log_enricher.link import DaemonLink
from spo.probes.log_enricher.log_file import POLL_S
from spo.probes.log_enricher.netlink import BacklogLimit, SourceError, dropped_records
from spo.probes.log_enricher.output import Output
from spo.probes.log_enricher.owners import Owners
from spo.probes.log_enricher.settings import LogEnricherSettings
from spo.probes.log_enricher.sources import NetlinkSource, RecordSource, open_sources
from spo.probes.log_enricher.waiting import WaitingRoom
from spo.rpc.log_enricher import PROTOCOL, Losses

log = klog.get("log-enricher")

NAP_S: Final = 0.02
"""At 100,000 records/s a tenth of what the receive buffer holds."""
AWAKE_S: Final = 0.05
AWAKE_WITHOUT_FORKS_S: Final = 1.0
FAREWELL_S: Final = 1.0
"""How long the end waits for the daemon to take what we know."""
NICENESS: Final = 10
"""Those who make records go first: the receive buffer waits for us."""
_SESSION_BYTES: Final = 16
_ENDING: Final = (signal.SIGTERM, signal.SIGINT)
_MAX_SIGNALS: Final = 64


def run_log_enricher(settings: LogEnricherSettings, verbosity: int) -> None:
    """Work until SIGTERM or SIGINT.

    Raises:
        SourceError: a source that was asked for by name does not work.
    """
    os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    with contextlib.ExitStack() as stack:
        ended = stack.enter_context(_ended_by_signal())
        output = Output(sys.stderr.fileno())
        stack.callback(_give_output_back, output, verbosity)
        klog.configure(verbosity, cast("TextIO", output))  # so that all lines keep their order
        log.info(f"Starting log-enricher on node: {settings.node_name}")
        log.info("Connecting to local GRPC server")  # the line users look for; it is msgpack
        sources = open_sources(settings, explains=verbosity > 0)
        for source in sources:
            stack.callback(source.close)
        if any(isinstance(source, NetlinkSource) for source in sources):
            stack.enter_context(BacklogLimit(settings.network_namespace))
        forks = _open_forks(settings)
        if forks is not None:
            stack.callback(forks.close)
        selector = stack.enter_context(selectors.DefaultSelector())
        loop = _Loop(settings, selector, sources, output, forks)
        stack.callback(loop.close)
        loop.run(ended)
        log.info("Stopped")


def _open_forks(settings: LogEnricherSettings) -> ForkEvents | None:
    try:
        return ForkEvents(settings.network_namespace)
    except SourceError as error:
        log.warning("Cannot follow processes that end at once", problem=str(error))
        return None


def _give_output_back(output: Output, verbosity: int) -> None:
    klog.configure(verbosity)
    output.close()


@contextlib.contextmanager
def _ended_by_signal() -> Iterator[socket.socket]:
    """A socket that becomes readable with the first SIGTERM or SIGINT."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)

    def note(_number: int, _frame: FrameType | None) -> None:
        """The wakeup descriptor has done all."""

    with ours, theirs:
        for number in _ENDING:
            signal.signal(number, note)
        previous = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        try:
            yield ours
        finally:
            signal.set_wakeup_fd(previous)


class _Loop:
    """Waits for records, the daemon, our reader and the clock."""

    def __init__(
        self,
        settings: LogEnricherSettings,
        selector: selectors.BaseSelector,
        sources: list[RecordSource],
        output: Output,
        forks: ForkEvents | None,
    ) -> None:
        self._settings = settings
        self._selector = selector
        self._sources = sources
        self._output = output
        self._waiting = WaitingRoom(time.monotonic)
        self._counts = Counts(secrets.token_hex(_SESSION_BYTES), int(time.time() * 1000))
        self._forks = forks
        self._owners = Owners(settings.proc, forks)
        self._gone = GoneProcesses(self._owners.lineage, time.monotonic)
        self._enricher = Enricher(
            settings.node_name,
            self._owners,
            self._waiting,
            self._counts,
            output.write,
            printing=settings.printing,
            gone=self._gone,
        )
        self._link = DaemonLink(
            settings.daemon_socket,
            PROTOCOL,
            selector,
            self._link_changed,
            server_uids=settings.daemon_uids,
            clock=time.monotonic,
            event=self._event,
        )
        self._polls = any(not isinstance(source, NetlinkSource) for source in sources)
        self._conversation = Conversation(
            self._link,
            self._enricher,
            self._waiting,
            self._counts,
            self,
            count_pause_s=settings.count_pause_s,
            settle_s=SETTLE_FILES_S if self._polls else SETTLE_S,
            clock=time.monotonic,
        )
        self._kernel = KernelLosses(
            lambda: dropped_records(settings.network_namespace),
            batch_s=settings.count_pause_s,
            clock=time.monotonic,
        )
        self._more: set[RecordSource] = set()
        self._print_s = 0.0
        self._poll_s = 0.0
        self._watches_output = False
        self._forks_s = 0.0
        self._looked_up = 0
        self._awake_s = AWAKE_WITHOUT_FORKS_S if forks is None else AWAKE_S
        self._awake_until_s = 0.0
        self._round_s = 0.0
        for source in sources:
            selector.register(source.fileno(), selectors.EVENT_READ, self._pump_of(source))

    def close(self) -> None:
        """Close the connection to the daemon."""
        self._link.close()

    def run(self, ended: socket.socket) -> None:
        """Go round until ``ended`` is readable."""
        over = False

        def end(_events: int) -> None:
            nonlocal over
            over = any(number in _ENDING for number in ended.recv(_MAX_SIGNALS))  # others are for profiles

        self._selector.register(ended, selectors.EVENT_READ, end)
        while not over:
            for key, events in self._selector.select(self._timeout_s()):
                ready: Callable[[int], None] = key.data
                ready(events)
            now_s = time.monotonic()
            if self._polls and now_s >= self._poll_s:
                self._poll_s = now_s + POLL_S
                self._more.update(self._sources)
            for source in list(self._more):
                self._pump(source)
            if self._forks is not None and now_s >= self._forks_s:
                self._forks_s = now_s + DRAIN_S
                self._forks.drain()
            self._link.tick()
            self._watch_kernel()
            self._conversation.tick(dry=not self._more)
            self._print(now_s)
            self._nap(now_s)
        self._selector.unregister(ended)
        self._say_farewell()

    def _say_farewell(self) -> None:
        """What the daemon has not been told goes with us."""
        limit_s = time.monotonic() + FAREWELL_S
        self._more.update(self._sources)
        while self._more and time.monotonic() < limit_s:
            for source in list(self._more):
                self._pump(source)
        self._conversation.finish()
        while not self._conversation.is_over and (left_s := limit_s - time.monotonic()) > 0:
            for key, events in self._selector.select(left_s):
                ready: Callable[[int], None] = key.data
                ready(events)

    def _pump_of(self, source: RecordSource) -> Callable[[int], None]:
        return lambda _events: self._more.add(source)

    def _pump(self, source: RecordSource) -> None:
        if not source.pump(self._enricher.handle, time.monotonic()):
            self._more.discard(source)

    def _watch_kernel(self) -> None:
        if self._enricher.has_news:
            self._kernel.records_came()
        if self._kernel.tick():
            self._conversation.tell_losses()

    def _nap(self, now_s: float) -> None:
        """Let some records gather, where one round follows the other and no new process appears.

        A wakeup costs as much as some records. But a process that has just begun may end at once, so with the
        first record of one we stay awake for a while.
        """
        if self._owners.looked_up != self._looked_up:
            self._looked_up = self._owners.looked_up
            self._awake_until_s = now_s + self._awake_s
        if not self._more and now_s > self._awake_until_s and now_s - self._round_s < 2 * NAP_S:
            time.sleep(NAP_S)
        self._round_s = now_s

    def _timeout_s(self) -> float | None:
        if self._more:
            return 0.0
        deadlines = [
            self._link.next_deadline_s(),
            self._print_s or None,
            self._conversation.deadline_s(),
            self._kernel.due_s,
        ]
        if self._polls:
            deadlines.append(self._poll_s)
        if self._forks is not None:
            deadlines.append(self._forks_s)
        first = min((one for one in deadlines if one is not None), default=None)
        return None if first is None else max(0.0, first - time.monotonic())

    def _link_changed(self, is_ready: bool) -> None:
        self._conversation.link_changed(is_ready)

    def _event(self, event: object) -> None:
        self._conversation.event(event)
        self._more.update(self._sources)

    def serials(self) -> tuple[int, int] | None:
        """See :class:`spo.probes.log_enricher.conversation.Origin`."""
        return next((one.serials for one in self._sources if one.serials is not None), None)

    def is_settled(self) -> bool:
        """See :class:`spo.probes.log_enricher.conversation.Origin`."""
        return self._gone.first_serial is None and all(source.is_settled for source in self._sources)

    def look_for_losses(self) -> None:
        """See :class:`spo.probes.log_enricher.conversation.Origin`."""
        self._kernel.look()

    def losses(self) -> Losses:
        """See :class:`spo.probes.log_enricher.conversation.Origin`."""
        tally, waiting = self._enricher.tally, self._waiting
        return Losses(
            overruns=sum(source.overruns for source in self._sources),
            gaps=sum(source.gaps for source in self._sources),
            process_gone=tally.process_gone,
            no_container=tally.no_container,
            unknown_container=waiting.expired,
            backlog_full=waiting.full,
            unknown_syscall=tally.unknown_syscall,
            unreadable=sum(source.unreadable for source in self._sources),
            not_printed=self._output.dropped,
            merged=self._counts.merged,
            kernel_dropped=self._kernel.lost,
        )

    def _print(self, now_s: float) -> None:
        if self._output.is_stuck != self._watches_output:
            self._watches_output = not self._watches_output
            if self._watches_output:
                self._selector.register(self._output.fileno(), selectors.EVENT_WRITE, self._output_ready)
            else:
                self._selector.unregister(self._output.fileno())
        if self._output.is_stuck or not self._output.has_lines:
            self._print_s = 0.0
        elif self._print_s == 0.0:
            self._print_s = now_s + self._settings.print_pause_s
        elif now_s >= self._print_s:
            self._print_s = 0.0
            self._output.flush()

    def _output_ready(self, _events: int) -> None:
        self._output.flush()
