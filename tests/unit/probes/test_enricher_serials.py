import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.audit.records import SeccompRecord
from spo.probes.log_enricher.serials import Duplicates, Gaps


def lost(serials: list[int]) -> int:
    gaps = Gaps()
    for serial in serials:
        gaps.add(serial, 0.0)
    gaps.settle(1.0)
    return gaps.lost


@pytest.mark.parametrize(
    ("serials", "expected"),
    [
        pytest.param([], 0, id="nothing"),
        pytest.param([5, 6, 7], 0, id="complete"),
        pytest.param([5, 9], 3, id="gap"),
        pytest.param([5, 9, 12], 5, id="two-gaps"),
        pytest.param([5, 7, 6, 8], 0, id="overtaken"),
        pytest.param([5, 5, 6, 6], 0, id="several-records-of-an-event"),
        pytest.param([5_000_000, 1, 2], 0, id="machine-started-again"),
    ],
)
def test_numbers_that_never_came_are_counted(serials: list[int], expected: int) -> None:
    assert lost(serials) == expected


def test_gap_is_counted_when_nothing_can_fill_it_any_more() -> None:
    gaps = Gaps()
    gaps.add(1, 0.0)
    gaps.add(3, 0.0)
    gaps.settle(0.25)
    assert gaps.lost == 0
    gaps.settle(1.0)
    assert gaps.lost == 1


@given(st.permutations(range(1, 40)))
def test_no_order_of_complete_numbers_has_a_gap(serials: list[int]) -> None:
    start = [0, *serials]
    assert lost([serial + 100 for serial in start]) == 0


def test_memory_of_gaps_is_bounded() -> None:
    assert lost(list(range(1, 20_001, 2))) == 9_999


def test_record_counts_once() -> None:
    duplicates = Duplicates()
    first = SeccompRecord(1, 2, 3, b'"a"', b'"b"', 4, 5)
    assert duplicates.is_new(first)
    assert not duplicates.is_new(SeccompRecord(*first))
    assert duplicates.is_new(first._replace(serial=3))
    assert duplicates.is_new(first._replace(time_ms=2))


def test_memory_of_records_is_bounded() -> None:
    duplicates = Duplicates()
    for number in range(100_000):
        assert duplicates.is_new((number,))
    assert len(duplicates._seen) <= 1 << 16
