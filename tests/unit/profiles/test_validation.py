"""Checks beyond the CRD schema."""

from typing import Any

import pytest

from spo.api.seccomp_profile import Arg, SeccompProfileSpec, Syscall
from spo.profiles.validation import InvalidProfileError, unknown_syscalls, validate

SOCKET = "/var/run/security-profiles-operator/agent.sock"


def spec(*syscalls: Syscall, default_action: str = "SCMP_ACT_ERRNO", **fields: Any) -> SeccompProfileSpec:
    return SeccompProfileSpec(default_action=default_action, syscalls=list(syscalls), **fields)


def syscall(action: str = "SCMP_ACT_ERRNO", names: tuple[str, ...] = ("read",), **fields: Any) -> Syscall:
    return Syscall(names=list(names), action=action, **fields)


def with_arg(**fields: Any) -> SeccompProfileSpec:
    return spec(syscall(args=[Arg(**{"index": 0, "op": "SCMP_CMP_EQ", **fields})]))


@pytest.mark.parametrize(
    "good",
    [
        pytest.param(spec(), id="empty"),
        pytest.param(spec(architectures=["SCMP_ARCH_X86", "SCMP_ARCH_RISCV64"]), id="architectures"),
        pytest.param(spec(flags=["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]), id="flags"),
        pytest.param(
            spec(syscall(errno_ret="4095"), syscall("SCMP_ACT_TRACE", ("write",), errno_ret=0)), id="errno"
        ),
        pytest.param(spec(syscall("SCMP_ACT_NOTIFY"), listener_path=SOCKET), id="notify"),
        pytest.param(with_arg(index=5, value=2**63 - 1, op="SCMP_CMP_MASKED_EQ"), id="arg"),
        pytest.param(spec(syscall("SCMP_ACT_ALLOW", errno_ret="")), id="empty-errno"),
    ],
)
def test_good_profiles_have_no_warnings(good: SeccompProfileSpec) -> None:
    assert validate(good) == ()


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        pytest.param(spec(default_action="ALLOW"), "defaultAction", id="action-word"),
        pytest.param(spec(default_action=""), "defaultAction", id="no-action"),
        pytest.param(spec(syscall("SCMP_ACT_DENY")), "syscalls[0].action", id="syscall-action"),
        pytest.param(spec(architectures=["amd64"]), "architectures[0]", id="architecture"),
        pytest.param(spec(flags=["x"]), "flags[0]", id="flag"),
        pytest.param(spec(syscall(errno_ret=4096)), "syscalls[0].errnoRet", id="errno-range"),
        pytest.param(spec(syscall(errno_ret="EPERM")), "syscalls[0].errnoRet", id="errno-word"),
        pytest.param(
            spec(syscall(), syscall("SCMP_ACT_ALLOW", errno_ret=1)), "syscalls[1].errnoRet", id="errno-allow"
        ),
        pytest.param(spec(syscall("SCMP_ACT_NOTIFY")), "listenerPath", id="notify-no-listener"),
        pytest.param(spec(default_action="SCMP_ACT_NOTIFY"), "listenerPath", id="notify-default"),
        pytest.param(spec(listener_path="/run/containerd/containerd.sock"), "listenerPath", id="elsewhere"),
        pytest.param(spec(listener_path=f"{SOCKET}/../x"), "listenerPath", id="below"),
        pytest.param(spec(listener_path="/var/run/security-profiles-operator/.."), "listenerPath", id="dots"),
        pytest.param(spec(listener_path=f"{SOCKET}\n"), "listenerPath", id="newline"),
        pytest.param(
            spec(syscall(args=[Arg(index=0, op="SCMP_CMP_EQ")] * 7)), "syscalls[0].args", id="too-many-args"
        ),
        pytest.param(with_arg(index=6), "syscalls[0].args[0].index", id="index"),
        pytest.param(with_arg(index=-1), "syscalls[0].args[0].index", id="index-negative"),
        pytest.param(with_arg(value=2**63), "syscalls[0].args[0].value", id="value"),
        pytest.param(with_arg(value_two=-1), "syscalls[0].args[0].valueTwo", id="value-two"),
        pytest.param(with_arg(op="=="), "syscalls[0].args[0].op", id="operator"),
        pytest.param(spec(syscall(names=("",))), "syscalls[0].names", id="empty-name"),
        pytest.param(spec(syscall(names=("read\0x",))), "syscalls[0].names", id="name-with-nul"),
    ],
)
def test_bad_profiles_are_refused_with_the_field(bad: SeccompProfileSpec, field: str) -> None:
    with pytest.raises(InvalidProfileError) as caught:
        validate(bad)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"spec.{field}: ")


def test_unknown_names_are_a_warning() -> None:
    profile = spec(syscall(names=("read", "raed")), syscall(names=("mkdri", "arm_fadvise64_64")))
    assert unknown_syscalls(profile) == ("mkdri", "raed")
    assert validate(profile) == ("unknown syscalls, ignored by container runtimes: mkdri, raed",)


def test_many_unknown_names_are_cut() -> None:
    profile = spec(syscall(names=tuple(f"no_such_{number:02}" for number in range(12))))
    (warning,) = validate(profile)
    assert warning.endswith("no_such_09 and 2 more")


@pytest.mark.parametrize(
    ("profile", "warning"),
    [
        (
            spec(default_action="SCMP_ACT_NOTIFY", listener_path=SOCKET),
            "runc refuses SCMP_ACT_NOTIFY as defaultAction",
        ),
        (
            spec(syscall("SCMP_ACT_NOTIFY", ("write",)), listener_path=SOCKET),
            "runc refuses SCMP_ACT_NOTIFY for write, which it needs itself to pass on the listener",
        ),
        (spec(syscall(names=())), "syscalls[0] names no syscall"),
        (
            spec(architectures=["SCMP_ARCH_NATIVE"]),
            "runc refuses SCMP_ARCH_NATIVE; leave it out, the node's own architecture always counts",
        ),
        (
            spec(syscall(names=("read", "write")), syscall("SCMP_ACT_LOG", names=("read",))),
            "several unconditional actions, of which one wins, for: read",
        ),
    ],
)
def test_other_warnings(profile: SeccompProfileSpec, warning: str) -> None:
    assert validate(profile) == (warning,)
