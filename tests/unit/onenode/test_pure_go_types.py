"""Errors of typed decoding, in the words recorded from a real server."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onenode.builtin_schema import schema_of
from onenode.go_types import decoding_problem
from onenode.pruning import METADATA_SCHEMA

POD = schema_of("", "v1", "Pod")
CONFIG_MAP = schema_of("", "v1", "ConfigMap")
SECRET = schema_of("", "v1", "Secret")
SCALE = schema_of("autoscaling", "v1", "Scale")
LEASE = schema_of("coordination.k8s.io", "v1", "Lease")
EVENT = schema_of("", "v1", "Event")
SERVICE = schema_of("", "v1", "Service")


def container(**members: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "c", **members}]}}


def into(value: str, field: str, kind: str) -> str:
    return f"json: cannot unmarshal {value} into Go struct field {field} of type {kind}"


MICRO = '"2006-01-02T15:04:05.000000Z07:00"'


@pytest.mark.parametrize(
    ("schema", "value", "text"),
    [
        pytest.param(
            METADATA_SCHEMA, {"labels": {"n": 5}}, into("number", "ObjectMeta.labels", "string"), id="07-8"
        ),
        pytest.param(
            METADATA_SCHEMA,
            {"labels": "str"},
            into("string", "ObjectMeta.labels", "map[string]string"),
            id="07-9",
        ),
        pytest.param(
            METADATA_SCHEMA, {"generation": "a"}, into("string", "ObjectMeta.generation", "int64"), id="11-23"
        ),
        pytest.param(CONFIG_MAP, {"data": {"a": 1}}, into("number", "ConfigMap.data", "string"), id="08-15"),
        pytest.param(
            SCALE, {"spec": {"replicas": "x"}}, into("string", "ScaleSpec.spec.replicas", "int32"), id="45-10"
        ),
        pytest.param(
            LEASE,
            {"spec": {"acquireTime": "2026-01-01T00:00:00Z"}},
            f'parsing time "2026-01-01T00:00:00Z" as {MICRO}: cannot parse "Z" as ".000000"',
            id="39-9",
        ),
        pytest.param(
            LEASE,
            {"spec": {"acquireTime": "yesterday"}},
            f'parsing time "yesterday" as {MICRO}: cannot parse "yesterday" as "2006"',
            id="39-10",
        ),
        pytest.param(
            POD,
            container(resources={"requests": {"cpu": "x"}}),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            id="42-13",
        ),
        pytest.param(
            POD, container(image=5), into("number", "Container.spec.containers.image", "string"), id="item"
        ),
        pytest.param(
            POD,
            container(ports={}),
            into("object", "Container.spec.containers.ports", "[]v1.ContainerPort"),
            id="list",
        ),
        pytest.param(POD, {"spec": []}, into("array", "Pod.spec", "v1.PodSpec"), id="struct"),
        pytest.param(
            POD, {"spec": {"priority": 1.5}}, into("number 1.5", "PodSpec.spec.priority", "int32"), id="float"
        ),
        pytest.param(
            POD,
            {"spec": {"priority": 2**31}},
            into("number 2147483648", "PodSpec.spec.priority", "int32"),
            id="wide",
        ),
        pytest.param(
            POD,
            container(resources={"limits": {"cpu": "1.2.3"}}),
            "unable to parse numeric part of quantity",
            id="quantity-number",
        ),
        pytest.param(
            POD,
            container(resources={"limits": {"cpu": "1mm"}}),
            "unable to parse quantity's suffix",
            id="quantity-suffix",
        ),
        pytest.param(
            SERVICE,
            {"spec": {"ports": [{"targetPort": 1.5}]}},
            "json: cannot unmarshal number 1.5 into Go value of type int32",
            id="int-or-string",
        ),
        pytest.param(SECRET, {"data": {"a": "a!"}}, "illegal base64 data at input byte 1", id="base64"),
        pytest.param(
            EVENT,
            {"lastTimestamp": "2026-13-01T00:00:00Z"},
            'parsing time "2026-13-01T00:00:00Z": month out of range',
            id="month",
        ),
        pytest.param(
            EVENT,
            {"lastTimestamp": "2026-01-01T00:00:00.5Z!"},
            'parsing time "2026-01-01T00:00:00.5Z!": extra text: "!"',
            id="extra-text",
        ),
    ],
)
def test_decoding_problems(schema: dict[str, Any], value: Any, text: str) -> None:
    assert decoding_problem(value, schema) == text


def test_what_decodes() -> None:
    pod = container(
        image="i", resources={"limits": {"cpu": 1, "memory": "1Gi", "x": "1e3", "y": "-.5m"}},
        livenessProbe={"httpGet": {"port": 80}}, ports=None, unknown=5,
    )  # fmt: skip
    pod["metadata"] = {"creationTimestamp": None, "labels": None, "generation": 3}
    assert decoding_problem(pod, POD) is None
    assert decoding_problem({"data": {"a": "aGk=\n"}}, SECRET) is None
    assert decoding_problem({"spec": {"renewTime": "2026-01-01T00:00:00.000001+01:00"}}, LEASE) is None


DEFINITION = schema_of("apiextensions.k8s.io", "v1", "CustomResourceDefinition")


def definition(schema: Any) -> dict[str, Any]:
    return {"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]}}


SCHEMA_AT = "spec.versions.schema.openAPIV3Schema"
AT = f"JSONSchemaProps.{SCHEMA_AT}"


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": 5}, into("number", f"{AT}.type", "string")),
        ({"properties": {"a": {"properties": []}}},
         into("array", f"{AT}.properties.properties", "map[string]v1.JSONSchemaProps")),
        ({"properties": {"a": {"items": {"required": "x"}}}},
         into("string", f"{AT}.properties.items.required", "[]string")),
        ({"additionalProperties": True, "items": [{"type": "string"}], "enum": [1, "a", None]}, None),
        ({"x-kubernetes-validations": [{"rule": 1}]},
         into("number", f"ValidationRule.{SCHEMA_AT}.x-kubernetes-validations.rule", "string")),
    ],
)  # fmt: skip
def test_the_schema_of_a_definition_is_typed_to_its_depth(schema: Any, text: str | None) -> None:
    assert decoding_problem(definition(schema), DEFINITION) == text


MEMBERS = st.sampled_from(["spec", "metadata", "containers", "labels", "status"])


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["x", "2026", ""]),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(MEMBERS, inner, max_size=3),
        max_leaves=8,
    )
)
def test_any_value_is_judged_without_an_exception(value: Any) -> None:
    decoding_problem(value, POD)
