"""onenode answers as a real API server did: recorded scenarios, step by step.

``GREEN`` must stay green. ``OPEN`` names the others with the reason of the first difference; one that becomes
green fails here until it is moved.
"""

import asyncio
import re
from pathlib import Path

import pytest

from tests.contract.kube_api_matching import MismatchError
from tests.contract.kube_api_replay import replay_all, scenario_numbers

GREEN = (
    *("04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14", "15", "16", "18", "19", "20"),
    *("21", "22", "24", "25", "26", "27", "28", "29", "31", "32", "33", "34", "35", "36", "37", "38"),
    *("39", "40", "41", "42", "45", "46", "47", "48", "49", "50", "51", "52", "53", "54", "56", "57", "58"),
    *("59", "60", "61", "62"),
)

OPEN = {
    "01": (0, "fewer built-in groups are served"),
    "02": (0, "fewer built-in groups are served"),
    "03": (0, "fewer built-in groups are served; the index has no entry for groups alone"),
    "17": (6, "a forbidden change of a pod is told without the difference as Go prints it"),
    "23": (
        0,
        "the recorded store was compacted by hand between the steps; here everything is compacted at once",
    ),
    "30": (0, "the Table of a pod that a kubelet runs: the scenario needs the recorded node"),
    "43": (6, "a forbidden change of a pod is told without the difference as Go prints it"),
    "44": (0, "logs and streams of a pod that a kubelet runs: the scenario needs the recorded node"),
    "55": (2, "describe of a pod and node that a kubelet runs: the scenario needs the recorded node"),
}
"""Scenario -> step of the first difference, reason; the same list stands in docs/onenode.md."""


Outcomes = dict[str, BaseException | None]


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    return asyncio.run(replay_all())


def _raise(error: BaseException | None) -> None:
    if error is not None:
        raise error


@pytest.mark.parametrize("number", GREEN)
def test_scenario_is_answered_as_recorded(outcomes: Outcomes, number: str) -> None:
    _raise(outcomes[number])


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, marks=pytest.mark.xfail(strict=True, raises=MismatchError, reason=reason))
        for number, (_, reason) in OPEN.items()
    ],
)
def test_open_scenario_differs(outcomes: Outcomes, number: str) -> None:
    error = outcomes[number]
    assert str(error).startswith(f"step {OPEN[number][0]} "), "another step differs first now"
    _raise(error)


def test_every_scenario_is_listed_once() -> None:
    assert sorted([*GREEN, *OPEN]) == scenario_numbers()


def test_documentation_lists_the_open_scenarios() -> None:
    text = (Path(__file__).parents[2] / "docs/onenode.md").read_text()
    rows = re.findall(r"^\| (\d\d) \| (\d+) \| (.+) \|$", text, re.MULTILINE)
    assert {number: (int(step), reason) for number, step, reason in rows} == OPEN
    assert f"{len(GREEN)} of the {len(GREEN) + len(OPEN)}" in text
