"""YAML from clients: plain data as JSON has it, within limits that a hostile text cannot get around.

A short text can stand for a huge value (aliases of aliases), and a deep one overflows the stack of the C
parser.
"""

from __future__ import annotations

import json
from typing import Any, Final

import yaml

__all__ = ["load_yaml", "yaml_problem"]

_DEEPEST: Final = 400
_MOST_NODES: Final = 1_000_000


def load_yaml(text: bytes) -> Any:
    """The value of a YAML text.

    Raises:
        yaml.YAMLError: it is none, or too large a value for its length.
    """
    _check_depth(text)
    value = yaml.load(text, Loader=yaml.CSafeLoader)
    _check_size(value)
    # Dates and keys that are not text become what JSON has for them.
    return json.loads(json.dumps(value, default=str))


def _check_depth(text: bytes) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                raise yaml.YAMLError("exceeded max depth")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _check_size(value: Any) -> None:
    """Count the nodes as if every alias were written out."""
    sizes: dict[int, int] = {}

    def size(node: Any) -> int:
        if not isinstance(node, dict | list):
            return 1
        if id(node) not in sizes:
            sizes[id(node)] = _MOST_NODES  # stands for a node that contains itself
            children = node.values() if isinstance(node, dict) else node
            sizes[id(node)] = 1 + sum(map(size, children))
        return sizes[id(node)]

    if size(value) >= _MOST_NODES:
        raise yaml.YAMLError("document contains excessive aliasing")


def yaml_problem(error: yaml.YAMLError) -> str:
    """What Go's YAML decoder says about the same text."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return f"yaml: {error}".replace("\n", " ")
    lines = [mark.line for mark in (error.context_mark, error.problem_mark) if mark is not None]
    line = next((one for one in lines if one), 0)
    # Go counts lines of the scanner from the line before.
    line += 1 if line and isinstance(error, yaml.scanner.ScannerError) else 0
    where = f"line {line}: " if line else ""
    return f"yaml: {where}{error.problem}"
