"""Rules of ``x-kubernetes-validations``, evaluated with the Common Expression Language.

Pure. ``self`` is the value at the schema node, ``oldSelf`` the value before an update; a rule that names
``oldSelf`` runs only when there is one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

from onenode import causes
from onenode.causes import NO_FIELD, OMITTED, Cause
from onenode.cel_values import CelError, evaluate, names_old_self, to_cel
from onenode.list_types import map_key

__all__ = ["has_rules", "validate_rules"]

_RULES: Final = "x-kubernetes-validations"
_MOST_SCHEMAS: Final = 512


def has_rules(schema: dict[str, Any]) -> bool:
    """True if the schema holds a rule at any depth."""
    return bool(_KNOWN.of(schema))


def validate_rules(obj: Any, schema: dict[str, Any], old: Any = None) -> list[Cause]:
    """Evaluate every rule of a schema.

    Args:
        obj: an object that passed ``validate``.
        schema: its structural schema.
        old: the object before an update, or None; a part that did not change is not judged again.

    Returns:
        A cause for each rule that is false or cannot be evaluated.
    """
    walk = _Walk(_KNOWN.of(schema))
    if walk.nodes:
        walk.visit(obj, old, schema, "")
    return walk.found


def _children(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (schema.get("properties") or {}).values()
    for word in ("additionalProperties", "items"):
        if isinstance(schema.get(word), dict):
            yield schema[word]


def _nodes_with_rules(schema: dict[str, Any]) -> frozenset[int]:
    """Identities of the schema nodes that hold a rule at or below them."""
    nodes: set[int] = set()

    def visit(node: dict[str, Any]) -> bool:
        below = [visit(child) for child in _children(node)]
        if node.get(_RULES) or any(below):
            nodes.add(id(node))
            return True
        return False

    visit(schema)
    return frozenset(nodes)


class _Known:
    """The rule nodes of the schemas seen last, which never change and are kept as long as their identity."""

    def __init__(self) -> None:
        self._nodes: OrderedDict[int, tuple[dict[str, Any], frozenset[int]]] = OrderedDict()

    def of(self, schema: dict[str, Any]) -> frozenset[int]:
        """Identities of the nodes with rules at or below them."""
        known = self._nodes.get(id(schema))
        if known is None:
            known = self._nodes[id(schema)] = (schema, _nodes_with_rules(schema))
            if len(self._nodes) > _MOST_SCHEMAS:
                self._nodes.popitem(last=False)
        return known[1]


_KNOWN: Final = _Known()


class _Walk:
    def __init__(self, nodes: frozenset[int]) -> None:
        self.nodes = nodes
        self.found: list[Cause] = []

    def visit(self, value: Any, old: Any, schema: dict[str, Any], path: str) -> None:
        if id(schema) not in self.nodes or value is None:
            return
        for rule in schema.get(_RULES) or ():
            cause = _check_rule(rule, value, old, schema, path)
            if cause is not None:
                self.found.append(cause)
        if isinstance(value, dict):
            self._visit_members(value, old if isinstance(old, dict) else {}, schema, path)
        elif isinstance(value, list) and isinstance(schema.get("items"), dict):
            by_key: dict[str, Any] = {}
            if schema.get("x-kubernetes-list-type") == "map" and isinstance(old, list):
                by_key = {map_key(item, schema): item for item in old}
            for index, item in enumerate(value):
                before = by_key.get(map_key(item, schema)) if by_key else None
                self.visit(item, before, schema["items"], f"{path}[{index}]")

    def _visit_members(
        self, value: dict[str, Any], old: dict[str, Any], schema: dict[str, Any], path: str
    ) -> None:
        properties = schema.get("properties") or {}
        additional = schema.get("additionalProperties")
        for name, member in value.items():
            if name in properties:
                self.visit(member, old.get(name), properties[name], f"{path}.{name}" if path else name)
            elif isinstance(additional, dict):
                self.visit(member, old.get(name), additional, f"{path}[{name}]")


def _check_rule(
    rule: dict[str, Any], value: Any, old: Any, schema: dict[str, Any], path: str
) -> Cause | None:
    text = str(rule.get("rule", "")).strip()
    transition = names_old_self(text)
    optional = bool(rule.get("optionalOldSelf"))
    if transition and old is None and not optional:
        return None
    if not transition and old is not None and value == old:
        return None
    field = path or NO_FIELD
    variables = {"self": to_cel(value, schema)}
    try:
        if transition:
            variables["oldSelf"] = to_cel(old, schema, optional=optional)
        if evaluate(text, variables) is True:
            return None
        detail = _message(rule, text, variables)
    except CelError as error:
        return causes.invalid(field, schema.get("type", ""), f"{error} evaluating rule: {text}")
    return _failure(rule, field + rule.get("fieldPath", "") if path else _bare(rule, field), value, detail)


def _bare(rule: dict[str, Any], field: str) -> str:
    """Field of a rule at the root of an object."""
    return str(rule.get("fieldPath", "")).removeprefix(".") or field


def _message(rule: dict[str, Any], text: str, variables: dict[str, Any]) -> str:
    expression = rule.get("messageExpression")
    if expression:
        try:
            message = evaluate(str(expression), variables)
        except CelError:
            message = None
        if isinstance(message, str) and message.strip() and "\n" not in message.strip():
            return message.strip()
    return str(rule.get("message") or "").strip() or f"failed rule: {text}"


def _failure(rule: dict[str, Any], field: str, value: Any, detail: str) -> Cause:
    match rule.get("reason"):
        case "FieldValueForbidden":
            return causes.forbidden(field, detail)
        case "FieldValueRequired":
            return causes.required(field, detail)
        case "FieldValueDuplicate":
            return causes.duplicate(field, value)
        case _:
            return causes.invalid(field, OMITTED if isinstance(value, dict | list) else value, detail)
