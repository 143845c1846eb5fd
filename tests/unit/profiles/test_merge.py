"""Merging a profile with its base profiles."""

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.api.meta import ObjectMeta
from spo.api.seccomp_profile import Arg, SeccompProfile, SeccompProfileSpec, Syscall
from spo.profiles.errno_ret import InvalidProfileError
from spo.profiles.merge import merge

ALLOW, ERRNO, LOG = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_LOG"


def profile(*syscalls: Syscall, default: str = ERRNO) -> SeccompProfile:
    spec = SeccompProfileSpec(default_action=default, syscalls=list(syscalls))
    return SeccompProfile(metadata=ObjectMeta(name="p"), spec=spec)


def rule(
    action: str, names: str, errno: int | str | None = None, args: tuple[tuple[int, int], ...] = ()
) -> Syscall:
    conditions = [Arg(index=index, value=value, op="SCMP_CMP_EQ") for index, value in args]
    return Syscall(names=names.split(), action=action, errno_ret=errno, args=conditions)


@pytest.mark.parametrize(
    ("base", "own", "expected"),
    [
        pytest.param(
            [rule(ALLOW, "a b c")],
            [rule(LOG, "d e f")],
            [rule(ALLOW, "a b c"), rule(LOG, "d e f")],
            id="different-actions",
        ),
        pytest.param(
            [rule(ALLOW, "a b c")], [rule(ALLOW, "d e f")], [rule(ALLOW, "a b c d e f")], id="union"
        ),
        pytest.param(
            [rule(ALLOW, "a b c"), rule(LOG, "x y z")],
            [rule(ALLOW, "b c d"), rule(LOG, "x y z")],
            [rule(ALLOW, "a b c d"), rule(LOG, "x y z")],
            id="overlap",
        ),
        pytest.param([], [], [], id="empty"),
        pytest.param(
            [rule(ALLOW, "mkdir read")],
            [rule(ERRNO, "mkdir", 1)],
            [rule(ALLOW, "read"), rule(ERRNO, "mkdir", 1)],
            id="own-wins-by-name",
        ),
        pytest.param(
            [rule(ALLOW, "a"), rule(ALLOW, "b")], [], [rule(ALLOW, "a b")], id="no-entry-of-the-base-is-lost"
        ),
        pytest.param(
            [rule(ALLOW, "ioctl", None, ((1, 7),)), rule(ALLOW, "read")],
            [rule(ALLOW, "ioctl", None, ((1, 9),)), rule(ALLOW, "ioctl", None, ((1, 8),))],
            [
                rule(ALLOW, "read"),
                rule(ALLOW, "ioctl", None, ((1, 8),)),
                rule(ALLOW, "ioctl", None, ((1, 9),)),
            ],
            id="all-entries-of-the-nearest-are-kept",
        ),
        pytest.param(
            [rule(ALLOW, "b a", None, ((0, 1),))],
            [rule(ALLOW, "a"), rule(ALLOW, "c", None, ((0, 1),))],
            [rule(ALLOW, "a"), rule(ALLOW, "b c", None, ((0, 1),))],
            id="identical-conditions-join",
        ),
        pytest.param(
            [rule(ERRNO, "a", "38"), rule(ERRNO, "d")],
            [rule(ERRNO, "c", 1), rule(ERRNO, "b", 38)],
            [rule(ERRNO, "d"), rule(ERRNO, "c", 1), rule(ERRNO, "a b", 38)],
            id="errno-as-text-equals-number",
        ),
    ],
)
def test_merge(base: list[Syscall], own: list[Syscall], expected: list[Syscall]) -> None:
    assert merge([profile(*own), profile(*base)]).syscalls == expected


def test_three_levels_nearest_first() -> None:
    chain = [profile(rule(ERRNO, "a")), profile(rule(LOG, "a b")), profile(rule(ALLOW, "a b c"))]
    assert merge(chain).syscalls == [rule(ALLOW, "c"), rule(ERRNO, "a"), rule(LOG, "b")]


def test_without_base_nothing_changes() -> None:
    syscalls = [rule(LOG, "z a z"), rule(ALLOW, "q"), rule(ERRNO, "e", "5")]
    assert merge([profile(*syscalls)]).syscalls == syscalls


def test_everything_else_is_the_nearest_profiles() -> None:
    own = profile(default=LOG)
    own.spec = msgspec.structs.replace(
        own.spec, architectures=["SCMP_ARCH_X86_64"], flags=["SECCOMP_FILTER_FLAG_LOG"], base_profile_name="b"
    )
    base = profile(rule(ALLOW, "a"))
    base.spec = msgspec.structs.replace(base.spec, architectures=["SCMP_ARCH_ARM"], listener_path="/x")
    assert merge([own, base]) == msgspec.structs.replace(own.spec, syscalls=[rule(ALLOW, "a")])


def test_the_inputs_stay_as_they_are() -> None:
    own, base = profile(rule(ALLOW, "b a")), profile(rule(ALLOW, "c"))
    before = msgspec.json.encode([own, base])
    merge([own, base])
    assert msgspec.json.encode([own, base]) == before


def test_a_bad_errno_is_named() -> None:
    with pytest.raises(InvalidProfileError, match=r"spec\.syscalls\[0\]\.errnoRet: 'EPERM' is not a decimal"):
        merge([profile(rule(ERRNO, "a", "EPERM")), profile()])


entries = st.lists(
    st.builds(
        rule,
        st.sampled_from([ALLOW, ERRNO, LOG]),
        st.lists(st.sampled_from("abcdef")).map(" ".join),
        st.none() | st.integers(0, 3) | st.integers(0, 3).map(str),
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=2).map(tuple),
    ),
    max_size=5,
)
chains = st.lists(entries.map(lambda one: profile(*one)), min_size=2, max_size=4)


@given(chains)
def test_merging_the_result_again_changes_nothing(chain: list[SeccompProfile]) -> None:
    once = merge(chain)
    again = merge([SeccompProfile(metadata=ObjectMeta(name="m"), spec=once), profile()])
    assert again == once


@given(chains)
def test_names_are_sorted_once_per_rule_and_none_is_lost(chain: list[SeccompProfile]) -> None:
    merged = merge(chain).syscalls
    for entry in merged:
        assert entry.names == sorted(set(entry.names))
    rules = [(entry.action, entry.errno_ret, msgspec.json.encode(entry.args)) for entry in merged]
    assert len(rules) == len(set(rules))
    given_names = {name for one in chain for entry in one.spec.syscalls for name in entry.names}
    assert {name for entry in merged for name in entry.names} == given_names


@given(chains, st.randoms(use_true_random=False))
def test_the_order_of_the_entries_does_not_matter(chain: list[SeccompProfile], random: Random) -> None:
    shuffled = []
    for one in chain:
        syscalls = list(one.spec.syscalls)
        random.shuffle(syscalls)
        shuffled.append(profile(*syscalls))
    assert merge(shuffled).syscalls == merge(chain).syscalls
