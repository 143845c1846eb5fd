"""Nulls in typed objects."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onenode.builtin_schema import schema_of
from onenode.go_nulls import read_nulls

POD = schema_of("", "v1", "Pod")
CUSTOM: dict[str, Any] = {"type": "object", "properties": {"spec": {"type": "object"}}}


@pytest.mark.parametrize(
    ("obj", "read"),
    [
        pytest.param({"spec": {"volumes": None}}, {"spec": {}}, id="member"),
        pytest.param({"spec": {"containers": [None]}}, {"spec": {"containers": [{}]}}, id="item"),
        pytest.param({"metadata": {"labels": {"a": None}}}, {"metadata": {"labels": {"a": ""}}}, id="map"),
        pytest.param({"metadata": {"creationTimestamp": None}}, {"metadata": {}}, id="metadata-time"),
        pytest.param(
            {"status": {"conditions": [{"type": "Ready", "lastProbeTime": None}]}},
            {"status": {"conditions": [{"type": "Ready", "lastProbeTime": None}]}},
            id="a-null-time-is-shown",
        ),
        pytest.param(
            {"spec": {"containers": [{"resources": {"limits": {"cpu": None}}, "command": ["a", None]}]}},
            {"spec": {"containers": [{"resources": {"limits": {"cpu": 0}}, "command": ["a", ""]}]}},
            id="quantity-and-text",
        ),
    ],
)
def test_nulls_of_a_pod(obj: dict[str, Any], read: dict[str, Any]) -> None:
    read_nulls(obj, POD)
    assert obj == read


def test_only_the_metadata_of_a_custom_object_is_typed() -> None:
    obj = {"metadata": {"annotations": None, "finalizers": [None]}, "spec": {"a": None}}
    read_nulls(obj, CUSTOM)
    assert obj == {"metadata": {"finalizers": [""]}, "spec": {"a": None}}


def test_nulls_in_the_schema_of_a_definition() -> None:
    schema = {"properties": {"a": None, "b": {"items": None, "type": None}}, "default": None}
    obj = {"spec": {"versions": [{"schema": {"openAPIV3Schema": schema}}]}}
    read_nulls(obj, schema_of("apiextensions.k8s.io", "v1", "CustomResourceDefinition"))
    assert schema == {"properties": {"a": {}, "b": {}}, "default": None}


MEMBERS = st.sampled_from(["spec", "metadata", "containers", "labels", "env", "volumes"])


@given(
    obj=st.dictionaries(
        MEMBERS,
        st.recursive(
            st.none() | st.integers(),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(MEMBERS, inner, max_size=3),
        ),
    )
)
def test_reading_twice_changes_nothing(obj: dict[str, Any]) -> None:
    read_nulls(obj, POD)
    once = repr(obj)
    read_nulls(obj, POD)
    assert repr(obj) == once
