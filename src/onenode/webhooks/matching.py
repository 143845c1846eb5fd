"""Which webhooks get a request: rules, selectors.

Pure, but for the labels of a Namespace, which the caller hands in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from onenode.registry import Resource
from onenode.selectors import SelectorError, match_label_selector
from onenode.webhooks.kinds import GROUP

__all__ = ["Target", "is_exempt", "matching_rule", "selects_namespace", "selects_object"]

Obj = dict[str, Any]

_EXEMPT: Final = frozenset(
    {"mutatingwebhookconfigurations", "validatingwebhookconfigurations"}
    | {"validatingadmissionpolicies", "validatingadmissionpolicybindings"}
)


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about, in one of the versions that serve it."""

    resource: Resource
    subresource: str = ""


def is_exempt(resource: Resource) -> bool:
    """Configurations of admission are not sent to webhooks: a broken one could never be repaired."""
    return resource.group == GROUP and resource.plural in _EXEMPT


def matching_rule(webhook: Mapping[str, Any], operation: str, targets: Iterable[Target]) -> Target | None:
    """The form in which a webhook wants a request; ``None`` if none of its rules matches.

    Args:
        webhook: its configuration.
        operation: CREATE, UPDATE, DELETE or CONNECT.
        targets: as requested, then the other versions that hold the same objects.
    """
    listed = list(targets)
    if webhook.get("matchPolicy") == "Exact":
        listed = listed[:1]
    for target in listed:
        if any(_matches(rule, operation, target) for rule in webhook.get("rules") or ()):
            return target
    return None


def _matches(rule: Mapping[str, Any], operation: str, target: Target) -> bool:
    resource = target.resource
    return (
        _names(rule.get("operations"), operation)
        and _names(rule.get("apiGroups"), resource.group)
        and _names(rule.get("apiVersions"), resource.version)
        and _in_scope(rule.get("scope") or "*", resource)
        and any(_names_resource(one, target) for one in rule.get("resources") or ())
    )


def _names(values: Iterable[str] | None, wanted: str) -> bool:
    return any(value in ("*", wanted) for value in values or ())


def _in_scope(scope: str, resource: Resource) -> bool:
    return scope == "*" or (scope == "Namespaced") == resource.namespaced


def _names_resource(pattern: str, target: Target) -> bool:
    """``pods``, ``pods/status``, ``pods/*``, ``*/scale``, ``*`` (no subresources), ``*/*``."""
    plural, _, subresource = pattern.partition("/")
    if plural not in ("*", target.resource.plural):
        return False
    return subresource in ("*", target.subresource)


def selects_namespace(
    webhook: Mapping[str, Any], resource: Resource, obj: Obj | None, labels: Mapping[str, str] | None
) -> bool:
    """The namespaceSelector; objects without a namespace pass, Namespaces are judged by their own labels.

    Args:
        webhook: its configuration.
        resource: what the request is about.
        obj: the new object, the old one for a deletion.
        labels: of the Namespace; not used for objects without one.
    """
    if resource.stored_as == "namespaces":
        labels = ((obj or {}).get("metadata") or {}).get("labels")
    elif not resource.namespaced:
        return True
    return _selects(webhook.get("namespaceSelector"), labels)


def selects_object(webhook: Mapping[str, Any], obj: Obj | None, old: Obj | None) -> bool:
    """The objectSelector: the new or the old object has the labels."""
    selector = webhook.get("objectSelector")
    found = [((one.get("metadata") or {}).get("labels")) for one in (obj, old) if one is not None]
    return any(_selects(selector, labels) for labels in found)


def _selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str] | None) -> bool:
    if not selector:
        return True
    try:
        return match_label_selector(selector, labels)
    except SelectorError:
        # Refused when it is written; one that got in nevertheless selects everything, as protection.
        return True
