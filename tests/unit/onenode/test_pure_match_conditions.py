"""Match conditions of webhooks, in the words recorded from a real server (scenario 49)."""

from __future__ import annotations

from typing import Any

import pytest

from onenode.match_conditions import MatchConditionError, check_match_conditions, match

OBJECT = {"metadata": {"name": "p", "labels": {"app": "x"}}}
REQUEST = {"userInfo": {"username": "u", "groups": ["system:masters"]}, "operation": "CREATE"}


def conditions(*expressions: str) -> list[dict[str, str]]:
    return [{"name": f"c{index}", "expression": text} for index, text in enumerate(expressions)]


@pytest.mark.parametrize(
    ("expressions", "matches"),
    [
        pytest.param((), True, id="none"),
        pytest.param(("!('system:nodes' in request.userInfo.groups)",), True, id="groups"),
        pytest.param(("has(object.metadata.labels) && 'app' in object.metadata.labels",), True, id="labels"),
        pytest.param(("oldObject == null", "request.operation == 'UPDATE'"), False, id="all-must-hold"),
        pytest.param(("object.spec.x == 1", "false"), False, id="false-beats-an-error"),
    ],
)
def test_match(expressions: tuple[str, ...], matches: bool) -> None:
    variables: dict[str, Any] = {"object": OBJECT, "oldObject": None, "request": REQUEST}
    assert match(conditions(*expressions), variables) is matches


def test_a_condition_that_cannot_be_evaluated() -> None:
    variables = {"object": {"metadata": {}}, "oldObject": None, "request": REQUEST}
    with pytest.raises(MatchConditionError) as failed:
        match(conditions("object.metadata.labels['nosuch'] == 'x'"), variables)
    assert str(failed.value) == (
        "expression 'object.metadata.labels['nosuch'] == 'x'' resulted in error: no such key: labels"
    )


UNDECLARED = "ERROR: <input>:1:1: undeclared reference to 'nosuch' (in container '')\n | nosuch + 1\n | ^"
AT = "webhooks[0].matchConditions"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("nosuch + 1", f'Invalid value: "nosuch + 1": compilation failed: {UNDECLARED}'),
        ("1", 'Invalid value: "1": must evaluate to bool but got int'),
        ("", "Required value"),
    ],
)
def test_conditions_that_are_refused(expression: str, message: str) -> None:
    [cause] = check_match_conditions([{"name": "a", "expression": expression}], AT)
    assert (cause.field, cause.message) == (f"{AT}[0].expression", message)


def test_good_conditions_and_their_names() -> None:
    good = conditions("object.spec.containers.all(c, c.image != '')", "type(request) == map")
    assert check_match_conditions(good, AT) == []
    twice = [{"name": "a", "expression": "true"}] * 2
    assert [cause.text for cause in check_match_conditions(twice, AT)] == [
        f'{AT}[1].name: Duplicate value: "a"'
    ]
