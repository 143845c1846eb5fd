"""Files of OCI hooks: what is understood, what is refused and how the refusal names the field."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.api.seccomp_profile import Architecture
from spo.bpf.observation import Observation, Phase, SyscallClass
from spo.profiles.syscall_tables import syscall_names
from spo.recording.hook_file import HookContentError, parse_recording, render_recording
from spo.recording.profile import spec_of

NATIVE = {name: number for number, name in syscall_names(Architecture.X86_64).items()}


def numbers(*names: str) -> list[int]:
    return [NATIVE[name] for name in names]


def file(*names: str, **fields: object) -> bytes:
    rules = [{"names": list(names), "action": "SCMP_ACT_ALLOW"}]
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": rules}
    return json.dumps({**profile, **fields}).encode()


def test_what_our_hook_writes_is_read_again() -> None:
    seen = Observation(
        {
            (SyscallClass.NATIVE, Phase.PROGRAM): numbers("mkdir", "execve"),
            (SyscallClass.NATIVE, Phase.RUNTIME_FILTERED): numbers("capset"),
        }
    )
    content = render_recording(spec_of(seen, "x86_64", base=["capset"]), "abc", ["capset"])
    assert parse_recording(content, "x86_64") == ("abc", seen, ())
    assert json.loads(content)["syscalls"][0]["names"] == ["capset", "execve", "mkdir"]


def test_several_classes_stay_several() -> None:
    seen = Observation(
        {
            (SyscallClass.NATIVE, Phase.PROGRAM): numbers("mkdir"),
            (SyscallClass.X32, Phase.PROGRAM): numbers("mkdir"),
        }
    )
    content = render_recording(spec_of(seen, "x86_64"), "abc", [])
    assert parse_recording(content, "x86_64").observation == seen


def test_a_file_of_another_hook_names_no_container() -> None:
    found = parse_recording(file("mkdir", "newer_than_us"), "x86_64")
    assert found.container_id == ""
    assert found.observation == Observation({(SyscallClass.NATIVE, Phase.PROGRAM): numbers("mkdir")})
    assert found.unknown == ("newer_than_us",)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"", "is no profile", id="empty"),
        pytest.param(b"\xff\xfe", "is no profile", id="no-text"),
        pytest.param(b"[" * 100_000, "is no profile", id="deep"),
        pytest.param(b'{"defaultAction": 1}', r"is no profile: .*defaultAction", id="type"),
        pytest.param(
            file(defaultAction="SCMP_ACT_ALLOW"), "defaultAction: 'SCMP_ACT_ALLOW'", id="allows-all"
        ),
        pytest.param(
            file(architectures=["SCMP_ARCH_S390X"]), "architectures: 'SCMP_ARCH_S390X'", id="architecture"
        ),
        pytest.param(
            file(syscalls=[{"names": ["read"], "action": "SCMP_ACT_NOTIFY"}]),
            r"syscalls\[0\]\.action",
            id="action",
        ),
        pytest.param(
            file(
                syscalls=[
                    {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
                    {
                        "names": ["socket"],
                        "action": "SCMP_ACT_ALLOW",
                        "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}],
                    },
                ]
            ),
            r"syscalls\[1\]\.args",
            id="arguments",
        ),
    ],
)
def test_what_no_hook_makes_is_refused(content: bytes, problem: str) -> None:
    with pytest.raises(HookContentError, match=problem):
        parse_recording(content, "x86_64")


@given(st.binary(max_size=200) | st.builds(file, st.text(max_size=20), defaultAction=st.text(max_size=20)))
def test_anything_is_read_or_refused(content: bytes) -> None:
    with suppress(HookContentError):
        parse_recording(content, "x86_64")


@given(st.frozensets(st.sampled_from(sorted(NATIVE)), min_size=1))
def test_nothing_is_lost_on_the_way(names: frozenset[str]) -> None:
    found = parse_recording(file(*names), "x86_64").observation
    assert found.numbers(SyscallClass.NATIVE, Phase.PROGRAM) == frozenset(numbers(*names))
