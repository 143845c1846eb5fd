"""Checks and additions at creation that need other objects."""

from __future__ import annotations

from typing import Any

from onenode.causes import Cause
from onenode.context import Context
from onenode.pod_admission import admit_pod
from onenode.registry import Resource
from onenode.status import ApiError, forbidden

__all__ = ["admit_create"]


def admit_create(context: Context, resource: Resource, obj: dict[str, Any]) -> None:
    """Admit a new object, in place.

    Raises:
        ApiError: its namespace is missing or going, or what it refers to does not exist.
    """
    if resource.namespaced:
        _check_namespace(context, resource, obj)
    if resource.stored_as == "pods":
        admit_pod(obj, resource, context.store, context.random)


def _check_namespace(context: Context, resource: Resource, obj: dict[str, Any]) -> None:
    name = obj["metadata"].get("namespace", "")
    namespace = context.namespace(name)
    if namespace is None:
        text = f'namespaces "{name}" not found'
        raise ApiError(404, "NotFound", text, {"name": name, "kind": "namespaces"})
    if namespace["metadata"].get("deletionTimestamp"):
        cause = Cause("NamespaceTerminating", f"namespace {name} is being terminated", "metadata.namespace")
        text = f"unable to create new content in namespace {name} because it is being terminated"
        raise forbidden(resource, obj["metadata"].get("name", ""), text, [cause])
