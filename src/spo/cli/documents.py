"""YAML and JSON from strangers: plain data, within limits that a hostile text cannot get around."""

import json
from typing import Any, Final

from spo.errors import SpoError

MAX_DEPTH: Final = 50
"""Of nested lists and mappings; a profile has 6."""
MAX_EVENTS: Final = 100_000
"""Of YAML: values, and begins and ends of lists and mappings; the largest profile has some 20,000."""


class DocumentError(SpoError):
    """A text is not what was expected; the message says where."""


def decode(content: bytes) -> Any:
    """The value of a JSON or YAML text; the content decides which it is.

    Raises:
        DocumentError: it is neither, holds several documents, or is too deep.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise DocumentError(f"is not text: byte {error.start} is not UTF-8") from error
    return _json(text) if text.lstrip()[:1] in {"{", "["} else _yaml(text)


def _json(text: str) -> Any:
    if _too_deep(text):
        raise DocumentError(f"is nested deeper than {MAX_DEPTH} levels")
    try:
        return json.loads(text)
    except ValueError as error:
        raise DocumentError(f"is not JSON: {error}") from error


def _too_deep(text: str) -> bool:
    """An upper bound: brackets in strings count too, which no profile has in such numbers."""
    depth = 0
    for char in text:
        if char in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif char in "]}":
            depth -= 1
    return False


def _yaml(text: str) -> Any:
    import yaml  # noqa: PLC0415 - JSON does not need it, and it is slow to import

    try:
        depth = documents = 0
        for number, event in enumerate(yaml.parse(text, Loader=yaml.CSafeLoader)):
            if number > MAX_EVENTS:
                raise DocumentError(f"{_line(event.start_mark)}more values than any profile has")
            if isinstance(event, yaml.AliasEvent):
                raise DocumentError(f"{_line(event.start_mark)}aliases (*{event.anchor}) are not supported")
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
            elif isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    raise DocumentError(f"is nested deeper than {MAX_DEPTH} levels")
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
        if documents > 1:
            raise DocumentError(f"holds {documents} YAML documents; give one profile a file")
        return yaml.load(text, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError) as error:
        raise DocumentError(f"is not YAML: {_problem(error)}") from error


def _problem(error: Exception) -> str:
    return _line(getattr(error, "problem_mark", None)) + (getattr(error, "problem", None) or str(error))


def _line(mark: Any) -> str:
    return "" if mark is None else f"line {mark.line + 1}: "
