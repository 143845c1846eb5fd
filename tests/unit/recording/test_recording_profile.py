import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from spo.api.seccomp_profile import Action, Architecture
from spo.bpf.observation import MAX_SYSCALLS, Observation, Phase, SyscallClass
from spo.profiles.syscall_tables import syscall_names as table_of
from spo.profiles.validation import validate
from spo.recording.profile import (
    annotations_of,
    profile_of,
    spec_of,
    syscall_names,
    unknown_numbers,
    warnings_of,
)
from spo.recording.runtime_base import base_of, shipped

READ, WRITE, OPENAT, EXECVE, IO_URING_SETUP = 0, 1, 257, 59, 425


def seen(native: Any = (), compat: Any = (), x32: Any = (), phase: Phase = Phase.PROGRAM) -> Observation:
    return Observation(
        {
            (SyscallClass.NATIVE, phase): native,
            (SyscallClass.COMPAT, phase): compat,
            (SyscallClass.X32, phase): x32,
        }
    )


def names_of(spec: Any) -> list[str]:
    return [name for entry in spec.syscalls for name in entry.names]


def test_one_class_gives_one_rule_and_one_architecture() -> None:
    spec = spec_of(seen({OPENAT, READ}), "x86_64")

    assert spec.default_action == Action.ERRNO
    assert spec.architectures == ["SCMP_ARCH_X86_64"]
    assert [(entry.action, entry.names) for entry in spec.syscalls] == [
        ("SCMP_ACT_ALLOW", ["openat", "read"])
    ]
    assert annotations_of(seen({OPENAT, READ}), "x86_64") == {}


def test_several_classes_give_the_union_and_the_names_of_each_in_an_annotation() -> None:
    observation = seen({READ}, compat={102, 3}, x32={512})

    spec = spec_of(observation, "x86_64")

    assert spec.architectures == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    assert names_of(spec) == ["read", "rt_sigaction", "socketcall"]
    assert json.loads(annotations_of(observation, "x86_64")["spo.x-k8s.io/syscalls-by-architecture"]) == {
        "SCMP_ARCH_X86_64": ["read"],
        "SCMP_ARCH_X86": ["read", "socketcall"],
        "SCMP_ARCH_X32": ["rt_sigaction"],
    }


def test_arm64_has_numbers_of_its_own() -> None:
    assert syscall_names(seen({63}, compat={3}), "aarch64") == {
        Architecture.AARCH64: {"read"},
        Architecture.ARM: {"read"},
    }


def test_other_phases_are_not_in_the_profile() -> None:
    observation = seen({READ}) | seen({165}, phase=Phase.RUNTIME) | seen({317}, phase=Phase.RUNTIME_FILTERED)

    assert names_of(spec_of(observation, "x86_64")) == ["read"]
    assert syscall_names(observation, "x86_64", Phase.RUNTIME) == {Architecture.X86_64: {"mount"}}


def test_runtime_base_is_merged_on_request_and_stays_visible() -> None:
    profile = profile_of("web", seen({READ}), "x86_64", base={"read", "capset"})

    assert names_of(profile.spec) == ["capset", "read"]
    assert profile.metadata.name == "web"
    assert json.loads(profile.metadata.annotations["spo.x-k8s.io/runtime-base"]) == ["capset"]


def test_base_of_a_32_bit_program_needs_the_native_class() -> None:
    assert spec_of(seen(compat={3}), "x86_64").architectures == ["SCMP_ARCH_X86"]
    assert spec_of(seen(compat={3}), "x86_64", base={"execve"}).architectures == [
        "SCMP_ARCH_X86_64",
        "SCMP_ARCH_X86",
    ]


def test_nothing_seen_gives_a_profile_that_refuses_everything_and_says_so() -> None:
    assert names_of(spec_of(Observation.EMPTY, "x86_64")) == []
    assert spec_of(Observation.EMPTY, "x86_64").syscalls == []
    assert warnings_of(Observation.EMPTY, "x86_64") == (
        "no syscall was recorded: the profile refuses everything",
    )


def test_io_uring_is_warned_about() -> None:
    assert "io_uring_setup is allowed" in warnings_of(seen({IO_URING_SETUP}), "x86_64")[0]


def test_numbers_without_a_name_are_reported_not_guessed() -> None:
    observation = seen({READ, 1023, 400})

    assert unknown_numbers(observation, "x86_64") == {Architecture.X86_64: {400, 1023}}
    assert names_of(spec_of(observation, "x86_64")) == ["read"]
    assert warnings_of(observation, "x86_64") == (
        "syscalls of SCMP_ARCH_X86_64 without a known name are not in the profile: 400, 1023",
    )


@given(st.frozensets(st.integers(0, MAX_SYSCALLS - 1)))
def test_every_number_is_either_named_or_reported(numbers: frozenset[int]) -> None:
    observation = seen(numbers)
    table = table_of("SCMP_ARCH_X86_64")
    named = syscall_names(observation, "x86_64").get(Architecture.X86_64, frozenset())
    unknown = unknown_numbers(observation, "x86_64").get(Architecture.X86_64, frozenset())

    assert named == {table[number] for number in numbers - unknown}
    assert not unknown & table.keys()
    assert validate(spec_of(observation, "x86_64")) == ()


def test_observed_runtime_calls_win_over_the_shipped_list() -> None:
    observed = seen({157}, phase=Phase.RUNTIME_FILTERED)

    assert base_of(observed, "x86_64", runtime="crun") == {"prctl", "execve"}
    assert {"prctl", "execve", "futex"} <= base_of(observed, "x86_64", runtime="runc")
    assert "capset" not in base_of(observed, "x86_64", runtime="runc")
    assert base_of(seen({READ}), "x86_64", runtime="runc") == shipped("runc")


def test_shipped_lists_are_known_syscalls_and_grow_with_doubt() -> None:
    for runtime in ("runc", "crun"):
        sure, unsure = shipped(runtime, no_new_privileges=True), shipped(runtime)
        assert "execve" in sure < unsure < shipped()
        assert sure < shipped(runtime, no_new_privileges=False) == unsure
    assert shipped("kata") == shipped(None)
    assert not shipped() - set(table_of("SCMP_ARCH_X86_64").values())
    assert not shipped() & {"mount", "pivot_root", "setns", "unshare", "ptrace", "bpf"}
