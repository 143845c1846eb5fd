"""Which profiles a recording may write, and what it writes."""

import msgspec
import pytest

from spo.api.meta import ObjectMeta
from spo.api.seccomp_profile import SeccompProfile, SeccompProfileSpec, SeccompProfileStatus, Syscall
from spo.names import (
    CONTAINER_LABEL,
    PARTIAL_LABEL,
    RECORDED_OWNER_LABEL,
    RECORDED_POD_LABEL,
    RECORDING_LABEL,
    RECORDING_LATE_ANNOTATION,
    RECORDING_LOST_ANNOTATION,
    RUNTIME_BASE_ANNOTATION,
)
from spo.recording.recorded_profile import (
    Origin,
    Relation,
    first_number,
    number_in,
    patch_of,
    recording_label,
    relation,
    replacement,
)

ORIGIN = Origin("rec", "c", "pod-1", "owner-1", numbered=True)


def profile(*names: str, status: SeccompProfileStatus | None = None, **labels: str) -> SeccompProfile:
    keys = {
        "recording": RECORDING_LABEL,
        "container": CONTAINER_LABEL,
        "pod": RECORDED_POD_LABEL,
        "owner": RECORDED_OWNER_LABEL,
        "partial": PARTIAL_LABEL,
    }
    rules = [Syscall(names=list(names), action="SCMP_ACT_ALLOW")] if names else []
    spec = SeccompProfileSpec(default_action="SCMP_ACT_ERRNO", syscalls=rules)
    metadata = ObjectMeta(name="rec-c-0", labels={keys[key]: value for key, value in labels.items()})
    return SeccompProfile(metadata=metadata, spec=spec, status=status)


@pytest.mark.parametrize(
    ("labels", "origin", "expected"),
    [
        pytest.param({}, ORIGIN, Relation.FOREIGN, id="no-labels"),
        pytest.param({"recording": "rec"}, ORIGIN, Relation.FOREIGN, id="no-container"),
        pytest.param({"recording": "rec", "container": "d"}, ORIGIN, Relation.FOREIGN, id="other-container"),
        pytest.param({"recording": "x", "container": "c"}, ORIGIN, Relation.FOREIGN, id="other-recording"),
        pytest.param({"pod": "pod-1"}, ORIGIN, Relation.FOREIGN, id="pod-alone"),
        pytest.param(
            {"recording": "rec", "container": "c", "pod": "pod-1"}, ORIGIN, Relation.OWN, id="own-retry"
        ),
        pytest.param(
            {"recording": "rec", "container": "c", "pod": "p", "owner": "owner-1"},
            ORIGIN,
            Relation.TAKEN,
            id="sibling",
        ),
        pytest.param(
            {"recording": "rec", "container": "c", "pod": "p", "owner": "owner-0"},
            ORIGIN,
            Relation.EARLIER,
            id="earlier-owner",
        ),
        pytest.param(
            {"recording": "rec", "container": "c", "pod": "p", "owner": "owner-0", "partial": "true"},
            ORIGIN,
            Relation.TAKEN,
            id="earlier-owner-not-whole",
        ),
        pytest.param(
            {"recording": "rec", "container": "c", "pod": "p", "owner": "owner-0"},
            ORIGIN._replace(partial=True),
            Relation.TAKEN,
            id="to-be-merged",
        ),
        pytest.param(
            {"recording": "rec", "container": "c", "pod": "p"},
            Origin("rec", "c", "pod-1", "", numbered=False),
            Relation.EARLIER,
            id="pod-of-its-own",
        ),
    ],
)
def test_relation(labels: dict[str, str], origin: Origin, expected: Relation) -> None:
    assert relation(profile(**labels), origin) is expected


@pytest.mark.parametrize(
    ("taken", "number"),
    [
        pytest.param({}, 0, id="first"),
        pytest.param({0: Relation.TAKEN, 1: Relation.FOREIGN}, 2, id="next"),
        pytest.param({0: Relation.TAKEN, 2: Relation.TAKEN}, 1, id="gap"),
        pytest.param({0: Relation.TAKEN, 1: Relation.EARLIER}, 1, id="earlier"),
        pytest.param({0: Relation.EARLIER, 3: Relation.OWN}, 3, id="own"),
    ],
)
def test_number_to_try(taken: dict[int, Relation], number: int) -> None:
    assert first_number(taken) == number


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("rec-c-0", 0),
        ("rec-c-12", 12),
        ("rec-c", None),
        ("rec-c-", None),
        ("rec-c-01", None),
        ("rec-c-x", None),
        ("rec-d-1", None),
        ("rec-c-\u0661", None),
        ("rec-c-9999999999", None),
    ],
)
def test_number_in_a_name(name: str, number: int | None) -> None:
    assert number_in(name, "rec-c") == number


def test_label_of_a_long_name_is_a_label_and_its_own() -> None:
    one, other = "r" * 30 + "." + "a" * 100, "r" * 30 + "." + "b" * 100
    assert recording_label("rec") == "rec"
    assert len(recording_label(one)) == 63
    assert recording_label(one) != recording_label(other)
    assert recording_label(one)[-1].isalnum()


def test_replacement_takes_nothing_from_a_profile_in_use() -> None:
    used = profile("mkdir", status=SeccompProfileStatus(active_workloads=["team/pod"]))
    wanted = profile("symlink")
    assert replacement(profile("mkdir"), wanted, add_only=False) == wanted
    for both in (
        replacement(used, wanted, add_only=False),
        replacement(profile("mkdir"), wanted, add_only=True),
    ):
        assert both.spec.syscalls[0].names == ["mkdir", "symlink"]


def test_patch_removes_what_is_no_longer_said() -> None:
    present = profile("mkdir", recording="rec", container="c", partial="true")
    present = msgspec.structs.replace(
        present,
        metadata=msgspec.structs.replace(
            present.metadata,
            resource_version="7",
            annotations={RECORDING_LATE_ANNOTATION: "true", RUNTIME_BASE_ANNOTATION: "[]", "mine": "x"},
        ),
        spec=msgspec.structs.replace(present.spec, base_profile_name="base"),
    )
    wanted = profile("symlink", recording="rec", container="c")
    wanted.metadata.annotations[RECORDING_LOST_ANNOTATION] = "0"
    patch = patch_of(present, wanted)
    assert patch["metadata"] == {
        "resourceVersion": "7",
        "labels": {RECORDING_LABEL: "rec", CONTAINER_LABEL: "c", PARTIAL_LABEL: None},
        "annotations": {
            RECORDING_LATE_ANNOTATION: None,
            RUNTIME_BASE_ANNOTATION: None,
            RECORDING_LOST_ANNOTATION: "0",
        },
    }
    spec = patch["spec"]
    assert isinstance(spec, dict)
    assert spec["baseProfileName"] is None
    assert spec["syscalls"] == [{"names": ["symlink"], "action": "SCMP_ACT_ALLOW"}]
