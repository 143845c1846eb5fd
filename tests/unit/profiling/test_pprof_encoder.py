"""What the encoder writes, read by another program."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.profiling.pprof import Frame, Header, Sample, ValueType, encode
from tests.fakes.pprof_reader import read_profile

BYTES = ValueType("inuse_space", "bytes")


def header(**changes: Any) -> Header:
    usual: dict[str, Any] = {
        "sample_types": (ValueType("inuse_objects", "count"), BYTES),
        "program": "/usr/bin/python3",
        "comment": "what it shows",
        "period_type": BYTES,
        "period": 1,
        "time_ns": 1_700_000_000_000_000_000,
        "duration_ns": 5,
    }
    return Header(**{**usual, **changes})


def test_profile_says_what_it_is() -> None:
    profile = read_profile(encode(header(), [Sample((Frame("f", "f.py", 3), Frame("main")), (2, 300))]))
    assert profile.sample_types == [("inuse_objects", "count"), ("inuse_space", "bytes")]
    assert profile.default_type == "inuse_space"
    assert profile.period == ("inuse_space", "bytes", 1)
    assert profile.comments == ["what it shows"]
    assert (profile.time_ns, profile.duration_ns) == (1_700_000_000_000_000_000, 5)
    assert profile.program == "/usr/bin/python3"
    assert profile.samples == [([("f", "f.py", 3), ("main", "", 0)], [2, 300])]


def test_profile_of_nothing_can_be_read() -> None:
    assert read_profile(encode(header(), [])).samples == []


def test_same_function_on_two_lines_is_one_function() -> None:
    samples = [Sample((Frame("f", "f.py", line),), (1, 1)) for line in (3, 4)]
    profile = read_profile(encode(header(), samples))
    assert [stack for stack, _ in profile.samples] == [[("f", "f.py", 3)], [("f", "f.py", 4)]]


def test_name_that_is_no_text_does_not_spoil_the_file() -> None:
    profile = read_profile(encode(header(), [Sample((Frame("f", "\udcff.py", 1),), (1, 1))]))
    assert profile.samples[0][0] == [("f", "?.py", 1)]


def test_number_of_values_must_fit() -> None:
    with pytest.raises(ValueError, match="1 values for 2 types"):
        encode(header(), [Sample((Frame("f"),), (1,))])


TEXTS = st.text(max_size=20)
FRAMES = st.builds(Frame, TEXTS, TEXTS, st.integers(0, 2**31))
VALUES = st.tuples(st.integers(0, 2**63 - 1), st.integers(-(2**63), 2**63 - 1))


@given(samples=st.lists(st.builds(Sample, st.lists(FRAMES, min_size=1, max_size=5), VALUES), max_size=8))
def test_all_that_is_written_can_be_read(samples: list[Sample]) -> None:
    profile = read_profile(encode(header(), samples))
    assert profile.samples == [
        ([tuple(frame) for frame in sample.stack], list(sample.values)) for sample in samples
    ]
