"""From records to lines and counts."""

import itertools
import json
import re
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.audit.records import AppArmorRecord, SeccompRecord, SelinuxRecord
from spo.probes.log_enricher.counts import MAX_KEYS, OTHER, Counts
from spo.probes.log_enricher.enricher import MAX_ALL_DEEDS, Enricher, Printing, quoted
from spo.probes.log_enricher.owners import Owner
from spo.probes.log_enricher.waiting import (
    MAX_CONTAINERS,
    MAX_TEXT_OF_CONTAINER,
    MAX_WAITING_OF_CONTAINER,
    MAX_WAITING_TEXT,
    WAITING_S,
    WaitingRoom,
)
from spo.rpc.frames import MAX_FRAME_BYTES
from spo.rpc.log_enricher import (
    MAX_ENTRIES,
    MAX_TEXT,
    PROTOCOL,
    AppArmorCount,
    Count,
    KnownContainer,
    Losses,
    SeccompCount,
    SelinuxCount,
    Wanted,
)
from spo.rpc.protocol import message

A, B = "a" * 64, "b" * 64
X86_64 = 0xC000003E
NGINX = SeccompRecord(1624453150235, 2873, 1905792, b'"nginx"', b'"/usr/sbin/nginx"', X86_64, 12)
HEAD = r'^I\d{4} \d\d:\d\d:\d\d\.\d{6} [ \d]{6}\d enricher\.py:\d+\] log-enricher "msg"="audit"  '


class Node:
    """An enricher with its surroundings."""

    def __init__(self, printing: Printing = Printing.ALL) -> None:
        self.now_s = 100.0
        self.owners: dict[int, Owner] = {NGINX.pid: Owner(1, A, "pod-uid")}
        self.waiting = WaitingRoom(lambda: self.now_s)
        self.counts = Counts("session")
        self.lines: list[str] = []
        self.enricher = Enricher(
            "127.0.0.1", self, self.waiting, self.counts, self.lines.append, printing=printing
        )

    def find(self, pid: int, time_ms: int) -> Owner | None:
        return self.owners.get(pid)

    def knows(self, container_id: str = A, *, record: str = "") -> None:
        self.enricher.found(KnownContainer(container_id, "default", "log-pod", "log-container", record))

    def batch(self) -> Count:
        self.enricher.collect()
        batch = self.counts.batch(Losses())
        assert batch is not None
        return batch

    def texts(self) -> list[str]:
        return [re.sub(HEAD, "", line, count=1).rstrip("\n") for line in self.lines]


@pytest.fixture
def node() -> Node:
    return Node()


def test_line_is_the_one_of_the_documentation(node: Node) -> None:
    node.knows()
    node.enricher.handle(NGINX)
    assert re.match(HEAD, node.lines[0])
    assert node.texts() == [
        (
            '"container"="log-container" "executable"="/usr/sbin/nginx" "namespace"="default" '
            '"node"="127.0.0.1" "pid"=1905792 "pod"="log-pod" "syscallID"=12 "syscallName"="brk" '
            '"timestamp"="1624453150.235:2873" "type"="seccomp"'
        )
    ]


def test_calls_are_counted_by_executable_and_syscall(node: Node) -> None:
    node.knows()
    for number in (12, 12, 3, 12):
        node.enricher.handle(NGINX._replace(number=number))
    assert node.batch().entries == [
        SeccompCount(
            A, "default", "log-pod", "log-container", "/usr/sbin/nginx", 3, "brk", "SCMP_ARCH_X86_64"
        ),
        SeccompCount(
            A, "default", "log-pod", "log-container", "/usr/sbin/nginx", 1, "close", "SCMP_ARCH_X86_64"
        ),
    ]


@pytest.mark.parametrize(
    ("architecture", "number", "expected"),
    [
        (X86_64, 5, "fstat"),
        (0x40000003, 5, "open"),
        (0xC00000B7, 5, "setxattr"),
        (X86_64, 0x40000200, "rt_sigaction"),
    ],
)
def test_the_records_own_architecture_names_the_syscall(
    node: Node, architecture: int, number: int, expected: str
) -> None:
    node.knows()
    node.enricher.handle(NGINX._replace(architecture=architecture, number=number))
    assert f'"syscallID"={number} "syscallName"="{expected}"' in node.lines[0]


@pytest.mark.parametrize(("architecture", "number"), [(X86_64, 9999), (X86_64, -1), (0xBAD, 1)])
def test_syscall_without_a_name_is_counted_as_such(node: Node, architecture: int, number: int) -> None:
    node.knows()
    node.enricher.handle(NGINX._replace(architecture=architecture, number=number))
    assert node.lines == []
    assert node.enricher.tally.unknown_syscall == 1


def test_records_wait_for_their_container_and_keep_their_order(node: Node) -> None:
    for serial in (1, 2, 3):
        node.enricher.handle(NGINX._replace(serial=serial))
    assert node.lines == []
    assert node.waiting.due() == [Wanted(A, "pod-uid")]
    node.knows()
    node.enricher.handle(NGINX._replace(serial=4))
    assert [re.search(r':(\d+)" "type"', line)[1] for line in node.lines] == ["1", "2", "3", "4"]  # type: ignore[index] # all match
    assert sum(entry.count for entry in node.batch().entries) == 4


def test_sandbox_does_not_hold_up_the_others(node: Node) -> None:
    node.owners[1] = Owner(1, B, None)
    node.knows()
    node.enricher.handle(NGINX._replace(pid=1))
    node.enricher.handle(NGINX)
    assert len(node.lines) == 1


def test_processes_without_container_and_gone_ones_are_counted(node: Node) -> None:
    node.owners[1] = Owner(1, None, None)
    node.enricher.handle(NGINX._replace(pid=1))
    node.enricher.handle(NGINX._replace(pid=2))
    assert (node.enricher.tally.no_container, node.enricher.tally.process_gone) == (1, 1)


def test_pauses_between_questions_grow(node: Node) -> None:
    node.enricher.handle(NGINX)
    asked = []
    while len(asked) < 12:
        due_s = node.waiting.next_due_s()
        assert due_s is not None
        node.now_s = max(node.now_s, due_s)
        if node.waiting.due():
            asked.append(node.now_s)
    pauses = [round(after - before, 3) for before, after in itertools.pairwise(asked)]
    assert pauses[:3] == [0.25, 0.375, 0.562]
    assert pauses[-1] == 10.0
    node.waiting.ask_all()
    assert node.waiting.due() == [Wanted(A, "pod-uid")]


def test_records_that_wait_in_vain_are_counted(node: Node) -> None:
    node.enricher.handle(NGINX)
    node.enricher.handle(NGINX)
    node.now_s += WAITING_S
    assert node.waiting.due() == []
    assert (node.waiting.expired, node.waiting.waiting_records, node.waiting.next_due_s()) == (2, 0, None)


def test_what_waits_is_bounded(node: Node) -> None:
    for _ in range(MAX_WAITING_OF_CONTAINER + 5):
        node.enricher.handle(NGINX)
    assert (node.waiting.full, node.waiting.waiting_records) == (5, MAX_WAITING_OF_CONTAINER)
    for number in range(MAX_CONTAINERS + 3):
        node.waiting.wait(f"{number:064x}", None, NGINX)
    assert node.waiting.full == 5 + 4  # A is one of them
    assert len(node.waiting.due()) == MAX_ENTRIES


def test_long_texts_that_wait_are_bounded(node: Node) -> None:
    long = NGINX._replace(executable=b"x" * 8000)
    fits = MAX_TEXT_OF_CONTAINER // (8000 + len(NGINX.comm))
    for _ in range(fits + 3):
        node.waiting.wait(A, None, long)
    assert (node.waiting.full, node.waiting.waiting_records) == (3, fits)
    assert len(node.waiting.leave(A)) == fits
    for number in range(5):
        for _ in range(fits):
            node.waiting.wait(f"{number:064x}", None, long)
    assert node.waiting.waiting_records == MAX_WAITING_TEXT // (8000 + len(NGINX.comm))


@pytest.mark.parametrize(
    ("printing", "expected"), [(Printing.ALL, 3), (Printing.UNIQUE, 2), (Printing.NONE, 0)]
)
def test_printing_can_be_less_than_counting(printing: Printing, expected: int) -> None:
    node = Node(printing)
    node.knows()
    for number in (12, 3, 12):
        node.enricher.handle(NGINX._replace(number=number))
    assert len(node.lines) == expected
    assert sum(entry.count for entry in node.batch().entries) == 3


def test_selinux_decisions_are_printed_and_counted(node: Node) -> None:
    node.knows(record="rec-c-1")
    node.enricher.handle(
        SelinuxRecord(1613173578156, 2945, NGINX.pid, "sh", ("read", "open"), "s:c", "t:c", "lnk_file")
    )
    assert node.texts() == [
        (
            '"container"="log-container" "namespace"="default" "node"="127.0.0.1" "perm"="read open" '
            '"pid"=1905792 "pod"="log-pod" "profile"="rec-c-1" "scontext"="s:c" "tclass"="lnk_file" '
            '"tcontext"="t:c" "timestamp"="1613173578.156:2945" "type"="selinux"'
        )
    ]
    assert node.batch().entries == [
        SelinuxCount(A, "default", "log-pod", "log-container", "sh", 1, "read open", "s:c", "t:c", "lnk_file")
    ]


def test_apparmor_decisions_are_printed_and_counted(node: Node) -> None:
    node.knows()
    node.enricher.handle(
        AppArmorRecord(1000, 1, NGINX.pid, "cat", "DENIED", "open", "docker-default", "/etc/x", "fsuid=0")
    )
    assert node.texts() == [
        (
            '"apparmor"="DENIED" "container"="log-container" "executable"="cat" "extra_info"="fsuid=0" '
            '"name"="/etc/x" "namespace"="default" "node"="127.0.0.1" "operation"="open" "pid"=1905792 '
            '"pod"="log-pod" "profile"="docker-default" "timestamp"="1.000:1" "type"="apparmor"'
        )
    ]
    assert node.batch().entries == [
        AppArmorCount(
            A,
            "default",
            "log-pod",
            "log-container",
            "cat",
            1,
            "DENIED",
            "open",
            "docker-default",
            "/etc/x",
        )
    ]


def test_line_cannot_be_broken_by_a_program(node: Node) -> None:
    node.knows()
    path = b'/tmp/\x1b[2J\n"I1123 00:00:00.000000 1 enricher.go:1] forged\x7f\xc2\x9b\xe2\x80\xa8'
    node.enricher.handle(NGINX._replace(executable=path.hex().upper().encode()))
    (line,) = node.lines
    assert line.endswith("\n")
    assert line[:-1].isascii()
    assert line[:-1].isprintable()
    assert len(line.splitlines()) == 1
    assert '"executable"="/tmp/\\u001b[2J\\n\\"I1123' in line


@given(st.text(max_size=50))
def test_quoted_text_is_visible_and_comes_back(text: str) -> None:
    shown = quoted(text)
    assert shown.isascii()
    assert shown.isprintable()
    assert json.loads(shown) == text


def test_batch_is_sent_again_until_it_is_acknowledged(node: Node) -> None:
    node.knows()
    node.enricher.handle(NGINX)
    first = node.batch()
    node.enricher.handle(NGINX)
    assert node.batch() is first
    node.counts.acknowledged()
    second = node.batch()
    assert (second.number, second.entries[0].count) == (2, 1)
    node.counts.acknowledged()
    assert node.counts.batch(Losses()) is None
    news = node.counts.batch(Losses(gaps=1))
    assert news is not None
    assert news.losses.gaps == 1


def test_executables_without_end_become_one(node: Node) -> None:
    node.knows()
    for number in range(MAX_KEYS + 10):
        node.enricher.handle(NGINX._replace(executable=b'"/x%d"' % number))
    node.enricher.collect()
    assert node.counts.merged >= 10
    total, entries = 0, []
    while (batch := node.counts.batch(Losses())) is not None:
        assert len(batch.entries) <= MAX_ENTRIES
        entries += batch.entries
        node.counts.acknowledged()
    total = sum(entry.count for entry in entries)
    assert total == MAX_KEYS + 10
    assert len(entries) == MAX_KEYS + 1
    assert entries[-1].executable == OTHER


@pytest.mark.parametrize("make", [lambda: "\U0001f600" * 5000, lambda: "\x1b" * 5000])
def test_largest_batch_fits_a_frame_and_is_read(node: Node, make: Callable[[], str]) -> None:
    node.knows()
    for number in range(MAX_ENTRIES):
        long = make()
        node.enricher.handle(
            SelinuxRecord(1, 1, NGINX.pid, f"{number}" + long, (long,) * 3, long, long, long)
        )
    batch = node.batch()
    assert len(batch.entries) == MAX_ENTRIES or len(batch.entries[0].executable) == MAX_TEXT
    frame = message(1, batch)
    assert len(frame) <= MAX_FRAME_BYTES
    assert msgspec.msgpack.decode(frame[4:], type=tuple[int, PROTOCOL.requests])[1] == batch


def test_what_is_remembered_is_bounded_over_all_containers(node: Node) -> None:
    for container in range(8):
        container_id = f"{container:064x}"
        node.owners[container] = Owner(1, container_id, None)
        node.knows(container_id)
        for number in range(4000):
            node.enricher.handle(NGINX._replace(pid=container, executable=b'"/x%d"' % number))
    remembered = sum(len(target.deeds) for target in node.enricher._targets.values())
    assert remembered <= MAX_ALL_DEEDS
    node.enricher.collect()
    total = 0
    while (batch := node.counts.batch(Losses())) is not None:
        total += sum(entry.count for entry in batch.entries)
        node.counts.acknowledged()
    assert total == 8 * 4000


def test_long_names_of_executables_leave_room(node: Node) -> None:
    node.knows()
    records = 1500
    for number in range(records):
        node.enricher.handle(NGINX._replace(executable=b'"/%08d' % number + b"x" * 8000 + b'"'))
    (target,) = node.enricher._targets.values()
    kept = {id(deed): deed for deed in (*target.deeds.values(), *node.enricher._dirty) if deed}
    assert sum(len(deed.before) for deed in kept.values()) < 4_000_000
    node.enricher.collect()
    total = 0
    while (batch := node.counts.batch(Losses())) is not None:
        total += sum(entry.count for entry in batch.entries)
        node.counts.acknowledged()
    assert total == records
