"""Which containers are marked to be recorded, how, and what the author of the pod is told."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.api.meta import LabelSelector, ObjectMeta
from spo.api.profile_recording import ProfileRecording, ProfileRecordingSpec
from spo.recording.trace_annotation import RecordingRule, is_trace_value, recording_rule
from spo.webhooks.decision import UNCHANGED, Decision
from spo.webhooks.recording import logged_containers, record
from tests.fakes.json_patch import as_admitted, patched

Obj = dict[str, Any]
NOW = 1_700_000_000
SYSCALL, LOGS = "io.containers.trace-syscall/", "io.containers.trace-logs/"
BPF, AVCS = "io.containers.trace-bpf/", "io.containers.trace-avcs/"
REPLACED = "replaced-profile.spo.x-k8s.io/"
LOG_PROFILE = {"type": "Localhost", "localhostProfile": "operator/spo/log-enricher-trace.json"}


def rule(
    recorder: str, name: str = "rec", kind: str = "SeccompProfile", app: str = "", **spec: Any
) -> RecordingRule:
    selector = LabelSelector(match_labels={"app": app} if app else {})
    made = recording_rule(
        ProfileRecording(
            metadata=ObjectMeta(name=name, namespace="ns"),
            spec=ProfileRecordingSpec(kind=kind, recorder=recorder, pod_selector=selector, **spec),
        )
    )
    assert made is not None
    return made


def pod(*names: str, annotations: Obj | None = None, context: Obj | None = None, **spec: Any) -> Obj:
    extra = {} if context is None else {"securityContext": context}
    containers = [{"name": name, "image": "nginx", **extra} for name in names]
    metadata: Obj = {"generateName": "web-", "labels": {"app": "web"}}
    if annotations is not None:
        metadata["annotations"] = annotations
    return {"metadata": metadata, "spec": {"containers": containers, **spec}}


def decide(obj: Obj, *rules: RecordingRule) -> Decision:
    return record(as_admitted(obj), rules, NOW, "spo")


def annotations_of(obj: Obj, *rules: RecordingRule) -> Obj:
    found: Obj = patched(obj, decide(obj, *rules).patch)["metadata"].get("annotations", {})
    return found


@pytest.mark.parametrize(
    ("made", "key", "value"),
    [
        pytest.param(
            rule("hook"),
            f"{SYSCALL}c",
            f"of:/run/security-profiles-operator/recordings/rec-c-{NOW}.json",
            id="hook",
        ),
        pytest.param(rule("logs"), f"{LOGS}c", f"rec-c-{NOW}", id="logs"),
        pytest.param(rule("bpf"), f"{BPF}c", f"rec-c-{NOW}", id="bpf"),
        pytest.param(rule("logs", kind="SelinuxProfile"), f"{AVCS}c", f"rec-c-{NOW}", id="selinux"),
    ],
)
def test_annotation_names_recording_container_and_time(made: RecordingRule, key: str, value: str) -> None:
    assert annotations_of(pod("c"), made) == {key: value}
    assert annotations_of(pod("c", annotations={"a~/b": "x"}), made) == {"a~/b": "x", key: value}
    assert is_trace_value(made, "c", value)


@pytest.mark.parametrize(
    ("made", "count"),
    [(rule("logs", kind="SelinuxProfile"), 2), (rule("logs"), 2), (rule("hook"), 1), (rule("bpf"), 1)],
)
def test_number_of_operations_for_one_container(made: RecordingRule, count: int) -> None:
    assert len(decide(pod("c"), made).patch) == count


def test_init_containers_are_recorded_too_and_containers_narrows_it() -> None:
    obj = pod("a", "b", initContainers=[{"name": "i"}])
    assert set(annotations_of(obj, rule("bpf"))) == {f"{BPF}i", f"{BPF}a", f"{BPF}b"}
    assert set(annotations_of(obj, rule("bpf", containers=["i", "b"]))) == {f"{BPF}i", f"{BPF}b"}


def test_pod_that_no_recording_selects_is_unchanged() -> None:
    assert decide(pod("c"), rule("bpf", app="db"), rule("bpf", containers=["x"])) is UNCHANGED
    assert decide(pod("c")) is UNCHANGED


def test_recording_that_is_being_deleted_selects_nothing() -> None:
    gone = ProfileRecording(
        metadata=ObjectMeta(name="r", deletion_timestamp="2026-01-01T00:00:00Z"),
        spec=ProfileRecordingSpec(kind="SeccompProfile", recorder="bpf", pod_selector=LabelSelector()),
    )
    assert recording_rule(gone) is None


def test_logs_replace_the_profile_and_say_so() -> None:
    own = {"type": "Localhost", "localhostProfile": "mine.json"}
    obj = pod("c", context={"seccompProfile": own, "runAsUser": 3})
    decision = decide(obj, rule("logs"))
    context = patched(obj, decision.patch)["spec"]["containers"][0]["securityContext"]
    assert context == {"seccompProfile": LOG_PROFILE, "runAsUser": 3}
    assert len(decision.warnings) == 1
    assert "seccomp profile of container 'c' is replaced" in decision.warnings[0]
    assert annotations_of(obj, rule("logs"))[f"{REPLACED}c"] == "mine.json"


def test_logs_replace_the_profile_of_the_pod_for_one_container() -> None:
    obj = pod("c", "d", securityContext={"seccompProfile": {"type": "RuntimeDefault"}})
    decision = decide(obj, rule("logs", containers=["d"]))
    assert len(decision.warnings) == 1
    annotations = annotations_of(obj, rule("logs", containers=["d"]))
    assert {key: value for key, value in annotations.items() if key.startswith(REPLACED)} == {
        f"{REPLACED}d": "RuntimeDefault"
    }
    free = pod("c", securityContext={"seccompProfile": LOG_PROFILE})
    assert decide(free, rule("logs")).warnings == ()


@pytest.mark.parametrize("recorder", ["hook", "bpf"])
def test_hook_and_bpf_leave_the_profile(recorder: str) -> None:
    obj = pod("c", context={"seccompProfile": {"type": "RuntimeDefault"}})
    decision = decide(obj, rule(recorder))
    assert patched(obj, decision.patch)["spec"] == obj["spec"]
    assert decision.warnings == ()


def test_privileged_container_cannot_be_recorded_from_logs() -> None:
    decision = decide(pod("c", context={"privileged": True}), rule("logs"))
    assert ["is privileged" in one for one in decision.warnings] == [True]
    assert decide(pod("c", context={"privileged": True}), rule("bpf")).warnings == ()


def test_selinux_keeps_the_other_options() -> None:
    obj = pod("c", context={"seLinuxOptions": {"level": "s0", "type": "x"}})
    made = patched(obj, decide(obj, rule("logs", kind="SelinuxProfile")).patch)
    context = made["spec"]["containers"][0]["securityContext"]
    assert context == {"seLinuxOptions": {"level": "s0", "type": "selinuxrecording.process"}}


def test_two_kinds_from_logs_share_a_new_security_context() -> None:
    obj = pod("c")
    made = patched(obj, decide(obj, rule("logs"), rule("logs", "sel", "SelinuxProfile")).patch)
    assert made["spec"]["containers"][0]["securityContext"] == {
        "seccompProfile": LOG_PROFILE,
        "seLinuxOptions": {"type": "selinuxrecording.process"},
    }


@pytest.mark.parametrize("recorder", ["bpf", "hook"])
def test_recorder_that_cannot_record_the_kind_is_told(recorder: str) -> None:
    decision = decide(pod("c"), rule(recorder, kind="SelinuxProfile"))
    assert decision.patch == ()
    assert decision.warnings == (
        f"ProfileRecording rec: recorder '{recorder}' cannot record a SelinuxProfile; use recorder logs",
    )


def test_of_two_recordings_with_one_recorder_the_first_by_name_records() -> None:
    obj = pod("c")
    decision = decide(obj, rule("bpf", "b"), rule("bpf", "a"), rule("hook", "z"))
    assert annotations_of(obj, rule("bpf", "b"), rule("bpf", "a"), rule("hook", "z")) == {
        f"{BPF}c": f"a-c-{NOW}",
        f"{SYSCALL}c": f"of:/run/security-profiles-operator/recordings/z-c-{NOW}.json",
    }
    assert len(decision.warnings) == 1
    assert (
        "ProfileRecording b: container 'c' is not recorded: ProfileRecording a does it"
        in decision.warnings[0]
    )


@pytest.mark.parametrize(
    "value", ["", "of:/etc/shadow", "../x", "rec-c-", "rec-c-x", "rec-c-1x", "other-c-1"]
)
def test_annotation_made_by_hand_stays_and_is_told(value: str) -> None:
    obj = pod("c", annotations={f"{BPF}c": value})
    decision = decide(obj, rule("bpf"))
    assert decision.patch == ()
    assert f"the pod has annotation {BPF}c already; remove it" in decision.warnings[0]


def test_recording_is_safe_to_run_twice() -> None:
    rules = rule("logs"), rule("hook", "h"), rule("logs", "sel", "SelinuxProfile")
    obj = pod("a", "b")
    once = patched(obj, decide(obj, *rules).patch)
    assert record(as_admitted(once), rules, NOW + 60, "spo") == UNCHANGED


def test_names_that_make_no_profile_are_told() -> None:
    decision = decide(pod("c"), rule("bpf", "r" * 249))
    assert decision.patch == ()
    assert "over 250 characters" in decision.warnings[0]
    hook = decide(pod("c"), rule("hook", "r" * 245))
    assert "its file would have over 255 characters" in hook.warnings[0]


def test_bindings_leave_containers_of_logs_recordings_alone() -> None:
    obj = as_admitted(pod("a", "b"))
    assert logged_containers(obj, [rule("logs", containers=["a"]), rule("bpf")]) == {"a"}
    assert logged_containers(obj, [rule("logs", app="db")]) == frozenset()


names = st.text(max_size=10)


@given(
    st.none() | st.dictionaries(names | st.sampled_from([f"{BPF}c", f"{LOGS}c"]), names, max_size=3),
    st.lists(names | st.just("c"), max_size=3),
    st.lists(st.sampled_from(["hook", "bpf", "logs"]), max_size=4),
)
def test_any_pod_keeps_its_annotations(
    annotations: Obj | None, containers: list[str], recorders: list[str]
) -> None:
    obj = pod(*containers, annotations=annotations)
    rules = [rule(recorder, f"r{number}") for number, recorder in enumerate(recorders)]
    made = patched(obj, decide(obj, *rules).patch)
    assert (annotations or {}).items() <= made["metadata"].get("annotations", {}).items()
    assert [one["name"] for one in made["spec"]["containers"]] == containers
