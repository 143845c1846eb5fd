"""Match conditions of webhooks: expressions that decide whether a webhook is called.

Pure. Checked when a configuration is written, evaluated when a request comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from onenode import causes
from onenode.causes import Cause
from onenode.cel_values import CelError, check_syntax, evaluate, undeclared_reference
from onenode.object_names import qualified_name_problems

__all__ = ["MatchConditionError", "check_match_conditions", "match"]

_VARIABLES: Final = frozenset({"object", "oldObject", "request", "authorizer"})
_MOST_CONDITIONS: Final = 64


class MatchConditionError(Exception):
    """A condition cannot be evaluated, and no other one is false; failurePolicy decides what follows."""

    def __init__(self, expression: str, problem: str) -> None:
        super().__init__(expression, problem)
        self.expression = expression
        self.problem = problem

    def __str__(self) -> str:
        return f"expression '{self.expression}' resulted in error: {self.problem}"


def check_match_conditions(conditions: Iterable[Mapping[str, Any]], path: str) -> list[Cause]:
    """Causes about the ``matchConditions`` at ``path``."""
    found: list[Cause] = []
    names: set[str] = set()
    listed = list(conditions)
    if len(listed) > _MOST_CONDITIONS:
        found.append(causes.too_many(path, len(listed), _MOST_CONDITIONS))
    for index, condition in enumerate(listed):
        at = f"{path}[{index}]"
        name = str(condition.get("name") or "")
        if not name:
            found.append(causes.required(f"{at}.name"))
        elif name in names:
            found.append(causes.duplicate(f"{at}.name", name))
        else:
            found.extend(causes.invalid(f"{at}.name", name, text) for text in qualified_name_problems(name))
        names.add(name)
        found.extend(_check_expression(str(condition.get("expression") or "").strip(), f"{at}.expression"))
    return found


def _check_expression(expression: str, path: str) -> list[Cause]:
    if not expression:
        return [causes.required(path)]
    complaint = check_syntax(expression) or undeclared_reference(expression, _VARIABLES)
    if complaint:
        return [causes.invalid(path, expression, f"compilation failed: {complaint}")]
    kind = _constant_type(expression)
    if kind not in (None, "bool"):
        return [causes.invalid(path, expression, f"must evaluate to bool but got {kind}")]
    return []


def _constant_type(expression: str) -> str | None:
    """Type of an expression without variables; None if it depends on them or fails."""
    if undeclared_reference(expression, frozenset()) is not None:
        return None
    try:
        value = evaluate(expression, {})
    except CelError:
        return None
    names = {bool: "bool", int: "int", float: "double", str: "string", list: "list", dict: "map"}
    return names.get(type(value), "dyn")


def match(conditions: Iterable[Mapping[str, Any]], variables: Mapping[str, Any]) -> bool:
    """True if every condition holds.

    Args:
        conditions: ``matchConditions`` of a webhook.
        variables: ``object``, ``oldObject`` (None on create) and ``request`` of the admission request.

    Raises:
        MatchConditionError: one cannot be evaluated and none is false; a false one wins.
    """
    failure: MatchConditionError | None = None
    for condition in conditions:
        expression = str(condition.get("expression", "")).strip()
        try:
            if evaluate(expression, dict(variables)) is not True:
                return False
        except CelError as error:
            failure = failure or MatchConditionError(expression, str(error))
    if failure is not None:
        raise failure
    return True
