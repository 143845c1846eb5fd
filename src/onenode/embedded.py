"""Whole objects inside an object: ``x-kubernetes-embedded-resource``.

Pure. An embedded object must say what it is, and its metadata obeys the rules of any metadata.
"""

from __future__ import annotations

from typing import Any

from onenode import causes
from onenode.causes import Cause
from onenode.object_names import validate_annotations, validate_labels

__all__ = ["check_embedded"]


def check_embedded(value: Any, schema: dict[str, Any], path: str = "") -> list[Cause]:
    """Causes about every embedded object at or below ``value``."""
    found: list[Cause] = []
    if isinstance(value, dict):
        if schema.get("x-kubernetes-embedded-resource"):
            found.extend(_check_object(value, path))
        properties = schema.get("properties") or {}
        additional = schema.get("additionalProperties")
        for name, member in value.items():
            below = properties.get(name, additional)
            if isinstance(below, dict) and isinstance(member, dict | list):
                found.extend(check_embedded(member, below, f"{path}.{name}" if path else name))
    elif isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for index, item in enumerate(value):
                if isinstance(item, dict | list):
                    found.extend(check_embedded(item, items, f"{path}[{index}]"))
    return found


def _check_object(value: dict[str, Any], path: str) -> list[Cause]:
    found: list[Cause] = []
    for name in ("apiVersion", "kind"):
        held = value.get(name)
        if held is None or held == "":
            found.append(causes.required(f"{path}.{name}", "must not be empty"))
        elif not isinstance(held, str):
            found.append(causes.invalid(f"{path}.{name}", held, "must be a string"))
    metadata = value.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        found.append(causes.invalid(f"{path}.metadata", metadata, "must be an object"))
    elif metadata:
        for name, check in (("labels", validate_labels), ("annotations", validate_annotations)):
            held = metadata.get(name)
            if isinstance(held, dict) and all(isinstance(one, str) for one in held.values()):
                found.extend(check(held, f"{path}.metadata.{name}"))
            elif held is not None:
                found.append(causes.invalid(f"{path}.metadata.{name}", held, "must be a map of strings"))
    return found
