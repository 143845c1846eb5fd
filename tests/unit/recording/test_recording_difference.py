from typing import Any

import pytest

from spo.api.seccomp_profile import Arg, SeccompProfileSpec, Syscall
from spo.profiles.syscall_tables import all_syscall_names, syscall_names
from spo.profiles.validation import validate
from spo.recording.difference import difference, replay
from spo.recording.purposes import OTHER, RISKS, by_purpose
from spo.recording.runtime_default import runtime_default


def spec(*names: str, default: str = "ERRNO", rules: Any = (), **more: Any) -> SeccompProfileSpec:
    allowed = [Syscall(names=list(names), action="SCMP_ACT_ALLOW")] if names else []
    return SeccompProfileSpec(default_action=f"SCMP_ACT_{default}", syscalls=[*allowed, *rules], **more)


def allowed_if(name: str, value: int) -> Syscall:
    return Syscall(names=[name], action="SCMP_ACT_ALLOW", args=[Arg(index=0, value=value, op="SCMP_CMP_EQ")])


def refused_with(number: int, name: str) -> Syscall:
    return Syscall(names=[name], action="SCMP_ACT_ERRNO", errno_ret=number)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(spec("a", "b"), spec("b", "a"), id="order"),
        pytest.param(spec("a", rules=[refused_with(5, "a")]), spec("a"), id="first-rule-wins"),
        pytest.param(spec("a", rules=[allowed_if("a", 1)]), spec("a"), id="unconditional-wins"),
        pytest.param(spec(rules=[refused_with(1, "a")]), spec(), id="repeats-the-default"),
    ],
)
def test_profiles_with_the_same_filter_do_not_differ(
    one: SeccompProfileSpec, other: SeccompProfileSpec
) -> None:
    assert not difference(one, other)
    assert not difference(other, one)


def test_differences_are_named() -> None:
    found = difference(
        spec("a", "b", architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]),
        spec(
            "b",
            default="LOG",
            rules=[allowed_if("c", 3)],
            architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"],
            flags=["SECCOMP_FILTER_FLAG_LOG"],
        ),
    )

    assert found
    assert tuple(map(str, found.default or ())) == ("ERRNO", "LOG")
    assert found.architectures == (("SCMP_ARCH_X86",), ("SCMP_ARCH_X32",))
    assert found.flags == ((), ("SECCOMP_FILTER_FLAG_LOG",))
    changes = [
        (name, str(old.otherwise), str(new.otherwise), len(new.rules)) for name, old, new in found.changes
    ]
    assert changes == [("a", "ALLOW", "LOG", 0), ("c", "ERRNO", "LOG", 1)]


def test_replay_tells_refused_conditional_and_unused() -> None:
    found = replay(
        spec("read", "write", "mount", rules=[allowed_if("socket", 1), refused_with(38, "clone3")]),
        {"SCMP_ARCH_X86_64": frozenset({"read", "socket", "clone3", "ptrace"})},
    )

    assert [(call.name, str(call.verdict.otherwise)) for call in found.refused] == [
        ("clone3", "ERRNO(38)"),
        ("ptrace", "ERRNO"),
    ]
    assert [call.name for call in found.conditional] == ["socket"]
    assert found.unused == ("mount", "write")
    assert found.missing_architectures == ()


def test_replay_refuses_every_call_of_an_architecture_that_the_profile_lacks() -> None:
    recorded: Any = {"SCMP_ARCH_X86_64": frozenset({"read"}), "SCMP_ARCH_X86": frozenset({"read"})}

    found = replay(spec("read", architectures=["SCMP_ARCH_X86_64"]), recorded)

    assert found.missing_architectures == ("SCMP_ARCH_X86",)
    assert found.refused == ()
    assert replay(spec("read", architectures=["SCMP_ARCH_X86"]), recorded).missing_architectures == ()


@pytest.mark.parametrize("architecture", ["X86_64", "AARCH64", "X86", "ARM"])
def test_every_syscall_has_a_purpose(architecture: str) -> None:
    assert OTHER not in by_purpose(syscall_names(f"SCMP_ARCH_{architecture}").values())
    assert by_purpose(["frobnicate", "read"]) == {
        "Files: read and write": ["read"],
        OTHER: ["frobnicate"],
    }


def test_risks_are_about_syscalls() -> None:
    assert not set(RISKS) - all_syscall_names()


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_default_profile_is_valid_and_refuses_what_it_should(machine: Any) -> None:
    default = runtime_default(machine)

    assert validate(default) == ()
    names = {name for entry in default.syscalls for name in entry.names}
    assert {"read", "clone3", "personality", "socket"} <= names
    assert not names & {"bpf", "kexec_load", "init_module", "perf_event_open", "swapon"}
