"""What a server checks about an Event; stricter for events.k8s.io/v1 than for core/v1.

Pure. Events come in their stored form (core/v1), whatever the client sent; causes name the fields of that
form, as the real server does.
"""

from __future__ import annotations

import json
from typing import Any, Final

from onenode import causes
from onenode.causes import Cause
from onenode.object_names import qualified_name_problems

__all__ = ["EVENTS_GROUP", "validate_event"]

EVENTS_GROUP: Final = "events.k8s.io"

_LONGEST_WORD: Final = 128
_LONGEST_NOTE: Final = 1024
_TYPES: Final = ("Normal", "Warning")
_ELSEWHERE: Final = "does not match event.namespace"
_HOME_OF_CLUSTER_OBJECTS: Final = ("default", "kube-system")
_LEGACY: Final = ("firstTimestamp", "lastTimestamp", "count", "source")
_IMMUTABLE: Final = (
    *("involvedObject", "reason", "message", "source", "firstTimestamp", "lastTimestamp", "count", "type"),
    *("eventTime", "action", "related", "reportingComponent", "reportingInstance"),
)


def validate_event(event: dict[str, Any], old: dict[str, Any] | None, group: str) -> list[Cause]:
    """Causes about an event.

    Args:
        event: the event as it would be stored.
        old: the stored one, on an update.
        group: the API group of the request: empty for core/v1.
    """
    if old is not None:
        return _changes(event, old) + _series(event) if group == EVENTS_GROUP else []
    found = _new_style(event, group) if event.get("eventTime") else _old_style(event)
    return found + _strict(event) if group == EVENTS_GROUP else found


def _old_style(event: dict[str, Any]) -> list[Cause]:
    """Without eventTime only the namespaces must agree."""
    home = event["metadata"].get("namespace", "")
    about = _namespace_of_object(event)
    if about == home or (not about and home in ("", "default")):
        return []
    return [causes.invalid("involvedObject.namespace", about, _ELSEWHERE)]


def _namespace_of_object(event: dict[str, Any]) -> str:
    return str((event.get("involvedObject") or {}).get("namespace") or "")


def _new_style(event: dict[str, Any], group: str) -> list[Cause]:
    found: list[Cause] = []
    if not _namespace_of_object(event) and event["metadata"].get("namespace") not in _HOME_OF_CLUSTER_OBJECTS:
        found.append(causes.invalid("involvedObject.namespace", "", _ELSEWHERE))
    controller = str(event.get("reportingComponent") or "")
    field = "reportingController" if group == EVENTS_GROUP else "reportingComponent"
    if not controller:
        found.append(causes.required(field))
    found += [causes.invalid(field, controller, text) for text in qualified_name_problems(controller)]
    for name in ("reportingInstance", "action", "reason"):
        word = str(event.get(name) or "")
        if not word:
            found.append(causes.required(name))
        elif len(word) > _LONGEST_WORD:
            found.append(causes.invalid(name, "", f"can have at most {_LONGEST_WORD} characters"))
    if len(str(event.get("message") or "")) > _LONGEST_NOTE:
        found.append(causes.invalid("message", "", f"can have at most {_LONGEST_NOTE} characters"))
    return found


def _strict(event: dict[str, Any]) -> list[Cause]:
    found = _series(event)
    if not event.get("eventTime"):
        found.append(causes.required("eventTime"))
    kind = event.get("type") or ""
    if kind not in _TYPES:
        found.append(causes.invalid("type", "", f"has invalid value: {kind}"))
    found += [causes.invalid(name, "", "needs to be unset") for name in _LEGACY if event.get(name)]
    return found


def _series(event: dict[str, Any]) -> list[Cause]:
    series = event.get("series")
    if not series:
        return []
    found: list[Cause] = []
    if (series.get("count") or 0) < 2:
        found.append(causes.invalid("series.count", "", "should be at least 2"))
    if not series.get("lastObservedTime"):
        found.append(causes.required("series.lastObservedTime"))
    return found


def _changes(event: dict[str, Any], old: dict[str, Any]) -> list[Cause]:
    def plain(value: Any) -> str:
        return json.dumps(value or None, sort_keys=True)

    return [
        causes.invalid(name, event.get(name), "field is immutable")
        for name in _IMMUTABLE
        if plain(event.get(name)) != plain(old.get(name))
    ]
