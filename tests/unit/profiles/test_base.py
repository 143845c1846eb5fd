"""The chain of base profiles."""

import pytest

from spo.api.meta import ObjectMeta
from spo.api.seccomp_profile import SeccompProfile, SeccompProfileSpec
from spo.profiles.base import (
    MAX_DEPTH,
    BaseProfileCycleError,
    BaseProfileDepthError,
    BaseProfileNotFoundError,
    resolve_base,
)


def profiles(bases: dict[str, str | None]) -> dict[str, SeccompProfile]:
    return {
        name: SeccompProfile(
            metadata=ObjectMeta(name=name, namespace="ns"),
            spec=SeccompProfileSpec(base_profile_name=base, default_action="SCMP_ACT_ERRNO"),
        )
        for name, base in bases.items()
    }


def names(chain: tuple[SeccompProfile, ...]) -> list[str]:
    return [profile.metadata.name for profile in chain]


@pytest.mark.parametrize(
    ("bases", "expected"),
    [
        pytest.param({"a": None}, ["a"], id="none"),
        pytest.param({"a": ""}, ["a"], id="empty-string"),
        pytest.param({"a": "b", "b": None}, ["a", "b"], id="one"),
        pytest.param({"a": "b", "b": "c", "c": None}, ["a", "b", "c"], id="nearest-first"),
    ],
)
def test_chain(bases: dict[str, str | None], expected: list[str]) -> None:
    stored = profiles(bases)
    assert names(resolve_base(stored["a"], stored.get)) == expected


def test_a_missing_base_is_named_with_its_user_and_namespace() -> None:
    stored = profiles({"a": "b", "b": "gone"})
    with pytest.raises(BaseProfileNotFoundError) as caught:
        resolve_base(stored["a"], stored.get)
    assert str(caught.value) == (
        "base profile 'gone' of profile 'b' not found: create a SeccompProfile "
        "with this name in namespace 'ns', or correct baseProfileName"
    )


@pytest.mark.parametrize(
    ("bases", "cycle"),
    [
        ({"a": "a"}, "a -> a;"),
        ({"a": "b", "b": "a"}, "a -> b -> a;"),
        ({"a": "b", "b": "c", "c": "b"}, "b -> c -> b;"),
    ],
)
def test_a_cycle_ends_and_is_shown(bases: dict[str, str | None], cycle: str) -> None:
    stored = profiles(bases)
    with pytest.raises(BaseProfileCycleError, match=cycle):
        resolve_base(stored["a"], stored.get)


def ladder(length: int) -> dict[str, SeccompProfile]:
    return profiles({str(step): str(step + 1) if step < length else None for step in range(length + 1)})


def test_depth_limit() -> None:
    stored = ladder(MAX_DEPTH)
    assert len(resolve_base(stored["0"], stored.get)) == MAX_DEPTH + 1
    stored = ladder(MAX_DEPTH + 1)
    with pytest.raises(BaseProfileDepthError, match="profile '0' has more than 15 base profiles"):
        resolve_base(stored["0"], stored.get)
