"""Which annotations of a pod are acted on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.api.meta import LabelSelector, ObjectMeta
from spo.api.profile_recording import ProfileRecording, ProfileRecordingSpec
from spo.recording.acceptance import accept
from spo.recording.trace_annotation import RecordingRule, recording_rule

LABELS = {"app": "web"}


def rule(name: str = "rec", *containers: str, recorder: str = "bpf", **labels: str) -> RecordingRule:
    selector = LabelSelector(match_labels=labels or LABELS)
    spec = ProfileRecordingSpec(
        kind="SeccompProfile", recorder=recorder, pod_selector=selector, containers=list(containers)
    )
    made = recording_rule(ProfileRecording(metadata=ObjectMeta(name=name), spec=spec))
    assert made is not None
    return made


def accepted(traces: dict[str, str], *rules: RecordingRule) -> list[tuple[str, str]]:
    found, _ = accept(traces, LABELS, ("c", "d"), rules)
    return [(one.container, one.rule.name) for one in found]


def test_annotation_of_the_webhook_is_accepted() -> None:
    traces = {"c": "rec-c-1700000000", "d": "other-d-1700000000"}
    assert accepted(traces, rule(), rule("other")) == [("c", "rec"), ("d", "other")]


def test_recording_whose_name_begins_like_another() -> None:
    assert accepted({"c": "rec-c-c-17"}, rule("rec"), rule("rec-c")) == [("c", "rec-c")]


@pytest.mark.parametrize(
    ("container", "value", "rules"),
    [
        pytest.param("c", "rec-c-1", [], id="no-recording"),
        pytest.param("c", "rec-c-1", [rule("rec", app="else")], id="not-selected"),
        pytest.param("c", "rec-c-1", [rule("rec", "d")], id="container-not-listed"),
        pytest.param("c", "rec-d-1", [rule()], id="name-of-another-container"),
        pytest.param("e", "rec-e-1", [rule()], id="container-that-is-not-there"),
        pytest.param("c", "rec-c", [rule()], id="no-time"),
        pytest.param("c", "rec-c-1-1", [rule()], id="more-after-the-time"),
        pytest.param("c", "rec-c-", [rule()], id="empty-time"),
        pytest.param("c", f"{'r' * 243}-c-1", [rule("r" * 243)], id="no-room-for-a-number"),
    ],
)
def test_annotation_that_is_refused(container: str, value: str, rules: list[RecordingRule]) -> None:
    found, refused = accept({container: value}, LABELS, ("c", "d"), rules)
    assert found == []
    assert [one.container for one in refused] == [container]
    assert refused[0].problem


@given(st.dictionaries(st.sampled_from(["c", "d", "x"]), st.text(max_size=40)))
def test_nothing_else_is_accepted(traces: dict[str, str]) -> None:
    """Each annotation is either what the webhook writes or refused; a refusal shows 100 characters of it."""
    found, refused = accept(traces, LABELS, ("c", "d"), [rule()])
    assert len(found) + len(refused) == len(traces)
    for one in found:
        assert traces[one.container].startswith(f"rec-{one.container}-")
    assert all(len(one.container) <= 100 for one in refused)
