"""Label and field selectors: from text to a predicate.

Pure. Grammar and error texts of the real server; every parse failure is a ``SelectorError``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from onenode import causes
from onenode.causes import Cause
from onenode.object_names import label_value_problems, qualified_name_problems

__all__ = [
    "Requirement",
    "SelectorError",
    "match_label_selector",
    "parse_field_selector",
    "parse_label_selector",
    "validate_label_selector",
]

Labels = Mapping[str, str]

_OPERATORS: Final = "in, notin, =, ==, !=, gt, lt"
_TOKEN: Final = re.compile(r"[ \t\r\n]*(==|!=|[=!(),<>]|[^=!(),<> \t\r\n]+|$)")
_INTEGER: Final = re.compile(r"[+-]?\d+")
_SPECIAL: Final = frozenset({"==", "!=", "=", "!", "(", ")", ",", "<", ">", ""})


class SelectorError(ValueError):
    """A selector cannot be parsed or names something that cannot be selected; answered with 400."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term of a label selector."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Labels) -> bool:
        """True if the labels fulfil this term."""
        value = labels.get(self.key)
        match self.operator:
            case "exists":
                return value is not None
            case "!":
                return value is None
            case "in" | "=" | "==":
                return value is not None and value in self.values
            case "notin" | "!=":
                return value is None or value not in self.values
        if value is None or not _INTEGER.fullmatch(value):
            return False
        (limit,) = self.values
        return int(value) > int(limit) if self.operator == ">" else int(value) < int(limit)


def _matcher(requirements: Sequence[Requirement]) -> Callable[[Labels], bool]:
    def matches(labels: Labels) -> bool:
        return all(requirement.matches(labels) for requirement in requirements)

    return matches


def parse_label_selector(text: str) -> Callable[[Labels], bool]:
    """Predicate on the labels of an object.

    Args:
        text: the parameter ``labelSelector``, such as ``app=a,tier in (x,y),!old``; empty selects everything.

    Raises:
        SelectorError: the text is not a selector.
    """
    return _matcher(_Parser(text).parse())


class _Parser:
    """Recursive descent over the tokens of a label selector; ``""`` is the end of the text."""

    def __init__(self, text: str) -> None:
        self._tokens = _TOKEN.findall(text)
        self._position = 0

    def _peek(self) -> str:
        return self._tokens[self._position] if self._position < len(self._tokens) else ""

    def _next(self) -> str:
        word = self._peek()
        self._position += 1
        return word

    def parse(self) -> list[Requirement]:
        requirements: list[Requirement] = []
        while True:
            word = self._peek()
            if word == "":
                return requirements
            if word in _SPECIAL and word != "!":
                raise SelectorError(f"found '{word}', expected: !, identifier, or 'end of string'")
            try:
                requirements.append(self._requirement())
            except SelectorError as error:
                raise SelectorError(f"unable to parse requirement: {error}") from None
            word = self._next()
            if word == "":
                return requirements
            if word != ",":
                raise SelectorError(f"found '{word}', expected: ',' or 'end of string'")
            after = self._peek()
            if after in _SPECIAL and after != "!":
                raise SelectorError(f"found '{after}', expected: identifier after ','")

    def _requirement(self) -> Requirement:
        word = self._next()
        absent = word == "!"
        if absent:
            word = self._next()
        if word in _SPECIAL:
            raise SelectorError(f"found '{word}', expected: identifier")
        key = word
        _check_key(key)
        if self._peek() in ("", ","):
            return Requirement(key, "!" if absent else "exists")
        operator = self._next()
        if operator in ("in", "notin"):
            values = self._values()
        elif operator in ("=", "==", "!=", ">", "<"):
            values = {self._exact_value()}
        else:
            raise SelectorError(f"found '{operator}', expected: {_OPERATORS}")
        return _checked(key, operator, sorted(values))

    def _exact_value(self) -> str:
        word = self._peek()
        if word in ("", ","):
            return ""
        self._next()
        if word in _SPECIAL:
            raise SelectorError(f"found '{word}', expected: identifier")
        return word

    def _values(self) -> set[str]:
        word = self._next()
        if word != "(":
            raise SelectorError(f"found '{word}' expected: '('")
        values: set[str] = set()
        previous = ","
        while True:
            word = self._next()
            if word == ")":
                if previous == ",":
                    values.add("")
                return values
            if word == ",":
                if previous == ",":
                    values.add("")
            elif previous != ",":
                raise SelectorError(f"found '{word}', expected: ',' or ')'")
            elif word in _SPECIAL:
                raise SelectorError(f"found '{word}', expected: ',', or identifier")
            else:
                values.add(word)
            previous = word


def _check_key(key: str) -> None:
    problems = qualified_name_problems(key)
    if problems:
        raise SelectorError(causes.invalid(causes.NO_FIELD, key, "; ".join(problems)).text)


def _checked(key: str, operator: str, values: Sequence[str]) -> Requirement:
    if operator in ("<", ">") and not all(_INTEGER.fullmatch(value) for value in values):
        shown = causes.invalid(
            "values[0]", values[0], "for 'Gt', 'Lt' operators, the value must be an integer"
        )
        raise SelectorError(shown.text)
    for index, value in enumerate(values):
        problems = label_value_problems(value)
        if problems:
            raise SelectorError(causes.invalid(f"values[{index}][{key}]", value, "; ".join(problems)).text)
    return Requirement(key, operator, frozenset(values))


_OBJECT_OPERATORS: Final = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


def match_label_selector(selector: Mapping[str, Any] | None, labels: Labels | None) -> bool:
    """True if a LabelSelector object selects the labels; None selects nothing, ``{}`` everything.

    Raises:
        SelectorError: the object holds an operator that does not exist.
    """
    if selector is None:
        return False
    held = labels or {}
    if any(held.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for expression in selector.get("matchExpressions") or ():
        operator = _OBJECT_OPERATORS.get(expression.get("operator", ""))
        if operator is None:
            raise SelectorError(f'"{expression.get("operator", "")}" is not a valid label selector operator')
        term = Requirement(
            str(expression.get("key", "")), operator, frozenset(expression.get("values") or ())
        )
        if not term.matches(held):
            return False
    return True


def validate_label_selector(selector: Mapping[str, Any] | None, path: str) -> list[Cause]:
    """Causes about a LabelSelector object at ``path``."""
    found: list[Cause] = []
    for key, value in ((selector or {}).get("matchLabels") or {}).items():
        field = f"{path}.matchLabels"
        found += [causes.invalid(field, key, text) for text in qualified_name_problems(key)]
        found += [causes.invalid(field, value, text) for text in label_value_problems(value)]
    for index, expression in enumerate((selector or {}).get("matchExpressions") or ()):
        found += _validate_expression(expression, f"{path}.matchExpressions[{index}]")
    return found


def _validate_expression(expression: Mapping[str, Any], path: str) -> list[Cause]:
    found: list[Cause] = []
    operator, values = expression.get("operator", ""), expression.get("values") or []
    if operator in ("In", "NotIn"):
        if not values:
            text = "must be specified when `operator` is 'In' or 'NotIn'"
            found.append(causes.required(f"{path}.values", text))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            found.append(causes.forbidden(f"{path}.values", text))
    else:
        found.append(causes.invalid(f"{path}.operator", operator, "not a valid selector operator"))
    key = str(expression.get("key") or "")
    found += [causes.invalid(f"{path}.key", key, text) for text in qualified_name_problems(key)]
    for index, value in enumerate(values):
        problems = label_value_problems(str(value))
        found += [causes.invalid(f"{path}.values[{index}]", value, text) for text in problems]
    return found


_ABSENT_AS: Final = {"spec.hostNetwork": "false", "spec.unschedulable": "false", "status.successful": "0"}
"""Selectable fields whose absence means something else than an empty text."""


def parse_field_selector(
    text: str, supported: Collection[str], *, plain: bool = False
) -> Callable[[dict[str, Any]], bool]:
    """Predicate on an object.

    Args:
        text: the parameter ``fieldSelector``, such as ``metadata.name=a,status.phase!=Running``.
        supported: the paths that may be selected by.
        plain: the kind declares no paths of its own; the server then words the refusal differently.

    Raises:
        SelectorError: the text is not a selector, or a path is not supported.
    """
    terms = [_field_term(part, text) for part in sorted(_split_terms(text)) if part]
    for path, _, _ in terms:
        if path not in supported:
            if plain:
                known = '"metadata.name", "metadata.namespace"'
                raise SelectorError(f'"{path}" is not a known field selector: only {known}')
            raise SelectorError(f"field label not supported: {path}")

    def matches(obj: dict[str, Any]) -> bool:
        return all((field_value(obj, path) == value) == equal for path, equal, value in terms)

    return matches


def field_value(obj: dict[str, Any], path: str) -> str:
    """The text a field selector compares, for a dotted path."""
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None or value == "":
        return _ABSENT_AS.get(path, "")
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _split_terms(text: str) -> list[str]:
    terms, start, escaped = [], 0, False
    for index, char in enumerate(text):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == ",":
            terms.append(text[start:index])
            start = index + 1
    terms.append(text[start:])
    return terms


def _field_term(part: str, text: str) -> tuple[str, bool, str]:
    match = re.search(r"!=|==|=", part)
    if match is None:
        raise SelectorError(f"invalid selector: '{text}'; can't understand '{part}'")
    return part[: match.start()], match[0] != "!=", _unescape(part[match.end() :])


def _unescape(value: str) -> str:
    plain: list[str] = []
    chars = iter(value)
    for char in chars:
        if char == "\\":
            escaped = next(chars, "")
            if escaped not in ("\\", ",", "="):
                raise SelectorError(f"invalid field selector: invalid escape sequence: \\{escaped}")
            plain.append(escaped)
        elif char in ",=":
            raise SelectorError(f"invalid field selector: unescaped character in value: {ord(char)}")
        else:
            plain.append(char)
    return "".join(plain)
