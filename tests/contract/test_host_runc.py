"""What check_filter says about a profile is what runc does with it: run a container, or refuse."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from spo.api.seccomp_profile import Arg, SeccompProfileSpec, Syscall
from spo.host.libseccomp import FilterBuildError, check_filter
from spo.profiles.oci import render
from spo.profiles.validation import validate

RUNC, BUSYBOX = shutil.which("runc"), shutil.which("busybox")

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not (RUNC and BUSYBOX), reason="needs runc and busybox-static"),
]

Run = Callable[[SeccompProfileSpec, str], str]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Runs a shell command in a container with a profile; returns its output and the complaints of runc."""
    state = tmp_path / "state"
    name = f"spo-contract-{tmp_path.name}"[:60]
    runc = (str(RUNC), "--root", str(state))
    for folder in ("bin", "proc", "dev", "sys"):
        (tmp_path / "rootfs" / folder).mkdir(parents=True)
    shutil.copy(str(BUSYBOX), tmp_path / "rootfs/bin/busybox")
    (tmp_path / "rootfs/bin/sh").symlink_to("busybox")
    subprocess.run((*runc, "spec", "--bundle", str(tmp_path)), check=True)

    def run_with(spec: SeccompProfileSpec, command: str) -> str:
        config: dict[str, Any] = json.loads((tmp_path / "config.json").read_text())
        config["process"] |= {"terminal": False, "args": ["/bin/sh", "-c", command], "rlimits": []}
        config["root"]["readonly"] = False
        config["linux"]["seccomp"] = json.loads(render(spec))
        (tmp_path / "config.json").write_text(json.dumps(config))
        done = subprocess.run(
            (*runc, "run", "--bundle", str(tmp_path), name), capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    yield run_with
    with suppress(FileNotFoundError):
        subprocess.run((*runc, "delete", "--force", name), capture_output=True, check=False)


def rule(action: str, *names: str, args: tuple[Arg, ...] = (), errno_ret: int | str | None = None) -> Syscall:
    return Syscall(names=list(names), action=f"SCMP_ACT_{action}", args=list(args), errno_ret=errno_ret)


def ioctl(number: int) -> Arg:
    return Arg(index=1, value=number, op="SCMP_CMP_EQ")


def allowing(*syscalls: Syscall, architectures: tuple[str, ...] = ()) -> SeccompProfileSpec:
    return SeccompProfileSpec(
        default_action="SCMP_ACT_ALLOW", syscalls=list(syscalls), architectures=list(architectures)
    )


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(allowing(), id="default-only"),
        pytest.param(allowing(rule("ERRNO", "no_such_syscall")), id="unknown-name"),
        pytest.param(allowing(rule("ALLOW", "read")), id="repeats-the-default"),
        pytest.param(allowing(rule("ERRNO", "mkdir"), rule("LOG", "mkdir")), id="contradiction"),
        pytest.param(allowing(rule("ERRNO", "ioctl", args=(ioctl(1), ioctl(2)))), id="one-argument-twice"),
        pytest.param(allowing(rule("ERRNO")), id="no-names"),
        pytest.param(allowing(architectures=("SCMP_ARCH_X86_64", "SCMP_ARCH_X86_64")), id="twice"),
    ],
)
def test_what_passes_runs(run: Run, spec: SeccompProfileSpec) -> None:
    validate(spec)
    check_filter(spec)
    assert run(spec, "echo it runs") == "it runs\n"


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(allowing(architectures=("SCMP_ARCH_S390X",)), id="other-byte-order"),
        pytest.param(
            allowing(*(rule("ERRNO", "ioctl", args=(ioctl(number),)) for number in range(5000))),
            id="too-long",
        ),
    ],
)
def test_what_is_refused_does_not_start(run: Run, spec: SeccompProfileSpec) -> None:
    with pytest.raises(FilterBuildError):
        check_filter(spec)
    assert "unable to init seccomp" in run(spec, "echo it runs")


def test_the_warning_about_the_native_architecture_is_true(run: Run) -> None:
    spec = allowing(architectures=("SCMP_ARCH_NATIVE",))
    assert validate(spec) == (
        "runc refuses SCMP_ARCH_NATIVE; leave it out, the node's own architecture always counts",
    )
    assert "SCMP_ARCH_NATIVE is not a valid arch" in run(spec, "echo it runs")


def test_the_error_number_reaches_the_program(run: Run) -> None:
    spec = allowing(rule("ERRNO", "mkdir", "mkdirat", errno_ret="28"))
    assert "No space left on device" in run(spec, "/bin/busybox mkdir /x")
