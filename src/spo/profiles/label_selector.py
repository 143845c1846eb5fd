"""Which labels a selector selects: the rules of ``metav1.LabelSelector``."""

from collections.abc import Mapping

from spo.api.meta import LabelSelector, LabelSelectorRequirement, SelectorOperator
from spo.errors import TerminalError


class InvalidSelectorError(TerminalError):
    """A selector that Kubernetes itself would not accept; who asks must not guess what it selects."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(key, problem)
        self.key = key
        self.problem = problem

    def __str__(self) -> str:
        return f"selector requirement on label {self.key!r}: {self.problem}"


def check_selector(selector: LabelSelector) -> None:
    """Refuse what :func:`selects` cannot decide.

    Raises:
        InvalidSelectorError: an unknown operator, or values that do not go with it.
    """
    for one in selector.match_expressions:
        takes_values = one.operator in {SelectorOperator.IN, SelectorOperator.NOT_IN}
        if not takes_values and one.operator not in {
            SelectorOperator.EXISTS,
            SelectorOperator.DOES_NOT_EXIST,
        }:
            raise InvalidSelectorError(one.key, f"unknown operator {one.operator!r}")
        if takes_values and not one.values:
            raise InvalidSelectorError(one.key, f"operator {one.operator} needs values")
        if not takes_values and one.values:
            raise InvalidSelectorError(one.key, f"operator {one.operator} takes no values")


def selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Whether all requirements hold; an empty selector selects everything.

    The selector has passed :func:`check_selector`.
    """
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        _holds(one, labels) for one in selector.match_expressions
    )


def _holds(requirement: LabelSelectorRequirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case SelectorOperator.IN:
            return value is not None and value in requirement.values
        case SelectorOperator.NOT_IN:
            return value is None or value not in requirement.values
        case SelectorOperator.EXISTS:
            return value is not None
    return value is None
