"""The runtime base: containers start with it, and not without it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from spo.cli.profile_files import read_profile
from spo.recording.annotations import passing, runtime_base
from spo.recording.runtime_base import shipped

RUNC, BUSYBOX = shutil.which("runc"), shutil.which("busybox")
SPOC = (sys.executable, "-m", "spo.cli")

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not (RUNC and BUSYBOX), reason="needs runc and busybox-static"),
]


def spoc(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run((*SPOC, *arguments), capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def program_calls(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """What ``busybox true`` does."""
    output = tmp_path_factory.mktemp("recorded") / "true.yaml"
    done = spoc("record", "-q", "-o", str(output), "--", str(BUSYBOX), "true")
    assert done.returncode == 0, done.stderr
    return passing(read_profile(str(output)).profile.spec)


def runs_under(tmp_path: Path, names: Iterable[str], *, no_new_privileges: bool, user: int = 0) -> bool:
    """Whether runc starts ``busybox true`` with a profile of these syscalls."""
    bundle, state = tmp_path / "bundle", tmp_path / "state"
    if not bundle.exists():
        for folder in ("bin", "proc", "dev", "sys"):
            (bundle / "rootfs" / folder).mkdir(parents=True)
        shutil.copy(str(BUSYBOX), bundle / "rootfs/bin/busybox")
        subprocess.run((str(RUNC), "spec", "--bundle", bundle), check=True)
    config: dict[str, Any] = json.loads((bundle / "config.json").read_text())
    config["process"] |= {
        "terminal": False,
        "args": ["/bin/busybox", "true"],
        "rlimits": [],
        "noNewPrivileges": no_new_privileges,
        "user": {"uid": user, "gid": user},
    }
    config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": sorted(names), "action": "SCMP_ACT_ALLOW"}],
    }
    (bundle / "config.json").write_text(json.dumps(config))
    name = f"spoc-base-{os.getpid()}"
    runc = (str(RUNC), "--root", str(state))
    done = subprocess.run((*runc, "run", "--bundle", str(bundle), name), capture_output=True, check=False)
    subprocess.run((*runc, "delete", "--force", name), capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.parametrize("no_new_privileges", [True, False])
@pytest.mark.parametrize("user", [0, 1000])
def test_containers_start_with_the_shipped_list_every_time(
    tmp_path: Path, program_calls: frozenset[str], no_new_privileges: bool, user: int
) -> None:
    base = shipped("runc", no_new_privileges)
    for _ in range(5):
        assert runs_under(tmp_path, base | program_calls, no_new_privileges=no_new_privileges, user=user)
    assert not runs_under(tmp_path, program_calls, no_new_privileges=no_new_privileges, user=user)


def test_measured_base_lets_containers_start_and_is_part_of_the_shipped_list(
    tmp_path: Path, program_calls: frozenset[str]
) -> None:
    output = tmp_path / "base.yaml"

    done = spoc("base", "measure", "-r", "runc", "--runs", "6", "-o", str(output))

    assert done.returncode == 0, done.stderr
    assert "syscalls without noNewPrivileges" in done.stderr
    profile = read_profile(str(output)).profile
    measured = passing(profile.spec)
    assert profile.metadata.name.startswith("runc-v")
    assert runtime_base(profile) == measured
    assert {"execve", "capset", "setuid"} <= measured
    assert not measured & {"mount", "pivot_root", "clone3", "seccomp"}
    assert measured <= shipped("runc")
    assert runs_under(tmp_path, measured | program_calls | shipped("runc", True), no_new_privileges=False)


def test_what_is_not_a_runtime_is_told_in_one_line(tmp_path: Path) -> None:
    for runtime, problem in (("nosuchruntime", "not found; install it"), ("true", "run")):
        done = spoc("base", "measure", "-r", runtime, "--runs", "1", "-o", str(tmp_path / "x.yaml"))

        assert done.returncode == 1
        assert problem in done.stderr
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "x.yaml").exists()
