"""Rules in the Common Expression Language."""

from __future__ import annotations

from typing import Any

import pytest

from onenode.cel_rules import has_rules, validate_rules
from onenode.schema import validate_custom_resource

STRING: dict[str, Any] = {"type": "string"}


def with_rule(node: dict[str, Any], text: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"x": {**node, "x-kubernetes-validations": [{"rule": text, **more}]}},
    }


def messages(schema: dict[str, Any], value: Any, old: Any = None) -> list[str]:
    before = None if old is None else {"x": old}
    return [cause.text for cause in validate_rules({"x": value}, schema, before)]


def object_of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


TIME = {"type": "string", "format": "date-time"}
BYTES = {"type": "string", "format": "byte"}
NUMBER = {"type": "number"}
INTEGER = {"type": "integer"}
STRINGS = {"type": "array", "items": STRING}
MAP = {"type": "object", "additionalProperties": STRING}
EITHER = {"x-kubernetes-int-or-string": True}


@pytest.mark.parametrize(
    ("node", "text", "value", "holds"),
    [
        pytest.param(
            TIME, "self > timestamp('2020-01-01T00:00:00Z')", "2026-01-01T00:00:00Z", True, id="time"
        ),
        pytest.param(BYTES, "self == b'hi'", "aGk=", True, id="bytes"),
        pytest.param(NUMBER, "self * 2.0 == 6.0", 3, True, id="numbers-are-doubles"),
        pytest.param(INTEGER, "self % 2 == 0", 4.0, True, id="whole-floats-are-ints"),
        pytest.param(STRINGS, "self.all(x, x.startsWith('a'))", ["ab", "b"], False, id="all"),
        pytest.param(object_of(**{"a-b": STRING}), "self.a__dash__b == 'x'", {"a-b": "x"}, True, id="dash"),
        pytest.param(
            object_of(namespace=STRING), "self.__namespace__ == 'x'", {"namespace": "x"}, True, id="reserved"
        ),
        pytest.param(MAP, "self.exists(k, self[k] == 'v')", {"a": "v"}, True, id="map"),
        pytest.param(object_of(a=STRING), "!has(self.a)", {}, True, id="has"),
        pytest.param(EITHER, "type(self) == string || self > 3", 5, True, id="int-or-string"),
        pytest.param(STRING, "self.find('[0-9]+') == '12'", "ab12", True, id="find"),
        pytest.param(STRINGS, "self.isSorted()", ["b", "a"], False, id="sorted"),
    ],
)
def test_a_rule_sees_values_typed_by_the_schema(
    node: dict[str, Any], text: str, value: Any, holds: bool
) -> None:
    assert (messages(with_rule(node, text), value) == []) is holds


def test_the_default_message_cites_the_rule() -> None:
    assert messages(with_rule(STRING, "self == 'a'"), "b") == [
        "x: Invalid value: \"b\": failed rule: self == 'a'"
    ]


def test_a_broken_message_expression_gives_way_to_the_message() -> None:
    schema = with_rule(STRING, "false", message="plain", messageExpression="self.nosuch")
    assert messages(schema, "b") == ['x: Invalid value: "b": plain']


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("FieldValueForbidden", "x: Forbidden: no"),
        ("FieldValueRequired", "x: Required value: no"),
        ("FieldValueDuplicate", 'x: Duplicate value: "b"'),
        ("FieldValueInvalid", 'x: Invalid value: "b": no'),
    ],
)
def test_reasons(reason: str, text: str) -> None:
    assert messages(with_rule(STRING, "false", message="no", reason=reason), "b") == [text]


def test_a_rule_that_cannot_be_evaluated_is_a_cause() -> None:
    schema = with_rule({"type": "object", "additionalProperties": STRING}, "self.nosuch == 'a'")
    assert messages(schema, {"a": "b"}) == [
        "x: Invalid value: \"object\": no such key: nosuch evaluating rule: self.nosuch == 'a'"
    ]


def test_a_transition_rule_needs_an_old_value() -> None:
    schema = with_rule(STRING, "self == oldSelf", message="fixed")
    assert messages(schema, "b") == []
    assert messages(schema, "b", "a") == ['x: Invalid value: "b": fixed']
    assert messages(schema, "a", "a") == []


def test_an_optional_old_value_is_empty_on_create() -> None:
    schema = with_rule(
        STRING, "oldSelf.hasValue() || self == 'first'", optionalOldSelf=True, message="start at first"
    )
    assert messages(schema, "second") == ['x: Invalid value: "second": start at first']
    assert messages(schema, "first") == []
    assert messages(schema, "second", "first") == []


def test_unchanged_values_are_not_judged_again() -> None:
    schema = with_rule(STRING, "self == 'a'", message="must be a")
    assert messages(schema, "old-and-wrong", "old-and-wrong") == []


def test_items_of_a_keyed_list_meet_their_old_selves() -> None:
    item = {
        "type": "object",
        "properties": {"n": STRING, "v": STRING},
        "x-kubernetes-validations": [{"rule": "self.v == oldSelf.v", "message": "fixed"}],
    }
    schema = {
        "type": "object",
        "properties": {
            "x": {
                "type": "array",
                "items": item,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["n"],
            }
        },
    }
    old = [{"n": "a", "v": "1"}, {"n": "b", "v": "2"}]
    new = [{"n": "b", "v": "3"}, {"n": "a", "v": "1"}, {"n": "c", "v": "4"}]
    assert messages(schema, new, old) == ["x[0]: Invalid value: fixed"]


def test_rules_wait_until_the_schema_is_met() -> None:
    schema = with_rule(STRING, "false")
    texts = [cause.text for cause in validate_custom_resource({"x": 3}, schema)]
    assert len(texts) == 2
    assert texts[1].startswith("<nil>: Invalid value: null: some validation rules were not checked")


def test_an_endless_expression_is_refused_instead_of_compiled() -> None:
    [text] = messages(with_rule(STRING, "self" + ".a" * 50_000), "b")
    assert text.startswith('x: Invalid value: "string": the expression is longer than 8000 characters')


def test_schemas_are_told_apart_when_memory_is_used_again() -> None:
    for number in range(3000):
        rules = {"x-kubernetes-validations": [{"rule": "true"}]} if number % 2 else {}
        assert has_rules({"type": "object", **rules}) is bool(number % 2)
