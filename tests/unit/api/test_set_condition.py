"""Conditions: one of a type; the transition time follows the status only."""

from msgspec.structs import replace

from spo.api.meta import Condition, set_condition

THEN = "2026-01-01T00:00:00Z"
NOW = "2026-01-02T00:00:00Z"
READY = Condition(
    type="Ready", status="True", reason="Available", message="installed", last_transition_time=THEN
)
OTHER = Condition(type="Released", status="False", last_transition_time=THEN)


def test_first_condition_is_added_with_the_time() -> None:
    assert set_condition([OTHER], replace(READY, last_transition_time=""), NOW) == (
        [OTHER, replace(READY, last_transition_time=NOW)],
        True,
    )


def test_identical_condition_changes_nothing() -> None:
    conditions = [READY, OTHER]
    result, changed = set_condition(conditions, replace(READY, last_transition_time=""), NOW)
    assert not changed
    assert result is conditions


def test_new_reason_keeps_the_transition_time() -> None:
    wanted = replace(READY, reason="Other", message="text")
    assert set_condition([READY], wanted, NOW) == ([replace(wanted, last_transition_time=THEN)], True)


def test_new_generation_keeps_the_transition_time() -> None:
    wanted = replace(READY, observed_generation=2)
    assert set_condition([READY], wanted, NOW) == ([wanted], True)


def test_new_status_moves_the_transition_time() -> None:
    wanted = replace(READY, status="False", reason="Deleting")
    result, changed = set_condition([OTHER, READY, OTHER], wanted, NOW)
    assert changed
    assert result == [OTHER, replace(wanted, last_transition_time=NOW), OTHER]


def test_given_list_is_left_alone() -> None:
    conditions = [READY]
    set_condition(conditions, replace(READY, status="False"), NOW)
    assert conditions == [READY]
