"""What serves is recorded in its container as exactly as outside, and starts under what that gives."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from spo.bpf.observation import Phase
from spo.bpf.recorder import Recorder
from spo.profiles.oci import render
from spo.recording.profile import spec_of
from spo.recording.runtime_base import base_of
from tests.fidelity import containers, runs
from tests.fidelity.catalogue import PROGRAMS
from tests.fidelity.comparison import calls_of, names_of
from tests.fidelity.containers import Podman
from tests.fidelity.program import Program
from tests.fidelity.report import Report, Row
from tests.fidelity.test_programs import NO_LOSSES, RECORDINGS, require_equal

pytestmark = pytest.mark.root

BY_NAME = {program.name: program for program in PROGRAMS}
SERVING = [BY_NAME[name] for name in ("nginx", "redis", "postgres", "node")]
SLEEP = ("/usr/bin/busybox", "sleep", "1000")
SYNC = ("/usr/bin/busybox", "sync")
EXECS = 20


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """Podman, with the image of the suite."""
    containers.image()
    return Podman(tmp_path_factory.mktemp("podman"))


@pytest.mark.parametrize("program", SERVING, ids=lambda program: program.name)
def test_recording_of_a_container_is_what_strace_sees_and_makes_a_profile_that_works(
    program: Program, podman: Podman, report: Report, tmp_path: Path
) -> None:
    with Recorder.load() as recorder:
        comparison, union, outcome = containers.watch(program, podman, recorder)
        assert recorder.losses() == NO_LOSSES
    row = Row(program.name, program.does, comparison)
    report.container_rows.append(row)
    outcome.require(program, "watched by strace")
    require_equal(comparison)
    for _ in range(RECORDINGS - 1):
        with Recorder.load() as recorder:
            observation, outcome = containers.record(program, podman, recorder)
            assert recorder.losses() == NO_LOSSES
        outcome.require(program, "while recorded")
        union |= observation
    row.recordings, row.distinct = RECORDINGS, len(calls_of(union))
    profile = tmp_path / "profile.json"
    profile.write_bytes(render(spec_of(union, "x86_64", base=base_of(union, "x86_64", runtime="runc"))))
    outcome = containers.rerun(program, podman, profile)
    row.rerun = "same" if (outcome.status, outcome.output) == (0, program.expected) else "differs"
    outcome.require(program, "under its own profile")


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        pytest.param("64-bit static", "exit fork getpid wait4 write", id="64-bit"),
        pytest.param("32-bit static", "exit+ fork+ getpid+ waitpid+ write+", id="32-bit"),
    ],
)
def test_nothing_of_the_runtime_is_in_the_program(
    name: str, calls: str, podman: Podman, recorder: Recorder
) -> None:
    observation, outcome = containers.record(BY_NAME[name], podman, recorder)
    outcome.require(BY_NAME[name], "while recorded")
    assert names_of(calls_of(observation)) == [word.replace("+", " (32-bit)") for word in calls.split()]
    assert {"capset", "execve"} <= set(names_of(calls_of(observation, Phase.RUNTIME_FILTERED)))
    assert {"pivot_root", "mount"} <= set(names_of(calls_of(observation, Phase.RUNTIME)))


def test_calls_of_the_runtime_of_an_exec_are_not_in_the_program(
    podman: Podman, recorder: Recorder, report: Report
) -> None:
    program = Program("sync", "outside of a container", SYNC, "")
    alone, outcome = runs.record(program, recorder)
    outcome.require(program, "alone")
    with (
        Recorder.load() as fresh,
        runs.place() as where,
        containers.recording(fresh),
        podman.container(where, SLEEP) as container,
    ):
        key = containers.key_of(fresh, container)
        fresh.reset(key)
        for _ in range(EXECS):
            podman("exec", container.name, *SYNC)
        seen = fresh.read(key)
        assert fresh.losses() == NO_LOSSES
    # The execve that starts the program is the runtime's last call, not the program's first one.
    assert names_of(calls_of(seen)) == [name for name in names_of(calls_of(alone)) if name != "execve"]
    assert "capset" in names_of(calls_of(seen, Phase.RUNTIME_FILTERED))
    report.facts.append(
        f"`podman exec` {EXECS} times into a recorded container: of each exec the program's "
        f"{len(calls_of(seen))} syscalls were recorded and nothing of the runtime's."
    )
