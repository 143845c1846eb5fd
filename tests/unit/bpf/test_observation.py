from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.bpf.observation import MAX_SYSCALLS, Observation, Phase, SyscallClass

KEYS = [(syscall_class, phase) for syscall_class in SyscallClass for phase in Phase]
NUMBERS = st.frozensets(st.integers(0, MAX_SYSCALLS - 1))
SEEN = st.dictionaries(st.sampled_from(KEYS), NUMBERS)

NATIVE_PROGRAM = (SyscallClass.NATIVE, Phase.PROGRAM)


def test_the_empty_observation_has_seen_nothing() -> None:
    assert not Observation.EMPTY
    assert Observation({NATIVE_PROGRAM: ()}) == Observation.EMPTY
    assert Observation.EMPTY.numbers(*NATIVE_PROGRAM) == frozenset()


@given(SEEN, SEEN)
def test_union_is_the_union_of_every_class_and_phase(
    left: Mapping[tuple[SyscallClass, Phase], frozenset[int]],
    right: Mapping[tuple[SyscallClass, Phase], frozenset[int]],
) -> None:
    both = Observation(left) | Observation(right)

    for key in KEYS:
        assert both.numbers(*key) == left.get(key, frozenset()) | right.get(key, frozenset())
    assert both == Observation(right) | Observation(left)
    assert hash(both) == hash(Observation(right) | Observation(left))


@given(NUMBERS)
def test_bitmap_of_128_bytes_is_read_bit_by_bit(numbers: frozenset[int]) -> None:
    bitmap = sum(1 << number for number in numbers).to_bytes(MAX_SYSCALLS // 8, "little")

    assert Observation.from_bitmaps({NATIVE_PROGRAM: bitmap}).numbers(*NATIVE_PROGRAM) == numbers


@pytest.mark.parametrize("number", [-1, MAX_SYSCALLS])
def test_number_outside_the_bitmap_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=r"0\.\.1023"):
        Observation({NATIVE_PROGRAM: {number}})


def test_unions_only_with_its_own_kind() -> None:
    with pytest.raises(TypeError):
        Observation.EMPTY | frozenset({1})  # type: ignore[operator]  # what is tested
    assert frozenset() != Observation.EMPTY
    assert repr(Observation({NATIVE_PROGRAM: {59, 0}})) == "Observation(NATIVE/PROGRAM: [0, 59])"
