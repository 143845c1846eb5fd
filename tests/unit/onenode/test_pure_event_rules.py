"""Rules for Events, as recorded in scenario 38."""

from __future__ import annotations

from typing import Any

import pytest

from onenode.event_rules import EVENTS_GROUP, validate_event

GOOD: dict[str, Any] = {
    "metadata": {"name": "ev", "namespace": "transcripts"},
    "involvedObject": {"kind": "SeccompProfile", "namespace": "transcripts", "name": "p1"},
    "eventTime": "2026-01-01T00:00:00.000000Z",
    "reportingComponent": "example.com/ctl",
    "reportingInstance": "ctl-0",
    "action": "Reconcile",
    "reason": "Failed",
    "message": "something",
    "type": "Warning",
    "source": {},
    "firstTimestamp": None,
}


def shown(event: dict[str, Any], old: dict[str, Any] | None = None, group: str = EVENTS_GROUP) -> list[str]:
    return [cause.text[:45] for cause in validate_event(event, old, group)]


@pytest.mark.parametrize(
    ("change", "texts"),
    [
        pytest.param({}, [], id="good"),
        pytest.param({"eventTime": None}, ["eventTime: Required value"], id="no-time"),
        pytest.param(
            {"reportingComponent": "", "action": "", "type": "Odd"},
            [
                "reportingController: Required value",
                'reportingController: Invalid value: "": name ',
                'reportingController: Invalid value: "": name ',
                "action: Required value",
                'type: Invalid value: "": has invalid value: O',
            ],
            id="recorded-7",
        ),
        pytest.param({"involvedObject": {"namespace": "other"}}, [], id="recorded-8-another-namespace"),
        pytest.param({"count": 2}, ['count: Invalid value: "": needs to be unset'], id="legacy-field"),
        pytest.param({"reason": "x" * 129}, ['reason: Invalid value: "": can have at most 1'], id="long"),
        pytest.param(
            {"series": {"count": 1}},
            [
                'series.count: Invalid value: "": should be at',
                "series.lastObservedTime: Required value",
            ],
            id="series",
        ),
    ],
)
def test_new_events_of_the_new_group(change: dict[str, Any], texts: list[str]) -> None:
    assert shown({**GOOD, **change}) == texts


@pytest.mark.parametrize(
    ("involved", "home", "texts"),
    [
        (
            {"namespace": "other"},
            "transcripts",
            ['involvedObject.namespace: Invalid value: "oth'],
        ),
        (
            {"name": "node-1"},
            "transcripts",
            ['involvedObject.namespace: Invalid value: "": '],
        ),
        ({"name": "node-1"}, "default", []),
    ],
)
def test_old_events_agree_about_the_namespace(involved: dict[str, str], home: str, texts: list[str]) -> None:
    event = {"metadata": {"namespace": home}, "involvedObject": involved}
    assert shown(event, group="") == texts


def test_fields_of_the_new_group_are_immutable() -> None:
    new = {**GOOD, "message": "changed", "source": None}
    assert shown(new, GOOD) == ['message: Invalid value: "changed": field is i']
    assert shown(new, GOOD, group="") == []
