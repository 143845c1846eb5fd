"""What the enricher tells of containers that are recorded, and when it has told everything."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from spo.audit.records import SeccompRecord
from spo.probes.log_enricher.calls import MAX_NUMBERS, MAX_RECORDED, CallBook
from spo.probes.log_enricher.conversation import DRAIN_S, SETTLE_S, Conversation
from spo.probes.log_enricher.counts import Counts
from spo.probes.log_enricher.enricher import Enricher
from spo.probes.log_enricher.owners import Owner
from spo.probes.log_enricher.waiting import WaitingRoom
from spo.rpc.frames import MAX_FRAME_BYTES
from spo.rpc.log_enricher import (
    MAX_ENTRIES,
    MAX_TEXT,
    AppArmorCount,
    Count,
    Counted,
    Drain,
    Drained,
    Find,
    Found,
    KnownContainer,
    Losses,
    SeenCalls,
)
from spo.rpc.protocol import message

A, B = "a" * 64, "b" * 64
NATIVE = "SCMP_ARCH_X86_64"
MKDIR, PTRACE, CAPSET = 83, 101, 126
RECORD = SeccompRecord(1624453150235, 10, 7, b'"sh"', b'"/bin/sh"', 0xC000003E, MKDIR)


def test_each_call_is_told_once() -> None:
    book = CallBook()
    for number in (MKDIR, MKDIR, PTRACE):
        book.add(A, NATIVE, number, b'"sh"')
    assert book.take() == [SeenCalls(A, NATIVE, [MKDIR, PTRACE])]
    book.add(A, NATIVE, MKDIR, b'"sh"')
    assert not book.has_news
    book.tell_all()
    assert book.take() == [SeenCalls(A, NATIVE, [MKDIR, PTRACE])]


@pytest.mark.parametrize(
    ("comm", "by_runtime"), [(b'"runc:[2:INIT]"', True), (b'"crun"', True), (b'"runc"', False), (b"", False)]
)
def test_calls_of_the_runtime_are_told_apart(comm: bytes, by_runtime: bool) -> None:
    book = CallBook()
    book.add(A, NATIVE, CAPSET, comm)
    assert book.take() == [SeenCalls(A, NATIVE, [CAPSET], by_runtime)]


def test_what_is_remembered_is_bounded() -> None:
    book = CallBook()
    for number in range(MAX_NUMBERS + 10):
        book.add(A, NATIVE, number, b'"sh"')
    book.add(A, NATIVE, -1, b'"sh"')
    (seen,) = book.take()
    assert seen.numbers == list(range(MAX_NUMBERS))
    for number in range(MAX_RECORDED):
        book.add(f"{number:064x}", NATIVE, MKDIR, b'"sh"')
    book.tell_all()
    told: list[str] = []
    while taken := book.take():
        assert len(taken) <= MAX_ENTRIES
        told += [one.container_id for one in taken]
    assert len(told) == MAX_RECORDED
    assert A not in told


def test_most_news_fit_a_frame() -> None:
    book = CallBook()
    for container in range(MAX_ENTRIES):
        for number in range(MAX_NUMBERS):
            book.add(f"{container:064x}", NATIVE, 0x7FFF0000 + number, b'"sh"')
    text = "\U0001f600" * MAX_TEXT
    entry = AppArmorCount(A, "n" * 63, "p" * 253, "c" * 63, text, 1 << 40, text, text, text, text)
    told = 0
    while taken := book.take():
        told += sum(len(one.numbers) for one in taken)
        batch = Count("s" * 64, 1, [entry] * MAX_ENTRIES, Losses(), taken)
        assert len(message(1, batch)) < MAX_FRAME_BYTES
    assert told == MAX_ENTRIES * MAX_NUMBERS


class Daemon:
    """Takes calls, answers them when the test says so."""

    def __init__(self) -> None:
        self.is_ready = False
        self.calls: list[tuple[msgspec.Struct, Callable[[Any], None]]] = []
        self.told: list[msgspec.Struct] = []
        self.known: list[KnownContainer] = []

    def call(self, request: msgspec.Struct, done: Callable[[Any], None]) -> None:
        assert self.is_ready
        self.calls.append((request, done))

    def answer(self) -> None:
        while self.calls:
            request, done = self.calls.pop(0)
            self.told.append(request)
            done(Found(self.known) if isinstance(request, Find) else Counted())

    def seen(self) -> set[tuple[str, int]]:
        batches = [one for one in self.told if isinstance(one, Count)]
        return {
            (seen.container_id, number) for one in batches for seen in one.seen for number in seen.numbers
        }


class World:
    """The enricher between kernel and daemon."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.daemon = Daemon()
        self.lost = Losses()
        self.dropped = 0
        self.numbers: tuple[int, int] | None = (5, 10)
        self.settled = True
        self.waiting = WaitingRoom(lambda: self.now_s)
        self.counts = Counts("session", 1234)
        self.enricher = Enricher("n", self, self.waiting, self.counts, lambda _: None)
        self.conversation = Conversation(
            self.daemon,
            self.enricher,
            self.waiting,
            self.counts,
            self,
            count_pause_s=1.0,
            settle_s=SETTLE_S,
            clock=lambda: self.now_s,
        )

    def find(self, pid: int, time_ms: int) -> Owner | None:
        return Owner(1, A, "uid")

    def losses(self) -> Losses:
        return self.lost

    def look_for_losses(self) -> None:
        self.lost = msgspec.structs.replace(self.lost, kernel_dropped=self.dropped)

    def serials(self) -> tuple[int, int] | None:
        return self.numbers

    def is_settled(self) -> bool:
        return self.settled

    def connect(self, *, knows: bool = True) -> None:
        self.daemon.is_ready = True
        self.daemon.known = [KnownContainer(A, "ns", "pod", "c", "rec-c-1")] if knows else []
        self.conversation.link_changed(True)
        self.daemon.answer()

    def disconnect(self) -> None:
        self.daemon.is_ready = False
        self.daemon.calls.clear()
        self.conversation.link_changed(False)

    def later(self, seconds: float, *, dry: bool = True) -> None:
        self.now_s += seconds
        self.conversation.tick(dry=dry)
        self.daemon.answer()

    def drained(self) -> list[int]:
        return [one.number for one in self.daemon.told if isinstance(one, Drained)]

    def last_count(self) -> Count:
        return next(one for one in reversed(self.daemon.told) if isinstance(one, Count))


@pytest.fixture
def world() -> World:
    return World()


def test_connection_begins_with_a_count(world: World) -> None:
    world.connect()
    assert world.daemon.told == [
        Count("session", 1, [], Losses(), first_serial=5, began_ms=1234, through_serial=10)
    ]
    world.later(10.0)
    assert len(world.daemon.told) == 1


def test_everything_is_told_again_to_the_next_daemon(world: World) -> None:
    world.connect()
    world.enricher.handle(RECORD)
    for _ in range(3):
        world.later(1.0)
    assert world.daemon.seen() == {(A, MKDIR)}
    world.disconnect()
    world.daemon.told.clear()
    world.connect()
    assert world.daemon.seen() == {(A, MKDIR)}


def test_containers_that_nobody_records_are_not_told(world: World) -> None:
    world.connect()
    world.daemon.known = [KnownContainer(A, "ns", "pod", "c")]
    world.enricher.handle(RECORD)
    for _ in range(3):
        world.later(1.0)
    assert world.last_count().entries
    assert world.daemon.seen() == set()


def test_draining_tells_what_is_not_due_yet(world: World) -> None:
    """Also of containers that the daemon got to know a moment ago."""
    world.connect(knows=False)
    world.enricher.handle(RECORD)
    for _ in range(5):
        world.later(2.0)
    assert world.waiting.waiting_records == 1
    world.daemon.known = [KnownContainer(A, "ns", "pod", "c", "rec-c-1")]
    world.conversation.event(Drain(7))
    world.later(0.0)
    assert world.drained() == []
    world.later(SETTLE_S)
    assert world.drained() == [7]
    assert world.daemon.seen() == {(A, MKDIR)}
    assert isinstance(world.daemon.told[-1], Drained)


def test_draining_waits_for_records_on_their_way(world: World) -> None:
    world.connect()
    world.settled = False
    world.conversation.event(Drain(1))
    world.later(SETTLE_S)
    assert world.drained() == []
    world.settled = True
    world.later(SETTLE_S, dry=False)
    assert world.drained() == []
    world.lost = Losses(gaps=3)
    world.later(SETTLE_S)
    assert world.drained() == [1]
    assert world.last_count().losses == Losses(gaps=3)


def test_draining_tells_what_the_kernel_has_dropped(world: World) -> None:
    world.connect()
    world.dropped = 4
    world.later(1.0)
    assert world.last_count().losses == Losses()
    world.conversation.event(Drain(1))
    world.later(SETTLE_S)
    assert isinstance(world.daemon.told[-1], Drained)
    assert world.last_count().losses == Losses(kernel_dropped=4)


def test_losses_that_show_while_a_batch_is_on_its_way_are_told_before_the_end(world: World) -> None:
    world.connect()
    world.enricher.handle(RECORD)
    world.later(1.0)  # asks whose container it is, and collects what is known
    world.enricher.handle(RECORD)
    world.conversation.tick(dry=True)
    world.now_s += 1.0
    world.conversation.tick(dry=True)
    assert isinstance(world.daemon.calls[-1][0], Count)
    world.conversation.event(Drain(1))
    world.dropped = 4
    world.now_s += SETTLE_S
    world.conversation.tick(dry=True)
    world.daemon.answer()
    assert isinstance(world.daemon.told[-1], Drained)
    assert world.last_count().losses == Losses(kernel_dropped=4)


def test_new_losses_are_told_without_records(world: World) -> None:
    world.connect()
    world.lost = Losses(kernel_dropped=2)
    assert world.conversation.deadline_s() is None
    world.conversation.tell_losses()
    world.later(0.0)
    assert world.last_count().losses == Losses(kernel_dropped=2)
    assert world.conversation.deadline_s() is None


def test_losses_from_before_a_new_connection_follow_the_batch_that_had_no_answer(world: World) -> None:
    world.connect()
    world.lost = Losses(kernel_dropped=2)
    world.conversation.tell_losses()
    world.conversation.tick(dry=True)
    world.disconnect()
    world.lost = Losses(kernel_dropped=5)
    world.connect()
    assert world.last_count().losses == Losses(kernel_dropped=5)


def test_the_end_tells_what_the_kernel_has_dropped(world: World) -> None:
    world.connect()
    world.dropped = 1
    world.conversation.finish()
    world.daemon.answer()
    assert world.last_count().losses == Losses(kernel_dropped=1)


def test_draining_ends_though_records_never_do(world: World) -> None:
    world.connect()
    world.conversation.event(Drain(1))
    world.later(SETTLE_S + DRAIN_S, dry=False)
    assert world.drained() == [1]


def test_questions_meanwhile_are_answered_by_one_more_round(world: World) -> None:
    world.connect()
    for number in (1, 2, 3):
        world.conversation.event(Drain(number))
    world.later(SETTLE_S)
    world.later(SETTLE_S)
    assert world.drained() == [1, 3]
    world.later(SETTLE_S)
    assert world.drained() == [1, 3]


def test_records_that_wait_are_not_told(world: World) -> None:
    """Should we end now, the daemon must not believe that it knows them."""
    world.connect(knows=False)
    world.enricher.handle(RECORD._replace(serial=8))
    world.lost = Losses(no_container=1)
    for _ in range(3):
        world.later(1.0)
    assert world.last_count().through_serial == 7


def test_log_file_tells_no_serials(world: World) -> None:
    world.numbers = None
    world.connect()
    assert world.last_count().first_serial is None
    assert world.last_count().through_serial == 0


def test_end_tells_the_rest(world: World) -> None:
    world.connect()
    world.enricher.found(world.daemon.known[0])
    world.enricher.handle(RECORD)
    world.conversation.finish()
    before = world.conversation.is_over
    world.daemon.answer()
    assert (before, world.conversation.is_over) == (False, True)
    assert world.daemon.seen() == {(A, MKDIR)}
