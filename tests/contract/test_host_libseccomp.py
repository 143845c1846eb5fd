"""Our syscall tables and filter checks against the installed libseccomp."""

import ctypes
import json
import platform
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from spo.api.seccomp_profile import Arg, SeccompProfileSpec, Syscall
from spo.host.libseccomp import SONAME, FilterBuildError, Libseccomp, check_filter, libseccomp
from spo.profiles.oci import render
from spo.profiles.syscall_tables import TABLE_OF_ARCHITECTURE, all_syscall_names, syscall_names

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

YOUNGER = frozenset(
    line.split()[2]
    for line in (ROOT / "tools/newer_syscalls.tbl").read_text().splitlines()
    if not line.startswith("#")
)
"""May be missing in the installed libseccomp, because they can be younger than it."""

BEHIND_SOCKETCALL = """accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom
recvmmsg recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socket socketpair"""
BEHIND_IPC = "msgctl msgget msgrcv msgsnd semctl semget semtimedop shmat shmctl shmdt shmget"
MULTIPLEXED = frozenset(f"{BEHIND_SOCKETCALL} {BEHIND_IPC}".split())
"""Exist twice on the architectures below: directly, and behind ``socketcall`` or ``ipc``. libseccomp answers
with a pseudo number below -100 that stands for both; it resolves the direct number as the kernel does."""

WITH_MULTIPLEXERS = {"mips_o32", "ppc", "ppc64", "s390", "s390x", "x86"}


@pytest.fixture(scope="module")
def library() -> Libseccomp:
    return libseccomp()


@pytest.mark.parametrize("architecture", TABLE_OF_ARCHITECTURE)
def test_every_name_has_the_number_libseccomp_gives_it(library: Libseccomp, architecture: str) -> None:
    token = library.architecture(architecture)
    assert token is not None
    ours = {name: number for number, name in syscall_names(architecture).items()}
    has_multiplexers = TABLE_OF_ARCHITECTURE[architecture] in WITH_MULTIPLEXERS
    compared = 0
    for name in sorted(all_syscall_names()):
        theirs = library.syscall_number(name, token)
        if theirs is None:
            assert name in YOUNGER
        elif theirs >= 0:
            assert (name, ours.get(name)) == (name, theirs)
            compared += 1
        elif name in ours:  # libseccomp says: not there
            assert has_multiplexers, name
            assert name in MULTIPLEXED
    assert compared > 280


def name_by_libseccomp(number: int, architecture: int) -> str:
    resolve = ctypes.CDLL(SONAME).seccomp_syscall_resolve_num_arch
    resolve.argtypes, resolve.restype = (ctypes.c_uint32, ctypes.c_int), ctypes.c_void_p
    free = ctypes.CDLL(None).free
    free.argtypes, free.restype = (ctypes.c_void_p,), None
    name = resolve(architecture, number)
    found = ctypes.string_at(name).decode() if name else ""
    free(name)
    return found


@pytest.mark.parametrize("architecture", TABLE_OF_ARCHITECTURE)
def test_libseccomp_knows_no_number_that_we_do_not(library: Libseccomp, architecture: str) -> None:
    token = library.architecture(architecture)
    assert token is not None
    ours = syscall_names(architecture)
    first = min(ours)
    numbers = [*range(first, first + 1000), *range(0x0F0000, 0x0F0020)]
    theirs = {number: name for number in numbers if (name := name_by_libseccomp(number, token))}
    assert len(theirs) > 300
    assert {number: ours.get(number) for number in theirs} == theirs


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the names of kernel functions differ")
def test_the_running_kernel_has_the_younger_syscalls() -> None:
    symbols = Path("/proc/kallsyms")
    functions = {line.split()[2] for line in symbols.read_text().splitlines()} if symbols.exists() else set()
    release = tuple(int(part) for part in platform.release().split(".")[:2])
    if "__x64_sys_read" not in functions:
        pytest.skip("the kernel does not tell its symbols")
    names = set(syscall_names("SCMP_ARCH_X86_64").values())
    expected = []
    for line in (ROOT / "tools/newer_syscalls.tbl").read_text().splitlines():
        if not line.startswith("#"):
            _number, _tables, name, kernel = line.split()
            if name in names and tuple(int(part) for part in kernel.split(".")) <= release:
                expected.append(f"__x64_sys_{name}")
    assert [function for function in expected if function not in functions] == []


def spec(*syscalls: Syscall, default_action: str = "SCMP_ACT_ERRNO", **fields: Any) -> SeccompProfileSpec:
    return SeccompProfileSpec(default_action=default_action, syscalls=list(syscalls), **fields)


def syscall(action: str, *names: str, args: tuple[tuple[int, str], ...] = (), **fields: Any) -> Syscall:
    conditions = [Arg(index=index, value=7, op=f"SCMP_CMP_{op}") for index, op in args]
    return Syscall(names=list(names), action=action, args=conditions, **fields)


ALLOW, ERRNO = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"


@pytest.mark.parametrize(
    "profile",
    [
        pytest.param(spec(), id="default-only"),
        pytest.param(spec(syscall(ALLOW, "read", "no_such_syscall", "listns")), id="unknown-names-skipped"),
        pytest.param(spec(syscall(ERRNO, "read")), id="rule-that-repeats-the-default"),
        pytest.param(spec(syscall(ERRNO, "read", errno_ret="38")), id="errno-differs-from-the-default"),
        pytest.param(spec(syscall(ALLOW, "read"), syscall(ALLOW, "read")), id="twice"),
        pytest.param(
            spec(syscall(ALLOW, "socket", args=((0, "EQ"),)), architectures=["SCMP_ARCH_X86"]), id="x86"
        ),
        pytest.param(spec(syscall(ALLOW, "ioctl", args=((1, "EQ"), (2, "MASKED_EQ")))), id="conditions"),
        pytest.param(spec(syscall(ALLOW, "ioctl", args=((1, "EQ"), (1, "GT")))), id="one-argument-twice"),
        pytest.param(spec(architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]), id="three"),
        pytest.param(spec(architectures=["SCMP_ARCH_NATIVE", "SCMP_ARCH_NATIVE"]), id="native-twice"),
        pytest.param(
            spec(*(syscall(f"SCMP_ACT_{word}", "read") for word in ("LOG", "LOG")), default_action=ALLOW),
            id="log",
        ),
        *(
            pytest.param(spec(default_action=f"SCMP_ACT_{word}"), id=word)
            for word in ("KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP", "TRACE", "ALLOW", "LOG")
        ),
    ],
)
def test_good_profiles_can_be_built(profile: SeccompProfileSpec) -> None:
    check_filter(profile)


def test_a_filter_that_the_kernel_does_not_take_is_refused() -> None:
    rules = [
        Syscall(names=["ioctl"], action=ALLOW, args=[Arg(index=1, value=number, op="SCMP_CMP_EQ")])
        for number in range(5000)
    ]
    with pytest.raises(FilterBuildError, match="filter has more than the 4096 instructions"):
        check_filter(spec(*rules))


def test_architectures_of_both_byte_orders_are_refused() -> None:
    with pytest.raises(FilterBuildError, match="SCMP_ARCH_S390X: does not go with this machine"):
        check_filter(spec(architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_S390X"]))


def example_profiles() -> list[dict[str, Any]]:
    documents = [
        one for path in sorted(EXAMPLES.glob("*.yaml")) for one in yaml.safe_load_all(path.read_text())
    ]
    return [one for one in documents if one and one["kind"] == "SeccompProfile"]


def test_the_examples_can_be_built_and_survive_the_file() -> None:
    profiles = example_profiles()
    assert len(profiles) > 4
    for profile in profiles:
        converted = msgspec.convert(profile["spec"], SeccompProfileSpec)
        check_filter(converted)
        assert json.loads(render(converted)) == {
            key: value for key, value in profile["spec"].items() if key != "baseProfileName" and value
        }
