"""Events in their two forms: core/v1, as stored, and events.k8s.io/v1."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["complete_core", "to_core_v1", "to_events_v1"]

Obj = dict[str, Any]

_NEW_NAMES: Final = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_OLD_NAMES: Final = {new: old for old, new in _NEW_NAMES.items()}


def to_events_v1(event: Obj) -> Obj:
    """A stored event as events.k8s.io/v1 shows it."""
    found = {_NEW_NAMES.get(name, name): value for name, value in event.items()}
    found["apiVersion"] = "events.k8s.io/v1"
    for name in ("reportingController", "reportingInstance"):
        if not found.get(name):
            found.pop(name, None)
    return found


def to_core_v1(event: Obj) -> Obj:
    """An event of events.k8s.io/v1 as it is stored."""
    found = {_OLD_NAMES.get(name, name): value for name, value in event.items()}
    found["apiVersion"] = "v1"
    return complete_core(found)


def complete_core(event: Obj) -> Obj:
    """Members that core/v1 always shows, also when empty."""
    event.setdefault("involvedObject", {})
    event.setdefault("source", {})
    for name in ("firstTimestamp", "lastTimestamp", "eventTime"):
        event.setdefault(name, None)
    for name in ("reportingComponent", "reportingInstance"):
        event[name] = event.get(name) or ""
    return event
