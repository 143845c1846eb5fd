"""Objects that share a file, and when its file may go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.api.seccomp_profile import SeccompProfile
from spo.profiles.file_owner import file_stem, names_of_file, oldest_first
from spo.profiles.paths import ProfileKey, localhost_profile, parse_localhost_profile
from spo.profiles.release import is_released
from tests.fakes.profiles_objects import NS, profile, released

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?(\.json){0,2}", fullmatch=True)


@given(NAMES)
def test_every_object_is_among_those_of_its_file(name: str) -> None:
    assert name in names_of_file(file_stem(name))


@given(NAMES)
def test_all_objects_of_a_file_have_its_path_and_no_other_has(name: str) -> None:
    path = localhost_profile(NS, name)
    names = names_of_file(file_stem(name))
    assert {localhost_profile(NS, one) for one in names} == {path}
    for other in {name + ".json", name.removesuffix(".json"), name + "x"} - set(names):
        assert localhost_profile(NS, other) != path


@given(NAMES)
def test_pods_cite_the_file_by_its_stem(name: str) -> None:
    assert parse_localhost_profile(localhost_profile(NS, name)) == ProfileKey(NS, file_stem(name))


def test_the_older_object_is_first_and_equal_age_is_decided_by_name() -> None:
    older, younger = (
        profile("b", created="2026-01-01T00:00:00Z"),
        profile("a", created="2026-01-01T00:00:01Z"),
    )
    assert oldest_first([younger, older]) == [older, younger]
    same = profile("a", created="2026-01-01T00:00:00Z")
    assert oldest_first([older, same]) == [same, older]


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        pytest.param(profile(), False, id="living"),
        pytest.param(profile(deleted=True), False, id="no-condition-yet"),
        pytest.param(released(profile()), True, id="released"),
        pytest.param(released(profile(generation=2), 1), False, id="released-for-an-older-generation"),
        pytest.param(profile(status=released(profile()).status), False, id="condition-without-deletion"),
    ],
)
def test_released(one: SeccompProfile, expected: bool) -> None:
    assert is_released(one) is expected
