"""The resources of the server itself, in the order of discovery."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from onenode import event_versions
from onenode.authorization.kinds import authorization_resources
from onenode.builtin_schema import schema_of
from onenode.cells import COLUMNS
from onenode.object_names import label_problems
from onenode.registry import ALL_VERBS, METADATA_FIELDS, Resource, Subresource
from onenode.webhooks.kinds import admission_resources
from onenode.workloads.columns import (
    DAEMON_SET_COLUMNS,
    DEPLOYMENT_COLUMNS,
    JOB_COLUMNS,
    REPLICA_SET_COLUMNS,
)
from onenode.workloads.services import ENDPOINTS_COLUMNS, SERVICE_COLUMNS

__all__ = ["CRDS", "GROUP_ORDER", "NAMESPACES", "builtin_resources"]

CRDS: Final = "customresourcedefinitions.apiextensions.k8s.io"
NAMESPACES: Final = "namespaces"
GROUP_ORDER: Final = ("", "events.k8s.io", "apiextensions.k8s.io", "coordination.k8s.io")

_READ: Final = ("get", "list", "watch")
"""Kinds that clients ask for, and of which there never is one: nothing would enforce it."""
_STATUS: Final = {"status": Subresource("status")}
_SCALE: Final = {"scale": Subresource("scale", kind="Scale", group="autoscaling", version="v1")}
_POD_FIELDS: Final = METADATA_FIELDS | {
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.podIPs",
    "status.nominatedNodeName",
}
_INVOLVED: Final = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_EVENT_FIELDS: Final = METADATA_FIELDS | {
    *(f"involvedObject.{name}" for name in _INVOLVED),
    "reason",
    "reportingComponent",
    "source",
    "type",
}
_NEW_EVENT_FIELDS: Final = METADATA_FIELDS | {
    *(f"regarding.{name}" for name in _INVOLVED),
    "reason",
    "reportingController",
    "type",
}


def _resource(group: str, version: str, kind: str, plural: str, **more: Any) -> Resource:
    return Resource(
        group=group,
        version=version,
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        load_schema=partial(schema_of, group, version, kind),
        namespaced=more.pop("namespaced", True),
        columns=more.pop("columns", COLUMNS.get(plural, ())),
        **more,
    )


def _core() -> list[Resource]:
    without_collection = tuple(verb for verb in ALL_VERBS if verb != "deletecollection")
    binding = Subresource("binding", ("create",), kind="Binding")
    token = Subresource(
        "token", ("create",), kind="TokenRequest", group="authentication.k8s.io", version="v1"
    )
    return [
        _resource("", "v1", "Binding", "bindings", verbs=("create",)),
        _resource("", "v1", "ConfigMap", "configmaps", short_names=("cm",), plain_selectors=True),
        _resource(
            "", "v1", "Endpoints", "endpoints",
            short_names=("ep",), columns=ENDPOINTS_COLUMNS, plain_selectors=True,
        ),
        _resource("", "v1", "Event", "events", short_names=("ev",), selectable=_EVENT_FIELDS),
        _resource(
            "", "v1", "LimitRange", "limitranges",
            short_names=("limits",), verbs=_READ, plain_selectors=True,
        ),
        _resource(
            "", "v1", "Namespace", "namespaces",
            namespaced=False, short_names=("ns",), verbs=without_collection, name_problems=label_problems,
            subresources={"finalize": Subresource("finalize", ("update",)), **_STATUS},
            selectable=METADATA_FIELDS | {"status.phase"},
        ),
        _resource(
            "", "v1", "Node", "nodes",
            namespaced=False, short_names=("no",), subresources=_STATUS,
            selectable=METADATA_FIELDS | {"spec.unschedulable"},
        ),
        _resource(
            "", "v1", "Pod", "pods",
            short_names=("po",), categories=("all",), selectable=_POD_FIELDS,
            subresources={
                "binding": binding, "ephemeralcontainers": Subresource("ephemeralcontainers"), **_STATUS,
            },
        ),
        _resource("", "v1", "PodTemplate", "podtemplates", plain_selectors=True),
        _resource(
            "", "v1", "ResourceQuota", "resourcequotas",
            short_names=("quota",), verbs=_READ, plain_selectors=True,
        ),
        _resource("", "v1", "Secret", "secrets", selectable=METADATA_FIELDS | {"type"}),
        _resource(
            "", "v1", "ServiceAccount", "serviceaccounts",
            short_names=("sa",), plain_selectors=True, subresources={"token": token},
        ),
        _resource(
            "", "v1", "Service", "services",
            short_names=("svc",), categories=("all",), subresources=_STATUS, columns=SERVICE_COLUMNS,
            name_problems=label_problems, selectable=METADATA_FIELDS | {"spec.clusterIP", "spec.type"},
        ),
    ]  # fmt: skip


def _workloads() -> list[Resource]:
    return [
        _resource(
            "apps", "v1", "DaemonSet", "daemonsets",
            short_names=("ds",), categories=("all",), subresources=_STATUS,
            columns=DAEMON_SET_COLUMNS, plain_selectors=True,
            field_annotation="deprecated.daemonset.template.generation",
        ),
        _resource(
            "apps", "v1", "Deployment", "deployments",
            short_names=("deploy",), categories=("all",), subresources={**_SCALE, **_STATUS},
            columns=DEPLOYMENT_COLUMNS, plain_selectors=True,
        ),
        _resource(
            "apps", "v1", "ReplicaSet", "replicasets",
            short_names=("rs",), categories=("all",), subresources={**_SCALE, **_STATUS},
            columns=REPLICA_SET_COLUMNS, selectable=METADATA_FIELDS | {"status.replicas"},
        ),
        _resource(
            "batch", "v1", "Job", "jobs",
            categories=("all",), subresources=_STATUS,
            columns=JOB_COLUMNS, selectable=METADATA_FIELDS | {"status.successful"},
        ),
    ]  # fmt: skip


def builtin_resources() -> list[Resource]:
    """Everything that is served without a CustomResourceDefinition."""
    return [
        *_core(),
        *_workloads(),
        _resource(
            "events.k8s.io", "v1", "Event", "events",
            short_names=("ev",), storage="events", selectable=_NEW_EVENT_FIELDS,
            from_stored=event_versions.to_events_v1, to_stored=event_versions.to_core_v1,
        ),
        _resource(
            "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions",
            namespaced=False, short_names=("crd", "crds"), categories=("api-extensions",),
            subresources=_STATUS, plain_selectors=True,
        ),
        *admission_resources(),
        *authorization_resources(),
        # Stored only: the machine's own firewall is left alone.
        _resource(
            "networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies",
            short_names=("netpol",), plain_selectors=True,
        ),
        _resource("coordination.k8s.io", "v1", "Lease", "leases", plain_selectors=True),
    ]  # fmt: skip
