"""The JSONPath of printer columns: names, indexes, ``[*]`` and ``[?(@.type=="Ready")]``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

__all__ = ["JsonPathError", "compile_path"]

_STEP: Final = re.compile(
    r"""
    \.(?P<name>(?:\\.|[^.\[\]\\])+)                 # .name, with \. for a dot
  | \[(?P<quote>['"])(?P<quoted>.*?)(?P=quote)\]    # ['name']
  | \[(?P<index>-?\d+)\]
  | (?P<all>\[\*\]|\.\*)
  | \[\?\(\s*@(?P<path>[^=!<>]*?)\s*(?P<op>==|!=)\s*(?P<value>"[^"]*"|'[^']*'|true|false|-?\d+)\s*\)\]
    """,
    re.VERBOSE,
)

Step = Callable[[list[Any]], list[Any]]


class JsonPathError(ValueError):
    """A path that is not understood."""


def compile_path(path: str) -> Callable[[Any], list[Any]]:
    """A function from a document to the values at a path.

    Raises:
        JsonPathError: the text is no path of the supported form.
    """
    steps = _steps(path)

    def find(document: Any) -> list[Any]:
        values = [document]
        for step in steps:
            values = step(values)
        return values

    return find


def _steps(path: str) -> Sequence[Step]:
    steps: list[Step] = []
    position = 0
    while position < len(path):
        match = _STEP.match(path, position)
        if match is None:
            raise JsonPathError(f"cannot read {path[position:]!r} in JSONPath {path!r}")
        steps.append(_step(match))
        position = match.end()
    return steps


def _step(match: re.Match[str]) -> Step:
    if match["all"]:
        return _members
    if match["index"] is not None:
        return _indexed(int(match["index"]))
    if match["op"]:
        return _filtered(match["path"], match["op"] == "==", match["value"])
    name = match["quoted"] if match["quote"] else re.sub(r"\\(.)", r"\1", match["name"])
    return _named(name)


def _named(name: str) -> Step:
    return lambda values: [v[name] for v in values if isinstance(v, dict) and v.get(name) is not None]


def _indexed(index: int) -> Step:
    return lambda values: [v[index] for v in values if isinstance(v, list) and -len(v) <= index < len(v)]


def _members(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if isinstance(value, dict | list):
            found.extend(value.values() if isinstance(value, dict) else value)
    return found


def _filtered(path: str, equal: bool, literal: str) -> Step:
    inner = compile_path(path)
    wanted = literal[1:-1] if literal[0] in "\"'" else literal

    def step(values: list[Any]) -> list[Any]:
        return [
            item
            for value in values
            if isinstance(value, list)
            for item in value
            if (wanted in [_text(found) for found in inner(item)]) == equal
        ]

    return step


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
