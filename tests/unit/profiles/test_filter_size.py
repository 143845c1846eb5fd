import pytest

from spo.api.seccomp_profile import Arg, SeccompProfileSpec, Syscall
from spo.profiles.filter_size import MAX_CONDITIONS, MAX_NAMES, MAX_RULES_OF_A_SYSCALL, check_size
from spo.profiles.validation import InvalidProfileError, validate


def rule(*names: str, conditions: int = 0) -> Syscall:
    args = [Arg(index=index, value=1, op="SCMP_CMP_EQ") for index in range(conditions)]
    return Syscall(names=list(names), action="SCMP_ACT_ALLOW", args=args)


def spec(*rules: Syscall) -> SeccompProfileSpec:
    return SeccompProfileSpec(default_action="SCMP_ACT_ERRNO", syscalls=list(rules))


@pytest.mark.parametrize(
    "largest",
    [
        pytest.param([rule("read")] * MAX_NAMES, id="names"),
        pytest.param([rule(*(f"s{n}" for n in range(512)), conditions=2)], id="conditions"),
        pytest.param([rule("read", conditions=1)] * MAX_RULES_OF_A_SYSCALL, id="rules-of-a-syscall"),
    ],
)
def test_largest_profile_is_accepted(largest: list[Syscall]) -> None:
    check_size(spec(*largest))


@pytest.mark.parametrize(
    ("too_large", "message"),
    [
        pytest.param([rule("read")] * (MAX_NAMES + 1), f"at most {MAX_NAMES}", id="names"),
        pytest.param(
            [rule(*(f"s{n}" for n in range(513)), conditions=2)],
            f"1026 .* at most {MAX_CONDITIONS}",
            id="conditions",
        ),
        pytest.param(
            [rule("read", conditions=1)] * (MAX_RULES_OF_A_SYSCALL + 1),
            "129 .* for read",
            id="rules-of-a-syscall",
        ),
    ],
)
def test_larger_profile_is_refused_with_the_number(too_large: list[Syscall], message: str) -> None:
    with pytest.raises(InvalidProfileError, match=message):
        validate(spec(*too_large))
