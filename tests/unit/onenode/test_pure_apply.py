"""Server-side apply and the record of managers, held to recorded exchanges with a real server."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from onenode.apply import ApplyConflict, ApplyTypeError, server_side_apply
from onenode.builtin_schema import schema_of
from onenode.field_paths import FieldsError, fields_v1, parse_fields_v1
from onenode.managed_fields import keep_times_if_unchanged, track_update
from onenode.patch import merge_patch
from onenode.schema import apply_defaults, prune
from onenode.typed_merge import merge
from onenode.typed_values import compare, field_set

DATA = Path(__file__).parents[2] / "data/onenode"
SCHEMAS: dict[str, dict[str, Any]] = json.loads((DATA / "recorded_schemas.json").read_text())["schemas"]
STEPS: list[dict[str, Any]] = json.loads((DATA / "recorded_applies.json").read_text())["steps"]
PROFILE = SCHEMAS["SeccompProfile"]
GROUP_VERSION = "security-profiles-operator.x-k8s.io/v1beta1"
NOW = "2026-02-01T00:00:00Z"
RECORDED_TIME = "<time>"


def applies() -> Iterator[Any]:
    """Each apply with the state the steps before it left."""
    states: dict[str, Any] = {}
    for step in STEPS:
        path = urlsplit(step["path"]).path
        name = path.removesuffix("/status").removesuffix("/scale")
        if step["type"] == "apply-patch+yaml":
            body = step["body"] if isinstance(step["body"], dict) else None
            if body is None and not step["body"].startswith("{"):
                body = yaml.safe_load(step["body"])
            label = f"{step['scenario']}-{step['step']}"
            if body is not None and is_pure(step):
                yield pytest.param(step, body, copy.deepcopy(states.get(name)), id=label)
        answer = step["answer"]
        if step["status"] in (200, 201) and "dryRun" not in step["path"] and answer.get("kind") != "Scale":
            states[name if step["method"] != "POST" else f"{path}/{answer['metadata']['name']}"] = answer


def is_pure(step: dict[str, Any]) -> bool:
    """True if the answer does not come from checks of the HTTP layer."""
    if step["status"] in (400, 422):
        return False
    return "modified" not in step["answer"].get("message", "")


def schema_for(kind: str) -> dict[str, Any]:
    builtin = {"ConfigMap": ("", "v1"), "Deployment": ("apps", "v1")}
    return schema_of(*builtin[kind], kind) if kind in builtin else SCHEMAS[kind]


def timeless(obj: dict[str, Any]) -> list[dict[str, Any]]:
    entries = obj["metadata"].get("managedFields", [])
    return [
        {name: value for name, value in entry.items() if name != "time"}
        for entry in entries
        if entry["manager"] != "kube-controller-manager"  # it wrote between the recorded steps
    ]


def with_time(obj: dict[str, Any]) -> set[str]:
    entries = obj["metadata"].get("managedFields", [])
    return {entry["manager"] for entry in entries if "time" in entry} - {"kube-controller-manager"}


@pytest.mark.parametrize(("step", "body", "live"), list(applies()))
def test_an_apply_ends_as_on_the_real_server(
    step: dict[str, Any], body: dict[str, Any], live: dict[str, Any] | None
) -> None:
    query = parse_qs(urlsplit(step["path"]).query)
    subresource = "status" if urlsplit(step["path"]).path.endswith("/status") else None
    # Any value of force counts but a plain "false", as step 18-20 shows.
    force = query.get("force", ["false"])[0] != "false"
    schema = schema_for(body["kind"])

    def run() -> dict[str, Any]:
        return server_side_apply(
            live,
            body,
            query["fieldManager"][0],
            force,
            schema,
            body["apiVersion"],
            RECORDED_TIME,
            subresource,
        )

    if step["status"] == 409:
        with pytest.raises(ApplyConflict) as conflict:
            run()
        assert conflict.value.message == step["answer"]["message"]
        causes = [cause.to_dict() for cause in conflict.value.causes]
        assert causes == step["answer"]["details"]["causes"]
        return
    if step["status"] == 500:
        with pytest.raises(ApplyTypeError) as refused:
            run()
        assert refused.value.message == step["answer"]["message"]
        return
    result = run()
    prune(result, schema)
    apply_defaults(result, schema)
    if live is not None:
        keep_times_if_unchanged(live, result)
    answer = step["answer"]
    assert timeless(result) == timeless(answer)
    assert with_time(result) == with_time(answer)
    if body["kind"] == "Deployment":  # its defaults are the business of the server
        return
    for part in ("labels", "annotations"):
        assert result["metadata"].get(part) == answer["metadata"].get(part)
    assert {k: result.get(k) for k in ("spec", "data")} == {k: answer.get(k) for k in ("spec", "data")}
    if subresource == "status":
        assert result["status"] == answer["status"]


def profile(name: str = "a", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": GROUP_VERSION, "kind": "SeccompProfile", "metadata": {"name": name}, "spec": spec}


def apply(
    live: dict[str, Any] | None, body: dict[str, Any], manager: str, *, force: bool = False
) -> dict[str, Any]:
    return server_side_apply(live, body, manager, force, PROFILE, GROUP_VERSION, NOW)


def test_an_apply_that_changes_nothing_leaves_the_time_of_its_entry() -> None:
    live = apply(None, profile(defaultAction="SCMP_ACT_LOG"), "m1")
    again = server_side_apply(
        live,
        profile(defaultAction="SCMP_ACT_LOG"),
        "m1",
        False,
        PROFILE,
        GROUP_VERSION,
        "2027-01-01T00:00:00Z",
    )
    assert again == live


def test_several_conflicts_are_told_by_manager() -> None:
    live = apply(None, profile(defaultAction="SCMP_ACT_LOG"), "m1")
    live = apply(live, profile(priority=1), "m2")
    with pytest.raises(ApplyConflict) as conflict:
        apply(live, profile(defaultAction="SCMP_ACT_ERRNO", priority=2), "m3")
    assert conflict.value.message == (
        'Apply failed with 2 conflicts: conflicts with "m1":\n- .spec.defaultAction\n'
        'conflicts with "m2":\n- .spec.priority'
    )


def test_an_object_without_a_record_gets_one_before_the_first_apply() -> None:
    live = profile(defaultAction="SCMP_ACT_LOG", priority=3)
    new = apply(live, profile(priority=3), "m1")
    entries = {entry["manager"]: entry["fieldsV1"] for entry in new["metadata"]["managedFields"]}
    assert entries == {
        "m1": {"f:spec": {"f:priority": {}}},
        "before-first-apply": {"f:spec": {".": {}, "f:defaultAction": {}, "f:priority": {}}},
    }


def test_unknown_types_below_preserved_fields_are_granular_maps_and_atomic_lists() -> None:
    schema = SCHEMAS["SecurityProfilesOperatorDaemon"]
    body = {
        "apiVersion": "security-profiles-operator.x-k8s.io/v1alpha1",
        "kind": "SecurityProfilesOperatorDaemon",
        "metadata": {"name": "spod"},
        "spec": {"affinity": {"node": {"x": 1, "terms": [{"a": 1}]}}},
    }
    new = server_side_apply(None, body, "m", False, schema, "g/v", NOW)
    (entry,) = new["metadata"]["managedFields"]
    assert entry["fieldsV1"] == {"f:spec": {"f:affinity": {"f:node": {".": {}, "f:terms": {}, "f:x": {}}}}}


def test_port_keys_take_the_default_protocol() -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]},
    }
    new = server_side_apply(None, body, "m", False, schema_of("", "v1", "Pod"), "v1", NOW)
    fields = new["metadata"]["managedFields"][0]["fieldsV1"]
    ports = fields["f:spec"]["f:containers"]['k:{"name":"c"}']["f:ports"]
    assert ports == {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}}


def test_a_created_pod_is_recorded_as_on_the_real_server() -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": {}}], "securityContext": {}},
        "status": {},
    }
    track_update(None, pod, "kubectl-create", NOW, schema_of("", "v1", "Pod"), "v1")
    (entry,) = pod["metadata"]["managedFields"]
    assert entry["fieldsV1"] == {
        "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
        "f:spec": {
            "f:containers": {'k:{"name":"c"}': {".": {}, "f:image": {}, "f:name": {}, "f:resources": {}}},
            "f:securityContext": {},
        },
    }


def tracked(
    old: dict[str, Any] | None, new: dict[str, Any], manager: str, now: str = NOW, **more: Any
) -> dict[str, Any]:
    track_update(old, new, manager, now, PROFILE, GROUP_VERSION, **more)
    return new


def managers(obj: dict[str, Any]) -> list[str]:
    return [entry["manager"] for entry in obj["metadata"].get("managedFields", [])]


def test_a_changed_field_moves_to_the_last_writer() -> None:
    old = tracked(None, profile(defaultAction="SCMP_ACT_LOG"), "one")
    new = tracked(old, merge_patch(old, {"spec": {"defaultAction": "SCMP_ACT_ERRNO"}}), "two")
    assert [entry["fieldsV1"]["f:spec"] for entry in new["metadata"]["managedFields"]] == [
        {},
        {"f:defaultAction": {}},
    ]


def test_a_removed_field_belongs_to_nobody() -> None:
    old = tracked(None, profile(defaultAction="SCMP_ACT_LOG", priority=1), "one")
    new = tracked(old, merge_patch(old, {"spec": {"priority": None}}), "two")
    assert managers(new) == ["one"]
    assert "f:priority" not in str(new["metadata"]["managedFields"])


def test_a_write_that_changes_nothing_leaves_the_record() -> None:
    old = tracked(None, profile(defaultAction="SCMP_ACT_LOG"), "one")
    new = tracked(old, copy.deepcopy(old), "two", "2027-01-01T00:00:00Z")
    assert new == old


@pytest.mark.parametrize("reset", [[], [{}]])
def test_a_client_can_reset_the_record(reset: list[Any]) -> None:
    old = tracked(None, profile(defaultAction="SCMP_ACT_LOG"), "one")
    new = tracked(old, merge_patch(old, {"metadata": {"managedFields": reset}}), "two")
    assert "managedFields" not in new["metadata"]


def test_a_subresource_keeps_the_record_of_the_stored_object() -> None:
    old = tracked(None, profile(defaultAction="SCMP_ACT_LOG"), "one")
    new = merge_patch(old, {"metadata": {"managedFields": [{}]}, "status": {"status": "Installed"}})
    tracked(old, new, "st", subresource="status")
    assert [(entry["manager"], entry.get("subresource")) for entry in new["metadata"]["managedFields"]] == [
        ("one", None),
        ("st", "status"),
    ]


def test_too_many_updaters_become_one() -> None:
    obj = tracked(None, profile(defaultAction="SCMP_ACT_LOG"), "zero", "2026-01-01T00:00:00Z")
    for number in range(1, 15):
        labels = {f"l{number}": "x"}
        time = f"2026-01-{number + 1:02d}T00:00:00Z"
        obj = tracked(obj, merge_patch(obj, {"metadata": {"labels": labels}}), f"m{number}", time)
    names = managers(obj)
    assert len(names) == 10
    assert "ancient-changes" in names
    assert "m14" in names


VALUES = st.recursive(
    st.integers(0, 3) | st.sampled_from(["a", "b"]) | st.booleans(),
    lambda inner: st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=6,
)
LABELS = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from(["1", "2"]), max_size=3)
ARCHITECTURES = st.lists(
    st.sampled_from(["SCMP_ARCH_X86", "SCMP_ARCH_ARM", "SCMP_ARCH_S390"]), min_size=1, unique=True
)
CONDITIONS = st.dictionaries(st.sampled_from(["Ready", "Other"]), st.sampled_from(["True", "False"]))


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    body = profile(architectures=draw(ARCHITECTURES))
    body["metadata"]["labels"] = draw(LABELS)
    if draw(st.booleans()):
        body["spec"]["priority"] = draw(st.integers(0, 3))
    return body


@given(first=configurations(), second=configurations())
def test_applying_twice_is_a_no_op(first: dict[str, Any], second: dict[str, Any]) -> None:
    live = apply(None, first, "m1")
    live = apply(live, second, "m2", force=True)
    assert apply(live, second, "m2") == live


@given(first=configurations(), second=configurations())
def test_a_manager_that_gives_up_everything_leaves_nothing(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    live = apply(None, first, "m1")
    live = apply(live, second, "m1")
    nothing = {name: value for name, value in profile().items() if name != "spec"}
    bare = apply(live, nothing, "m1")
    assert "managedFields" not in bare["metadata"]
    assert not bare.get("spec")
    assert not bare["metadata"].get("labels")


@given(old=configurations(), new=configurations())
def test_merging_a_configuration_leaves_no_difference_to_it(old: dict[str, Any], new: dict[str, Any]) -> None:
    merged = merge(old, new, PROFILE)
    assert field_set(new, PROFILE) <= field_set(merged, PROFILE)
    assert merge(merged, new, PROFILE) == merged
    assert compare(merged, merged, PROFILE) == (frozenset(), frozenset(), frozenset())


@given(
    document=st.recursive(
        st.just({}) | st.integers(),
        lambda inner: st.dictionaries(
            st.sampled_from([".", "f:a", "f:b", 'k:{"n":1}', "k:x", 'v:"s"', "i:0", "q"]), inner, max_size=3
        ),
    )
)
def test_fields_v1_survives_a_round_trip_or_is_refused(document: Any) -> None:
    try:
        fields = parse_fields_v1(document)
    except FieldsError:
        return
    assert parse_fields_v1(fields_v1(fields)) == fields


def test_a_list_type_error_names_the_field() -> None:
    with pytest.raises(ApplyTypeError) as refused:
        apply(None, profile(architectures=["SCMP_ARCH_X86", "SCMP_ARCH_X86"], nosuch=1), "m")
    assert refused.value.message.splitlines()[1:] == [
        '  .spec.architectures: duplicate entries for key [="SCMP_ARCH_X86"]',
        "  .spec.nosuch: field not declared in schema",
    ]


def test_a_built_in_configuration_must_decode() -> None:
    kind = "CustomResourceDefinition"
    versions = [{"name": "v1", "schema": {"openAPIV3Schema": {"type": 5}}}]
    body = {"apiVersion": "v", "kind": kind, "metadata": {"name": "d"}, "spec": {"versions": versions}}
    with pytest.raises(ApplyTypeError, match="cannot unmarshal number into Go struct field JSONSchemaProps"):
        server_side_apply(None, body, "m", False, schema_of("apiextensions.k8s.io", "v1", kind), "v", NOW)
