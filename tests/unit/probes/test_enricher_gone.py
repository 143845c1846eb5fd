"""Records of processes that ended before anybody looked."""

import pytest

from spo.audit.records import Record, SeccompRecord
from spo.probes.log_enricher.counts import Counts
from spo.probes.log_enricher.enricher import Enricher
from spo.probes.log_enricher.gone import MAX_RECORDS, WAITING_S, GoneProcesses
from spo.probes.log_enricher.owners import Owner
from spo.probes.log_enricher.waiting import WaitingRoom
from spo.rpc.log_enricher import MAX_ENTRIES, KnownContainer, TracedProcess

CONTAINER = "a" * 64


def record(pid: int, serial: int = 1) -> SeccompRecord:
    return SeccompRecord(1_600_000_000_000, serial, pid, b'"sh"', b'"/bin/sh"', 0xC000003E, 83)


class Node:
    """An enricher that finds no process by itself."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.guess = False
        self.containers: dict[int, str] = {}
        self.lines: list[str] = []
        self.gone = GoneProcesses(lambda pids: [one for pid in pids for one in (pid, pid + 1000)], self.clock)
        self.waiting = WaitingRoom(self.clock)
        counts = Counts("session")
        self.enricher = Enricher("n", self, self.waiting, counts, self.lines.append, gone=self.gone)

    def clock(self) -> float:
        return self.now_s

    def find(self, pid: int, _time_ms: int) -> Owner | None:
        if pid in self.containers:
            return Owner(0, self.containers[pid], None)
        if not self.guess:
            return None
        owner = Owner(0, None, None)
        owner.is_guess = True
        return owner

    def learn(self, pid: int, container_id: str, pod_uid: str | None, seen_s: float) -> None:
        self.containers[pid] = container_id

    def learns(self, pid: int) -> None:
        self.enricher.learn([TracedProcess(pid, CONTAINER, None, self.now_s)])


@pytest.fixture
def node() -> Node:
    made = Node()
    made.enricher.found(KnownContainer(CONTAINER, "default", "p", "c"))
    return made


def test_record_waits_until_its_process_is_known(node: Node) -> None:
    node.enricher.handle(record(7))
    assert node.gone.due() == [7, 1007]
    assert not node.lines
    node.learns(7)
    (line,) = node.lines
    assert '"pod"="p"' in line
    assert node.gone.first_serial is None
    node.now_s += WAITING_S
    node.enricher.give_up()
    assert (node.enricher.tally.process_gone, node.enricher.tally.no_container) == (0, 0)


@pytest.mark.parametrize(("guess", "expected"), [(False, (1, 0)), (True, (0, 1))])
def test_record_that_waits_in_vain_is_counted_once(
    node: Node, guess: bool, expected: tuple[int, int]
) -> None:
    node.guess = guess
    node.enricher.handle(record(7))
    node.learns(8)
    node.now_s += WAITING_S
    for _ in range(2):
        node.enricher.give_up()
    assert (node.enricher.tally.process_gone, node.enricher.tally.no_container) == expected
    assert node.enricher.has_news


def test_questions_have_pauses(node: Node) -> None:
    node.enricher.handle(record(7))
    assert node.gone.due()
    assert not node.gone.due()
    due_s = node.gone.next_due_s()
    assert due_s is not None
    node.now_s = due_s
    assert node.gone.due()


def test_bounds(node: Node) -> None:
    for serial in range(MAX_RECORDS + 5):
        node.enricher.handle(record(serial, serial + 1))
    assert node.enricher.tally.process_gone == 5
    assert len(node.gone.due()) == MAX_ENTRIES
    assert node.gone.first_serial == 1
    taken: list[Record] = [one.record for one in node.gone.take_all()]
    assert len(taken) == MAX_RECORDS
