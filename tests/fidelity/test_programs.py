"""Nothing is missing in a recording, nothing is too much, and the program works under what it gives."""

from pathlib import Path

import pytest

from spo.bpf.observation import Observation
from spo.bpf.recorder import Losses, Recorder
from spo.profiles.oci import render
from spo.recording.profile import spec_of
from tests.fidelity.catalogue import PROGRAMS
from tests.fidelity.comparison import Comparison, calls_of, names_of
from tests.fidelity.execution import Execution
from tests.fidelity.program import Program
from tests.fidelity.report import Report, Row
from tests.fidelity.runs import place, record, rerun, spoc, watch

pytestmark = pytest.mark.root

RECORDINGS = 5
NO_LOSSES = Losses(0, 0, 0, 0)


def require_equal(comparison: Comparison) -> None:
    """Name what differs."""
    assert names_of(comparison.missing) == []
    assert names_of(comparison.extra) == []


def test_the_catalogue_is_as_long_as_promised() -> None:
    assert len({program.name for program in PROGRAMS}) == len(PROGRAMS) >= 24


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name.replace(" ", "-"))
def test_recording_is_what_strace_sees_and_makes_a_profile_that_works(
    program: Program, report: Report, tmp_path: Path
) -> None:
    if reason := program.refused():
        pytest.skip(reason)
    with Recorder.load() as recorder:
        comparison, union, outcome = watch(program, recorder)
        assert recorder.losses() == NO_LOSSES
    row = Row(program.name, program.does, comparison)
    report.rows.append(row)
    outcome.require(program, "watched by strace")
    require_equal(comparison)
    union |= recorded(program, RECORDINGS - 1)
    row.recordings, row.distinct = RECORDINGS, len(calls_of(union))
    profile = tmp_path / "profile.json"
    profile.write_bytes(render(spec_of(union, "x86_64")))
    outcome = rerun(program, (spoc(), "run", "-p", str(profile), "--"))
    row.rerun = "same" if (outcome.status, outcome.output) == (0, program.expected) else "differs"
    outcome.require(program, "under its own profile")


def test_a_process_of_the_same_name_is_not_in_the_recording(recorder: Recorder) -> None:
    with (
        place() as here,
        place() as there,
        Execution(("/bin/busybox", "uname"), here) as wanted,
        Execution(("/bin/busybox", "sync"), there) as foreign,
    ):
        recorder.attach()
        recorder.add_process(wanted.pid)
        foreign.release()
        wanted.release()
        assert (foreign.wait(), wanted.wait()) == (0, 0)
        names = names_of(calls_of(recorder.tree()))
    assert "uname" in names
    assert "sync" not in names


def recorded(program: Program, times: int) -> Observation:
    """The union of recordings without strace, each by a recorder that knows nothing of the others."""
    union = Observation.EMPTY
    for _ in range(times):
        with Recorder.load() as recorder:
            observation, outcome = record(program, recorder)
            assert recorder.losses() == NO_LOSSES
        outcome.require(program, "while recorded")
        union |= observation
    return union
