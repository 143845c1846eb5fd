"""The text of a profile's file."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.api.seccomp_profile import Arg, SeccompProfileSpec, Syscall
from spo.profiles.errno_ret import InvalidProfileError
from spo.profiles.oci import render


def test_a_profile_with_only_a_default_action() -> None:
    assert render(SeccompProfileSpec(default_action="SCMP_ACT_LOG")) == b'{"defaultAction":"SCMP_ACT_LOG"}'


def test_key_order_and_compactness() -> None:
    spec = SeccompProfileSpec(
        base_profile_name="never-appears",
        default_action="SCMP_ACT_ERRNO",
        architectures=["SCMP_ARCH_X86_64"],
        listener_path="/var/run/security-profiles-operator/agent.sock",
        listener_metadata="data",
        syscalls=[
            Syscall(
                names=["b", "a"],
                action="SCMP_ACT_ERRNO",
                errno_ret="38",
                args=[
                    Arg(index=0, op="SCMP_CMP_EQ"),
                    Arg(index=1, value=2, value_two=3, op="SCMP_CMP_MASKED_EQ"),
                ],
            ),
        ],
        flags=["SECCOMP_FILTER_FLAG_LOG"],
    )
    assert render(spec) == (
        b'{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86_64"],'
        b'"listenerPath":"/var/run/security-profiles-operator/agent.sock","listenerMetadata":"data",'
        b'"syscalls":[{"names":["b","a"],"action":"SCMP_ACT_ERRNO","errnoRet":38,'
        b'"args":[{"index":0,"op":"SCMP_CMP_EQ"},'
        b'{"index":1,"value":2,"valueTwo":3,"op":"SCMP_CMP_MASKED_EQ"}]}],'
        b'"flags":["SECCOMP_FILTER_FLAG_LOG"]}'
    )


@pytest.mark.parametrize(
    ("errno_ret", "written"),
    [(None, None), ("", None), ("0", 0), (0, 0), ("0038", 38), (4095, 4095), ("4095", 4095)],
)
def test_errno_ret_is_a_number(errno_ret: int | str | None, written: int | None) -> None:
    syscall = Syscall(names=["a"], action="SCMP_ACT_ERRNO", errno_ret=errno_ret)
    text = render(SeccompProfileSpec(default_action="SCMP_ACT_LOG", syscalls=[syscall]))
    assert json.loads(text)["syscalls"][0].get("errnoRet") == written


@pytest.mark.parametrize("errno_ret", ["EPERM", "-1", " 1", "1\n", "\uff11", "99999", 4096, -1, "1" * 5000])
def test_another_errno_ret_is_refused(errno_ret: int | str) -> None:
    syscall = Syscall(names=["a"], action="SCMP_ACT_ERRNO", errno_ret=errno_ret)
    with pytest.raises(InvalidProfileError, match=r"^spec\.syscalls\[0\]\.errnoRet: "):
        render(SeccompProfileSpec(default_action="SCMP_ACT_LOG", syscalls=[syscall]))


args = st.builds(
    Arg,
    index=st.integers(0, 5),
    value=st.integers(0, 2**63 - 1),
    value_two=st.integers(0, 2**63 - 1),
    op=st.text(),
)
syscalls = st.builds(
    Syscall,
    names=st.lists(st.text()),
    action=st.text(),
    errno_ret=st.none() | st.integers(0, 4095),
    args=st.lists(args, max_size=6),
)
specs = st.builds(
    SeccompProfileSpec,
    default_action=st.text(),
    architectures=st.lists(st.text()),
    listener_path=st.none() | st.text(min_size=1),
    listener_metadata=st.none() | st.text(min_size=1),
    syscalls=st.lists(syscalls, max_size=3),
    flags=st.lists(st.text()),
)


@given(specs)
def test_the_file_says_what_the_spec_says(spec: SeccompProfileSpec) -> None:
    assert msgspec.json.decode(render(spec), type=SeccompProfileSpec) == spec
