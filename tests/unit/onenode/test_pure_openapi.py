"""OpenAPI documents as kubectl reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onenode.builtin_schema import schema_of
from onenode.openapi import OpenApi
from onenode.registry import Registry, Resource

DATA = Path(__file__).parents[2] / "data/onenode"
SCHEMAS: dict[str, dict[str, Any]] = json.loads((DATA / "recorded_schemas.json").read_text())["schemas"]
GROUP = "security-profiles-operator.x-k8s.io"


def builtin(kind: str, plural: str, group: str = "") -> Resource:
    return Resource(
        group=group,
        version="v1",
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        namespaced=True,
        load_schema=lambda: schema_of(group, "v1", kind),
    )


def profiles(schema: dict[str, Any]) -> Resource:
    return Resource(
        group=GROUP,
        version="v1beta1",
        kind="SeccompProfile",
        plural="seccompprofiles",
        singular="seccompprofile",
        namespaced=True,
        load_schema=lambda: schema,
        custom=True,
    )


@pytest.fixture
def registry() -> Registry:
    made = Registry(
        [
            builtin("Pod", "pods"),
            builtin("ConfigMap", "configmaps"),
            builtin("Deployment", "deployments", "apps"),
        ]
    )
    made.replace_custom([profiles(SCHEMAS["SeccompProfile"])])
    return made


def test_the_index_lists_every_group_version(registry: Registry) -> None:
    paths = OpenApi(registry).index()["paths"]
    assert set(paths) == {"api/v1", "apis/apps/v1", f"apis/{GROUP}/v1beta1"}
    assert paths["api/v1"]["serverRelativeURL"].startswith("/openapi/v3/api/v1?hash=")


def test_patch_says_that_fields_are_validated(registry: Registry) -> None:
    document = OpenApi(registry).document(GROUP, "v1beta1")
    assert document is not None
    patch = document["paths"][f"/apis/{GROUP}/v1beta1/namespaces/{{namespace}}/seccompprofiles/{{name}}"][
        "patch"
    ]
    assert "fieldValidation" in [parameter["name"] for parameter in patch["parameters"]]
    assert patch["x-kubernetes-group-version-kind"] == {
        "group": GROUP,
        "version": "v1beta1",
        "kind": "SeccompProfile",
    }
    assert "application/strategic-merge-patch+json" not in patch["requestBody"]["content"]


def test_a_custom_schema_is_given_as_recorded(registry: Registry) -> None:
    document = OpenApi(registry).document(GROUP, "v1beta1")
    assert document is not None
    schema = document["components"]["schemas"]["io.x-k8s.security-profiles-operator.v1beta1.SeccompProfile"]
    given = schema["properties"]["spec"]
    assert given == SCHEMAS["SeccompProfile"]["properties"]["spec"]
    assert schema["properties"]["metadata"]["allOf"] == [
        {"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
    ]
    assert schema["x-kubernetes-group-version-kind"] == [
        {"group": GROUP, "version": "v1beta1", "kind": "SeccompProfile"}
    ]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, member in value.items():
            if name == "$ref":
                yield str(member)
            yield from references(member)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


@pytest.mark.parametrize(("group", "version"), [("", "v1"), ("apps", "v1"), (GROUP, "v1beta1")])
def test_every_reference_has_a_target_and_nothing_internal_is_shown(
    registry: Registry, group: str, version: str
) -> None:
    document = OpenApi(registry).document(group, version)
    assert document is not None
    schemas = document["components"]["schemas"]
    targets = {reference.removeprefix("#/components/schemas/") for reference in references(document)}
    assert targets <= set(schemas)
    assert "x-onenode" not in json.dumps(document)
    assert all(schemas.values())


def test_declared_types_are_named(registry: Registry) -> None:
    document = OpenApi(registry).document("", "v1")
    assert document is not None
    schemas = document["components"]["schemas"]
    pod = schemas["io.k8s.api.core.v1.Pod"]
    assert pod["properties"]["spec"]["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"}]
    containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["items"] == {"$ref": "#/components/schemas/io.k8s.api.core.v1.Container"}
    assert containers["description"].startswith("List of containers belonging to the pod.")


def test_a_changed_definition_changes_document_and_address(registry: Registry) -> None:
    api = OpenApi(registry)
    before, address = api.document(GROUP, "v1beta1"), api.digest(GROUP, "v1beta1")
    changed = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string"}}}},
    }
    registry.replace_custom([profiles(changed)])
    assert api.digest(GROUP, "v1beta1") != address
    assert api.document(GROUP, "v1beta1") != before


def test_what_is_not_served_has_no_document(registry: Registry) -> None:
    assert OpenApi(registry).document("nosuch", "v1") is None
