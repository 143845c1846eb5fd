"""Selectors select what Kubernetes selects with them."""

import pytest

from spo.api.meta import LabelSelector, LabelSelectorRequirement
from spo.profiles.label_selector import InvalidSelectorError, check_selector, selects

LABELS = {"app": "web", "tier": ""}


def requirement(key: str, operator: str, *values: str) -> LabelSelector:
    one = LabelSelectorRequirement(key=key, operator=operator, values=list(values))
    return LabelSelector(match_expressions=[one])


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        pytest.param(LabelSelector(), True, id="empty-selects-all"),
        pytest.param(LabelSelector(match_labels={"app": "web"}), True, id="label"),
        pytest.param(LabelSelector(match_labels={"app": "db"}), False, id="other-value"),
        pytest.param(LabelSelector(match_labels={"app": "web", "x": "y"}), False, id="all-must-hold"),
        pytest.param(LabelSelector(match_labels={"x": ""}), False, id="absent-is-not-empty"),
        pytest.param(requirement("app", "In", "db", "web"), True, id="in"),
        pytest.param(requirement("x", "In", "web"), False, id="in-needs-the-label"),
        pytest.param(requirement("app", "NotIn", "web"), False, id="not-in"),
        pytest.param(requirement("x", "NotIn", "web"), True, id="not-in-holds-without-the-label"),
        pytest.param(requirement("tier", "Exists"), True, id="exists-with-empty-value"),
        pytest.param(requirement("x", "Exists"), False, id="exists"),
        pytest.param(requirement("x", "DoesNotExist"), True, id="does-not-exist"),
        pytest.param(requirement("app", "DoesNotExist"), False, id="exists-after-all"),
    ],
)
def test_selector(selector: LabelSelector, expected: bool) -> None:
    check_selector(selector)
    assert selects(selector, LABELS) is expected


@pytest.mark.parametrize(
    ("selector", "problem"),
    [
        pytest.param(requirement("app", "Near", "web"), "unknown operator 'Near'", id="unknown"),
        pytest.param(requirement("app", "In"), "operator In needs values", id="no-values"),
        pytest.param(requirement("app", "Exists", "x"), "operator Exists takes no values", id="values"),
    ],
)
def test_selector_that_cannot_be_decided_is_refused(selector: LabelSelector, problem: str) -> None:
    with pytest.raises(InvalidSelectorError, match=f"label 'app': {problem}"):
        check_selector(selector)
