"""What allowedSyscalls and allowedSeccompActions of the operator's settings refuse."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.api.seccomp_profile import SeccompProfileSpec
from spo.api.spod import ALLOWABLE_ACTIONS, SpodSpec
from spo.profiles.allowance import Allowance, ProfileNotAllowedError
from spo.profiles.oci import render

ALLOW, LOG, ERRNO = "SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_ERRNO"


def allowance(**spec: Any) -> Allowance:
    found = Allowance.of(msgspec.convert(spec, SpodSpec))
    assert found
    return found


def profile(default: str = ERRNO, **rules: list[str]) -> SeccompProfileSpec:
    entries = [{"action": f"SCMP_ACT_{action}", "names": names} for action, names in rules.items()]
    return msgspec.convert({"defaultAction": default, "syscalls": entries}, SeccompProfileSpec)


def test_without_syscalls_everything_is_allowed() -> None:
    assert Allowance.of(SpodSpec()) is None
    assert Allowance.of(SpodSpec(allowed_seccomp_actions=[ALLOW])) is None


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(profile(ALLOW=["read", "write"]), id="all-named"),
        pytest.param(profile(ALLOW=["read"], ERRNO=["mount"], KILL=["reboot"]), id="refusals-are-free"),
        pytest.param(profile("SCMP_ACT_KILL"), id="nothing"),
        pytest.param(profile(ALLOW=[]), id="empty-rule"),
    ],
)
def test_profile_within_the_limits(found: SeccompProfileSpec) -> None:
    allowance(allowedSyscalls=["read", "write"]).check(found)


@pytest.mark.parametrize("action", ["ALLOW", "LOG", "TRACE", "NOTIFY"])
def test_every_action_that_lets_a_call_happen_is_limited(action: str) -> None:
    limits = allowance(allowedSyscalls=["read"])
    with pytest.raises(ProfileNotAllowedError, match=rf"^syscall not allowed: mount \(SCMP_ACT_{action}\);"):
        limits.check(profile(**{action: ["read", "mount"]}))
    with pytest.raises(ProfileNotAllowedError, match=rf"^seccomp profile not allowed: .*SCMP_ACT_{action}"):
        limits.check(profile(f"SCMP_ACT_{action}"))


def test_other_actions_can_be_left_unlimited() -> None:
    limits = allowance(allowedSyscalls=["read"], allowedSeccompActions=[ALLOW])
    limits.check(profile(LOG, ALLOW=["read"], TRACE=["mount"]))
    with pytest.raises(ProfileNotAllowedError, match="mount"):
        limits.check(profile(LOG, ALLOW=["mount"]))


def test_many_names_are_cut() -> None:
    names = [f"call_{number:02}" for number in range(12)]
    with pytest.raises(ProfileNotAllowedError, match=r"call_00, .*call_09 and 2 more \("):
        allowance(allowedSyscalls=["read"]).check(profile(ALLOW=names))


def test_file_is_judged_by_what_it_says() -> None:
    limits = allowance(allowedSyscalls=["read"])
    assert limits.permits_file(render(profile(ALLOW=["read"], ERRNO=["mount"])))
    assert not limits.permits_file(render(profile(ALLOW=["mount"])))


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"defaultAction":1}', b"\xff", b'{"defaultAction":"\xff"}']
)
def test_file_that_cannot_be_read_is_not_allowed(content: bytes) -> None:
    assert not allowance(allowedSyscalls=["read"]).permits_file(content)


NAMES = st.sampled_from(["read", "write", "mount", "reboot"])
RULES = st.dictionaries(st.sampled_from(["ALLOW", "LOG", "ERRNO", "KILL"]), st.lists(NAMES))


@given(rules=RULES, names=st.lists(NAMES, min_size=1), default=st.sampled_from([ALLOW, LOG, ERRNO]))
def test_nothing_slips_through(rules: dict[str, list[str]], names: list[str], default: str) -> None:
    limits, found = allowance(allowedSyscalls=names), profile(default, **rules)
    happening = {
        name for entry in found.syscalls if entry.action in ALLOWABLE_ACTIONS for name in entry.names
    }
    wanted = happening <= set(names) and default == ERRNO
    assert limits.permits_file(render(found)) is wanted
