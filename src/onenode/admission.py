"""Checks and additions at creation that need other objects."""

from __future__ import annotations

from typing import Any

from onenode.causes import Cause
from onenode.context import Context
from onenode.object_names import wanted_name
from onenode.pod_admission import admit_pod
from onenode.pod_security import enforced_violations, pod_spec_of, warned_violations
from onenode.registry import Resource
from onenode.status import ApiError, forbidden

__all__ = ["admit_create", "check_namespace", "check_pod_security"]


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


def check_pod_security(context: Context, resource: Resource, obj: dict[str, Any]) -> list[str]:
    """Hold a pod to the level of its Namespace; warnings about it, or about the pods of a workload.

    Raises:
        ApiError: the level does not allow the pod.
    """
    namespace = context.namespace(obj["metadata"].get("namespace", "")) if resource.namespaced else None
    labels = ((namespace or {}).get("metadata") or {}).get("labels") or {}
    is_pod = resource.stored_as == "pods"
    spec = obj["spec"] if is_pod else pod_spec_of(resource.stored_as, obj)
    if spec is None:
        return []
    refusal = enforced_violations(labels, spec) if is_pod else ""
    if refusal:
        raise forbidden(resource, wanted_name(obj["metadata"]), refusal)
    warning = warned_violations(labels, spec)
    return [warning] if warning else []
