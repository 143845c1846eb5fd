"""One profile of many pods, and what a recording's status says."""

import json

from spo.api.meta import ObjectMeta
from spo.api.profile_recording import RecordedContainer
from spo.api.seccomp_profile import SeccompProfile, SeccompProfileSpec, Syscall
from spo.names import (
    CONTAINER_LABEL,
    PARTIAL_LABEL,
    RECORDED_POD_LABEL,
    RECORDING_LABEL,
    RECORDING_LATE_ANNOTATION,
    RECORDING_LOST_ANNOTATION,
    RUNTIME_BASE_ANNOTATION,
    SYSCALL_COVERAGE_ANNOTATION,
)
from spo.recording.merged import by_container, containers_seen, lost_of, merged, same_content, unmerged

NOW = "2026-01-01T00:00:00Z"


def recorded(
    number: int, *names: str, container: str = "c", lost: str = "0", late: bool = False
) -> SeccompProfile:
    annotations = {RECORDING_LOST_ANNOTATION: lost, RUNTIME_BASE_ANNOTATION: '["chdir"]'}
    if late:
        annotations[RECORDING_LATE_ANNOTATION] = "true"
    labels = {
        RECORDING_LABEL: "rec",
        CONTAINER_LABEL: container,
        RECORDED_POD_LABEL: f"pod-{number}",
        PARTIAL_LABEL: "true",
    }
    rules = [Syscall(names=sorted({"chdir", *names}), action="SCMP_ACT_ALLOW")]
    return SeccompProfile(
        metadata=ObjectMeta(
            name=f"rec-{container}-{number}", namespace="team", labels=labels, annotations=annotations
        ),
        spec=SeccompProfileSpec(default_action="SCMP_ACT_ERRNO", syscalls=rules),
    )


def test_merged_profile_is_whole_and_counts() -> None:
    whole = merged("rec-c", [recorded(0, "mkdir", lost="2"), recorded(1, "mkdir", "symlink", late=True)])
    assert whole.metadata.labels == {RECORDING_LABEL: "rec", CONTAINER_LABEL: "c"}
    assert whole.spec.syscalls[0].names == ["chdir", "mkdir", "symlink"]
    assert whole.metadata.annotations[RECORDING_LOST_ANNOTATION] == "2"
    assert whole.metadata.annotations[RECORDING_LATE_ANNOTATION] == "true"
    assert json.loads(whole.metadata.annotations[RUNTIME_BASE_ANNOTATION]) == ["chdir"]
    coverage = json.loads(whole.metadata.annotations[SYSCALL_COVERAGE_ANNOTATION])
    assert coverage == {"version": "v1", "total": 2, "syscalls": {"chdir": 2, "mkdir": 2, "symlink": 1}}


def test_merging_again_changes_nothing() -> None:
    partials = [recorded(0, "mkdir"), recorded(1, "symlink")]
    whole = merged("rec-c", partials)
    assert same_content(whole, merged("rec-c", partials))
    assert not same_content(whole, merged("rec-c", [*partials, recorded(2)]))
    assert unmerged([whole, *partials]) == partials


def test_containers_have_groups_of_their_own() -> None:
    groups = by_container(
        [recorded(1, container="b"), recorded(0, container="b"), recorded(0, container="a")]
    )
    names = {container: [one.metadata.name for one in found] for container, found in groups.items()}
    assert names == {"a": ["rec-a-0"], "b": ["rec-b-0", "rec-b-1"]}


def test_status_counts_what_programs_did_and_when_it_grew() -> None:
    profiles = [recorded(0, "mkdir", lost="1"), recorded(1, "symlink", lost="x")]
    (seen,) = containers_seen(profiles, [], NOW)
    assert seen == RecordedContainer(name="c", pods=2, syscalls=2, last_new_syscall_time=NOW, lost=2)
    later = "2026-01-02T00:00:00Z"
    assert containers_seen(profiles, [seen], later) == [seen]
    (grown,) = containers_seen([*profiles, recorded(2, "rmdir")], [seen], later)
    assert (grown.syscalls, grown.last_new_syscall_time) == (3, later)


def test_merged_profile_is_no_pod() -> None:
    partials = [recorded(0, "mkdir"), recorded(1, "mkdir")]
    (seen,) = containers_seen([merged("rec-c", partials), *partials], [], NOW)
    assert seen.pods == 2
    (seen,) = containers_seen([merged("rec-c", partials)], [], NOW)
    assert (seen.pods, seen.syscalls) == (1, 1)


def test_loss_that_is_no_number_is_a_loss() -> None:
    assert [lost_of(recorded(0, lost=text)) for text in ("0", "12", "-1", "x", "9" * 20)] == [0, 12, 1, 1, 1]
