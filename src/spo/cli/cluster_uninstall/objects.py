"""The kinds that an installation consists of, as far as their removal has to know them."""

from typing import Any, Final

import msgspec

from spo.api.core import NAMESPACES
from spo.api.crds import CUSTOM_RESOURCES
from spo.api.meta import ObjectMeta
from spo.api.resource import Resource
from spo.names import (
    BINDING_FINALIZER,
    IN_USE_FINALIZER,
    OPERATOR_NAME,
    RECORDING_FINALIZER,
)

APP: Final = f"app={OPERATOR_NAME}"
"""Label of everything that the manifest and the manager create, but the custom resources."""


class Thing(msgspec.Struct, rename="camel", kw_only=True):
    """Any object: it will be removed, whatever it says."""

    metadata: ObjectMeta


class Variable(msgspec.Struct, rename="camel", kw_only=True):
    """An environment variable of a container."""

    name: str = ""
    value: str | None = None


class ProgramContainer(msgspec.Struct, rename="camel", kw_only=True):
    """What a container runs."""

    image: str = ""
    image_pull_policy: str | None = None
    env: list[Variable] = []


class ProgramPodSpec(msgspec.Struct, rename="camel", kw_only=True):
    """The containers of a pod template."""

    containers: list[ProgramContainer] = []


class ProgramTemplate(msgspec.Struct, rename="camel", kw_only=True):
    """A pod template."""

    spec: ProgramPodSpec = msgspec.field(default_factory=ProgramPodSpec)


class ProgramSpec(msgspec.Struct, rename="camel", kw_only=True):
    """Of a Deployment or a DaemonSet."""

    template: ProgramTemplate = msgspec.field(default_factory=ProgramTemplate)


class Program(msgspec.Struct, rename="camel", kw_only=True):
    """A Deployment or a DaemonSet: what it runs."""

    metadata: ObjectMeta
    spec: ProgramSpec = msgspec.field(default_factory=ProgramSpec)


def _any(group: str, version: str, kind: str, plural: str, *, namespaced: bool) -> Resource[Thing]:
    return Resource(group, version, kind, plural, namespaced, Thing)


def loose(resource: Resource[Any]) -> Resource[Thing]:
    """The same kind, of which only the metadata is read: nothing in an object keeps it from going."""
    return _any(
        resource.group, resource.version, resource.kind, resource.plural, namespaced=resource.namespaced
    )


_RBAC: Final = "rbac.authorization.k8s.io"
_ADMISSION: Final = "admissionregistration.k8s.io"

DEPLOYMENTS: Final = Resource("apps", "v1", "Deployment", "deployments", True, Program)
DAEMON_SETS: Final = Resource("apps", "v1", "DaemonSet", "daemonsets", True, Program)
PODS: Final = _any("", "v1", "Pod", "pods", namespaced=True)
THING_NAMESPACES: Final = loose(NAMESPACES)
CRDS: Final = _any(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
CUSTOM: Final = tuple(loose(one.resource) for one in CUSTOM_RESOURCES)
"""Our kinds."""
WEBHOOK_CONFIGURATIONS: Final = _any(
    _ADMISSION, "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", namespaced=False
)
CLUSTER_KINDS: Final = (
    WEBHOOK_CONFIGURATIONS,
    _any(
        _ADMISSION,
        "v1",
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        namespaced=False,
    ),
    _any(_ADMISSION, "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", namespaced=False),
    _any(_RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False),
    _any(_RBAC, "v1", "ClusterRole", "clusterroles", namespaced=False),
)
"""Kinds of the manifest that belong to no namespace; in the order of their removal."""
SCATTERED_KINDS: Final = (
    _any(_RBAC, "v1", "RoleBinding", "rolebindings", namespaced=True),
    _any(_RBAC, "v1", "Role", "roles", namespaced=True),
)
"""Kinds of which an operator for one namespace has objects in that namespace."""
OPERATOR_KINDS: Final = (
    loose(DEPLOYMENTS),
    loose(DAEMON_SETS),
    _any("", "v1", "Service", "services", namespaced=True),
    _any("", "v1", "Secret", "secrets", namespaced=True),
    _any("", "v1", "ServiceAccount", "serviceaccounts", namespaced=True),
    _any("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", namespaced=True),
    *SCATTERED_KINDS,
)
"""Kinds of the manifest in the operator's namespace, for when that namespace itself must stay."""

_FINALIZERS: Final = frozenset({IN_USE_FINALIZER, BINDING_FINALIZER, RECORDING_FINALIZER})
_FINALIZER_PREFIX: Final = "spo.x-k8s.io/"


def is_our_finalizer(name: str) -> bool:
    """Whether a manager of ours has set it, so that nobody else waits for it."""
    return name in _FINALIZERS or name.startswith(_FINALIZER_PREFIX)
