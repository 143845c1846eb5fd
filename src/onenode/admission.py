"""Checks and additions at creation that need other objects."""

from __future__ import annotations

from typing import Any

from onenode.causes import Cause
from onenode.context import Context
from onenode.object_names import wanted_name
from onenode.pod_admission import admit_pod
from onenode.registry import Resource
from onenode.status import ApiError, forbidden

__all__ = ["admit_create", "check_namespace"]


def admit_create(context: Context, resource: Resource, obj: dict[str, Any]) -> None:
    """Admit a new object, in place.

    Raises:
        ApiError: its namespace is missing or going, or what it refers to does not exist.
    """
    check_namespace(context, resource, obj["metadata"])
    if resource.stored_as == "pods":
        admit_pod(obj, resource, context.store, context.random)


def check_namespace(context: Context, resource: Resource, metadata: dict[str, Any]) -> None:
    """A new object needs a Namespace that stays.

    Raises:
        ApiError: it is missing or going.
    """
    if not resource.namespaced:
        return
    name = metadata.get("namespace", "")
    namespace = context.namespace(name)
    if namespace is None:
        text = f'namespaces "{name}" not found'
        raise ApiError(404, "NotFound", text, {"name": name, "kind": "namespaces"})
    if namespace["metadata"].get("deletionTimestamp"):
        cause = Cause("NamespaceTerminating", f"namespace {name} is being terminated", "metadata.namespace")
        text = f"unable to create new content in namespace {name} because it is being terminated"
        raise forbidden(resource, wanted_name(metadata), text, [cause])
