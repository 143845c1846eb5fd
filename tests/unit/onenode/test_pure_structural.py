"""Which CRD schemas are refused, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from onenode.schema import check_structural

DATA = Path(__file__).parents[2] / "data/onenode"
SCHEMAS: dict[str, dict[str, Any]] = json.loads((DATA / "recorded_schemas.json").read_text())["schemas"]
AT = "spec.validation.openAPIV3Schema"


def with_spec(**spec: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"spec": spec}}


def shown(schema: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (cause.field.removeprefix(AT).removeprefix("."), cause.message) for cause in check_structural(schema)
    ]


@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_recorded_schemas_are_structural(kind: str) -> None:
    assert check_structural(SCHEMAS[kind]) == []


def own_definitions() -> list[Path]:
    return sorted((Path(__file__).parents[3] / "deploy/crds").glob("*.yaml"))


def test_the_definitions_of_the_operator_are_structural() -> None:
    files = own_definitions()
    assert files
    for file in files:
        for definition in yaml.safe_load_all(file.read_text()):
            for version in definition["spec"]["versions"]:
                assert check_structural(version["schema"]["openAPIV3Schema"]) == [], file.name


SPEC = "properties[spec]"
JUNCTOR = "Forbidden: must be empty to be structural"
NO_KEYS = "Required value: must not be empty if x-kubernetes-list-type is map"
NO_DEFAULT = (
    "Required value: this property is in x-kubernetes-list-map-keys, "
    "so it must have a default or be a required property"
)
METADATA = (
    "Forbidden: must not specify anything other than name and generateName, "
    "but metadata is implicitly specified"
)
OBJECT_ITEMS = {"type": "object", "properties": {"k": {"type": "string"}}}


@pytest.mark.parametrize(
    ("schema", "causes"),
    [
        pytest.param(
            with_spec(properties={"a": {"type": "string", "default": 1}}),
            [(f"{SPEC}.type", "Required value: must not be empty for specified object fields")],
            id="recorded-04-15",
        ),
        pytest.param({}, [("type", "Required value: must not be empty at the root")], id="empty"),
        pytest.param(
            {"type": "array", "items": {"type": "string"}},
            [("type", 'Invalid value: "array": must be object at the root')],
            id="array-root",
        ),
        pytest.param(
            with_spec(type="array"),
            [(f"{SPEC}.items", "Required value: must be specified")],
            id="array-without-items",
        ),
        pytest.param(
            with_spec(
                type="object", properties={"a": {"type": "string"}}, additionalProperties={"type": "string"}
            ),
            [
                (
                    f"{SPEC}.additionalProperties",
                    "Forbidden: additionalProperties and properties are mutual exclusive",
                )
            ],
            id="map-and-struct",
        ),
        pytest.param(
            with_spec(type="string", anyOf=[{"type": "string", "pattern": "a"}]),
            [(f"{SPEC}.anyOf[0].type", JUNCTOR)],
            id="type-in-any-of",
        ),
        pytest.param(
            with_spec(type="array", items=OBJECT_ITEMS, **{"x-kubernetes-list-type": "map"}),
            [(f"{SPEC}.x-kubernetes-list-map-keys", NO_KEYS)],
            id="map-list-without-keys",
        ),
        pytest.param(
            with_spec(
                type="array",
                items=OBJECT_ITEMS,
                **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]},
            ),
            [(f"{SPEC}.items.properties[k].default", NO_DEFAULT)],
            id="optional-key",
        ),
        pytest.param(
            {"type": "object", "properties": {"metadata": {"type": "object", "required": ["labels"]}}},
            [("properties[metadata]", METADATA)],
            id="metadata",
        ),
        pytest.param(
            with_spec(type="string", pattern="["),
            [(f"{SPEC}.pattern", 'Invalid value: "[": must be a valid regular expression, but isn\'t')],
            id="pattern",
        ),
        pytest.param(
            with_spec(type="integer", default="x"),
            [(f"{SPEC}.default", 'Invalid value: "string":  in body must be of type integer: "string"')],
            id="default-of-the-wrong-type",
        ),
    ],
)
def test_a_schema_that_is_not_structural_is_refused(
    schema: dict[str, Any], causes: list[tuple[str, str]]
) -> None:
    assert shown(schema) == causes


def rule(text: str, **more: Any) -> dict[str, Any]:
    return with_spec(
        type="object",
        properties={
            "verbosity": {"type": "integer"},
            "nested": {"type": "object", "properties": {"a": {"type": "string"}}},
        },
        **{"x-kubernetes-validations": [{"rule": text, "message": "m", **more}]},
    )


def test_a_rule_about_an_undeclared_field_is_refused_as_recorded() -> None:
    [(field, message)] = shown(rule("self.nosuch > 1", message="hostProcVolumePath is required"))
    assert field == f"{SPEC}.x-kubernetes-validations[0].rule"
    assert message == (
        'Invalid value: {"Rule":"self.nosuch \\u003e 1","Message":"hostProcVolumePath is required",'
        '"MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null}: compilation failed: '
        "ERROR: <input>:1:5: undefined field 'nosuch'\n | self.nosuch > 1\n | ....^"
    )


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("self.verbosity > 1 && has(self.nested) && self.nested.a == 'x'", True),
        ("self.nested.b == 'x'", False),
        ("self.verbosity >", False),
        ("'self.nosuch' == 'x'", True),
        ("self.nested.a.size() > 1", True),
        ("", False),
    ],
)
def test_rules_are_compiled(text: str, fits: bool) -> None:
    assert (check_structural(rule(text)) == []) is fits
