"""What the daemon makes of what the enricher tells: calls of containers, and what may be missing."""

from typing import Any

import pytest

from spo.bpf.observation import Observation, Phase, SyscallClass
from spo.daemon.recording.logs import MAX_UNCLAIMED, LogBook, Position, progress
from spo.daemon.recording.tracking import LogProgress
from spo.rpc.log_enricher import MAX_ENTRIES, Count, Losses, SeenCalls

A, B = "a" * 64, "b" * 64
CREATED = "2026-01-01T00:00:10Z"
EPOCH = 1767225600.0
BEFORE, AFTER = EPOCH, EPOCH + 20.0


class Book:
    """A LogBook, and what it told."""

    def __init__(self) -> None:
        self.changed: list[str] = []
        self.progressed = 0
        self.book = LogBook("x86_64", self.changed.append, self._progressed)

    def _progressed(self) -> None:
        self.progressed += 1

    def tell(self, *seen: SeenCalls, **fields: Any) -> list[str]:
        return self.book.observe(Count("s", 1, [], **{"losses": Losses(), "seen": list(seen), **fields}))


def seen(
    *numbers: int, of: str = A, architecture: str = "SCMP_ARCH_X86_64", by_runtime: bool = False
) -> SeenCalls:
    return SeenCalls(of, architecture, list(numbers), by_runtime)


def test_calls_add_up_until_they_are_taken() -> None:
    one = Book()
    one.tell(seen(83, 101), seen(126, by_runtime=True))
    one.tell(seen(0x40000200, architecture="SCMP_ARCH_X32"), seen(5, architecture="SCMP_ARCH_X86"))
    assert one.book.take(A) == Observation(
        {
            (SyscallClass.NATIVE, Phase.PROGRAM): [83, 101],
            (SyscallClass.NATIVE, Phase.RUNTIME_FILTERED): [126],
            (SyscallClass.X32, Phase.PROGRAM): [0x200],
            (SyscallClass.COMPAT, Phase.PROGRAM): [5],
        }
    )
    assert not one.book.has(A)
    assert one.changed == [A, A]
    assert one.progressed == 2


def test_numbers_that_no_bitmap_has_are_left_out() -> None:
    one = Book()
    one.tell(seen(1024, 1 << 40, 83), seen(83, architecture="SCMP_ARCH_S390"))
    assert one.book.take(A) == Observation({(SyscallClass.NATIVE, Phase.PROGRAM): [83]})


def test_what_nobody_takes_is_bounded() -> None:
    one = Book()
    one.tell(seen(83))
    for number in range(MAX_UNCLAIMED):
        one.tell(seen(83, of=f"{number:064x}"))
    assert not one.book.has(A)
    assert one.book.has(f"{0:064x}")


def test_containers_that_are_done_are_told_some_at_a_time() -> None:
    one = Book()
    one.tell(seen(83))
    ids = [A, *(f"{number:064x}" for number in range(MAX_ENTRIES))]
    one.book.forget(ids)
    assert not one.book.has(A)
    assert one.tell() == ids[:MAX_ENTRIES]
    assert one.tell() == ids[MAX_ENTRIES:]
    assert one.tell() == []


def test_losses_that_matter_to_recordings() -> None:
    one = Book()
    one.tell(losses=Losses(gaps=2, process_gone=3, not_printed=100, no_container=100, merged=100))
    assert one.book.position is not None
    assert one.book.position.lost == 5
    one.tell(losses=Losses(gaps=2, process_gone=3, kernel_dropped=2))
    assert one.book.position.lost == 7


def at(
    session: str = "s", began_s: float = BEFORE, lost: int = 0, first: int | None = 100, through: int = 200
) -> Position:
    return Position(session, began_s, lost, first, through)


def test_losses_from_before_the_pod_do_not_count() -> None:
    first = progress(None, at(lost=7), CREATED)
    assert first.lost == 0
    second = progress(first, at(lost=9), CREATED)
    assert second.lost == 2
    assert progress(second, at(lost=9), CREATED) == second


def test_enricher_that_came_after_the_pod_has_missed_something() -> None:
    assert progress(None, at(began_s=AFTER, lost=2), CREATED).lost == 3


@pytest.mark.parametrize(
    ("now", "lost"),
    [
        pytest.param(at("t", AFTER, first=201), 0, id="the next event"),
        pytest.param(at("t", AFTER, first=200), 0, id="an event that both have seen"),
        pytest.param(at("t", AFTER, first=204), 3, id="events between"),
        pytest.param(at("t", AFTER, first=201, lost=4), 4, id="lost since"),
        pytest.param(at("t", AFTER, first=None, through=0), 1, id="a log file"),
    ],
)
def test_restart_of_the_enricher(now: Position, lost: int) -> None:
    before = LogProgress(session="s", counted=5, through=200, lost=0)
    after = progress(before, now, CREATED)
    assert (after.lost, after.session, after.counted) == (lost, "t", now.lost)


def test_restart_is_judged_by_the_first_event_after_it() -> None:
    before = LogProgress(session="s", counted=5, through=200, lost=0)
    waiting = progress(before, at("t", AFTER, first=0, through=0), CREATED)
    assert waiting == before
    assert progress(waiting, at("t", AFTER, first=210, through=220), CREATED) == LogProgress(
        session="t", counted=0, through=220, lost=9
    )


def test_unknown_end_of_the_last_run_counts_once() -> None:
    before = LogProgress(session="s", lost=1)
    after = progress(before, at("t", AFTER, first=0, through=0), CREATED)
    assert after.lost == 2
    assert progress(after, at("t", AFTER, first=300, through=310), CREATED).lost == 2


def test_restarts_of_the_daemon_change_nothing() -> None:
    """What it stored of the pod is all it knows."""
    before = progress(None, at(lost=7), CREATED)
    assert progress(before, at(lost=8), CREATED).lost == 1
