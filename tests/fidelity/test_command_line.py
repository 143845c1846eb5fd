"""The way of a user: record twice, merge, run under the result; no part of the suite in between."""

from pathlib import Path

import pytest
import yaml

from tests.fidelity.catalogue import PROGRAMS
from tests.fidelity.program import Program
from tests.fidelity.runs import rerun, spoc

pytestmark = pytest.mark.root

BY_NAME = {program.name: program for program in PROGRAMS}
NAMES = ("bash", "git", "500 children", "python", "64 threads", "java", "both classes", "unshare")


def recorded(program: Program, profile: Path) -> None:
    """Record a program by ``spoc record``; it is as it is alone."""
    outcome = rerun(program, (spoc(), "record", "-o", str(profile), "--"))
    outcome.require(program, "recorded by spoc")


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name.replace(" ", "-"))
def test_program_works_under_what_spoc_recorded_and_merged(name: str, tmp_path: Path) -> None:
    program = BY_NAME[name]
    profiles = [tmp_path / "first.yaml", tmp_path / "second.yaml"]
    for profile in profiles:
        recorded(program, profile)
    merged = Program(
        "spoc merge", "", (spoc(), "merge", "-o", f"{tmp_path}/merged.yaml", *map(str, profiles)), ""
    )
    assert rerun(merged, ()).status == 0
    outcome = rerun(program, (spoc(), "run", "-p", f"{tmp_path}/merged.yaml", "--"))
    outcome.require(program, "under the merged profile")


@pytest.mark.parametrize(
    ("name", "names", "architectures"),
    [
        pytest.param(
            "64-bit static", "execve exit fork getpid wait4 write", ["SCMP_ARCH_X86_64"], id="64-bit"
        ),
        pytest.param(
            "32-bit static",
            "execve exit fork getpid waitpid write",
            ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            id="32-bit",
        ),
    ],
)
def test_spoc_records_nothing_else(name: str, names: str, architectures: list[str], tmp_path: Path) -> None:
    profile = tmp_path / "profile.yaml"
    recorded(BY_NAME[name], profile)
    spec = yaml.safe_load(profile.read_text())["spec"]
    assert spec["syscalls"] == [{"names": names.split(), "action": "SCMP_ACT_ALLOW"}]
    assert spec["architectures"] == architectures
