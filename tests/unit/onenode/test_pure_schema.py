"""Pruning, defaulting, validation and rules, held to recorded writes of a real server."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onenode.patch import merge_patch
from onenode.schema import apply_defaults, describe_causes, prune, validate, validate_custom_resource

DATA = Path(__file__).parents[2] / "data/onenode"
SCHEMAS: dict[str, dict[str, Any]] = json.loads((DATA / "recorded_schemas.json").read_text())["schemas"]
WRITES: list[dict[str, Any]] = json.loads((DATA / "recorded_writes.json").read_text())["writes"]
PROFILE = SCHEMAS["SeccompProfile"]


def write_id(entry: dict[str, Any]) -> str:
    return f"{entry['scenario']}-{entry['step']}"


@pytest.mark.parametrize("entry", WRITES, ids=write_id)
def test_a_write_ends_as_on_the_real_server(entry: dict[str, Any]) -> None:
    schema = SCHEMAS[entry["kind"]]
    old = entry.get("old")
    obj = copy.deepcopy(entry["object"]) if old is None else merge_patch(old, entry["merge_patch"])

    unknown = prune(obj, schema)
    apply_defaults(obj, schema)
    causes = validate_custom_resource(obj, schema, old, subresource=entry.get("subresource"))

    if "causes" in entry:
        assert sorted((c.reason, c.message, c.field) for c in causes) == sorted(
            (c["reason"], c["message"], c["field"]) for c in entry["causes"]
        )
        texts = describe_causes(causes)
        assert entry["message"].endswith(texts) or len(causes) > 1
    else:
        assert causes == []
        if "fieldValidation=Ignore" not in entry.get("comment", "") and "warnings" in entry:
            assert [f'299 - "unknown field \\"{path}\\""' for path in unknown] == entry["warnings"]
        if "result" in entry and entry["scenario"] != "07-10":
            assert {k: obj.get(k) for k in ("spec", "status")} == {
                k: entry["result"].get(k) for k in ("spec", "status")
            }


TEXTS = st.text('a"\\é\n', max_size=5)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.dictionaries(
    st.sampled_from([*PROFILE["properties"]["spec"]["properties"], "names", "unknown"]),
    JSON_VALUES,
    max_size=4,
)


@given(spec=FIELDS, syscalls=st.lists(FIELDS, max_size=2))
def test_pruning_and_defaulting_twice_changes_nothing(spec: dict[str, Any], syscalls: list[Any]) -> None:
    obj = {"metadata": {}, "spec": spec | {"syscalls": syscalls}}
    prune(obj, PROFILE)
    apply_defaults(obj, PROFILE)
    once = copy.deepcopy(obj)

    assert prune(obj, PROFILE) == []
    apply_defaults(obj, PROFILE)

    assert obj == once


@given(spec=JSON_VALUES)
def test_any_value_is_judged_without_an_exception(spec: Any) -> None:
    obj = {"spec": spec}
    validate_custom_resource(obj, PROFILE)
    validate_custom_resource(obj, SCHEMAS["SecurityProfilesOperatorDaemon"], {"spec": spec})


def test_an_update_is_not_refused_for_what_it_did_not_change() -> None:
    old = {"spec": {"defaultAction": "NOPE", "priority": 500}}
    new = {"spec": {"defaultAction": "NOPE", "priority": 7}}
    assert validate(new, PROFILE, old) == []
    new["spec"]["priority"] = 700
    assert [cause.field for cause in validate(new, PROFILE, old)] == ["spec.priority"]


def test_keyed_list_items_are_compared_with_their_old_selves() -> None:
    bad = {"type": "A", "status": "True", "lastTransitionTime": "yesterday"}
    old = {"status": {"conditions": [bad]}}
    new = {"status": {"conditions": [{"type": "B", "status": "True"}, bad]}}
    assert validate(new, PROFILE, old) == []


ONE_OF = 'Invalid value: "": "x" must validate one and only one schema (oneOf). Found 2 valid alternatives'


@pytest.mark.parametrize(
    ("schema", "value", "texts"),
    [
        pytest.param({"type": "number", "exclusiveMaximum": True, "maximum": 2}, 2,
                     ["Invalid value: 2: x in body should be less than 2"], id="exclusive-maximum"),
        pytest.param({"type": "number", "exclusiveMinimum": True, "minimum": 1e6}, 3,
                     ["Invalid value: 3: x in body should be greater than 1e+06"], id="exclusive-minimum"),
        pytest.param({"type": "integer", "multipleOf": 5}, 7,
                     ["Invalid value: 7: x in body should be a multiple of 5"], id="multiple"),
        pytest.param({"type": "integer"}, 3.0, [], id="whole-float"),
        pytest.param({"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 1},
                     {"a": "", "b": ""}, ["Too many: 2: must have at most 1 items"], id="max-properties"),
        pytest.param({"type": "object", "minProperties": 1}, {},
                     ["Invalid value: 0: x in body should have at least 1 properties"], id="min-properties"),
        pytest.param({"type": "string", "minLength": 2}, "é",
                     ['Invalid value: "é": x in body should be at least 2 chars long'], id="min-length"),
        pytest.param({"type": "string", "nullable": True}, None, [], id="nullable"),
        pytest.param({"type": "string", "not": {"pattern": "^a"}}, "ab",
                     ['Invalid value: "": "x" must not validate the schema (not)'], id="not"),
        pytest.param({"type": "string", "oneOf": [{"pattern": "a"}, {"pattern": "b"}]}, "ab",
                     [ONE_OF], id="one-of"),
        pytest.param({"type": "string", "allOf": [{"pattern": "a"}]}, "b",
                     ["Invalid value: \"b\": x in body should match 'a'",
                      'Invalid value: "": "x" must validate all the schemas (allOf). None validated'],
                     id="all-of"),
        pytest.param({"type": "string", "format": "duration"}, "5 min",
                     ['Invalid value: "5 min": x in body must be of type duration: "5 min"'], id="duration"),
        pytest.param({"type": "string", "pattern": "^a$"}, "a\n",
                     ["Invalid value: \"a\\n\": x in body should match '^a$'"], id="dollar-is-the-very-end"),
    ],
)  # fmt: skip
def test_rules_of_one_value(schema: dict[str, Any], value: Any, texts: list[str]) -> None:
    causes = validate({"x": value}, {"type": "object", "properties": {"x": schema}})
    assert [cause.message for cause in causes] == texts


def test_embedded_resources_keep_their_metadata_and_kind() -> None:
    schema = {
        "type": "object",
        "properties": {
            "template": {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {}}
        },
    }
    obj = {"template": {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a", "x": 1}, "spec": {}}}
    assert prune(obj, schema) == ["template.metadata.x", "template.spec"]
    assert obj == {"template": {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}}}


def test_a_profile_of_300_syscalls_is_judged_in_milliseconds() -> None:
    names = [f"syscall_{index}" for index in range(300)]
    spec = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"action": "SCMP_ACT_ALLOW", "names": names}]}
    obj = {"metadata": {"name": "big"}, "spec": spec}

    def write() -> None:
        prune(obj, PROFILE)
        apply_defaults(obj, PROFILE)
        assert validate_custom_resource(obj, PROFILE) == []

    def seconds() -> float:
        start = time.perf_counter()
        write()
        return time.perf_counter() - start

    assert min(seconds() for _ in range(5)) < 0.005


def test_embedded_resources_must_say_what_they_are() -> None:
    template = {
        "type": "object",
        "x-kubernetes-embedded-resource": True,
        "x-kubernetes-preserve-unknown-fields": True,
    }
    schema = {"type": "object", "properties": {"template": template}}
    obj = {"template": {"kind": "Pod", "metadata": {"labels": {"a": "b b"}}}}
    assert [cause.field for cause in validate_custom_resource(obj, schema)] == [
        "template.apiVersion",
        "template.metadata.labels",
    ]
