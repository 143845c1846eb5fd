"""Facts about built-in kinds that their type declarations do not carry.

Pure data: which lists are keyed and how they merge, which maps and structs change as a whole, what the
members of maps are. Source: the markers in the Go types of Kubernetes 1.36 (``listType``, ``listMapKey``,
``mapType``, ``structType``, ``patchStrategy``, ``patchMergeKey``).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

__all__ = [
    "ATOMIC_MAPS",
    "ATOMIC_STRUCTS",
    "DEFAULTS",
    "INT64_FIELDS",
    "LIST_MAPS",
    "LIST_SETS",
    "MAP_VALUES",
    "RETAIN_KEYS_STRUCTS",
    "ListMap",
]


class ListMap(NamedTuple):
    """A list of objects told apart by keys."""

    keys: tuple[str, ...]
    """Keys for server-side apply; empty: the list is atomic there."""
    merge_key: str | None = None
    """Key of a strategic merge patch; None: the list is replaced."""
    strategy: str = "merge"


def _by(key: str, *more: str, strategy: str = "merge") -> ListMap:
    return ListMap((key, *more), key, strategy)


_CONDITIONS: Final = _by("type")
_CONTAINER: Final[dict[str, ListMap]] = {
    "ports": _by("containerPort", "protocol"),
    "env": _by("name"),
    "volumeMounts": _by("mountPath"),
    "volumeDevices": _by("devicePath"),
}
_WITH_CONDITIONS: Final = (
    "core_v1.PodStatus",
    "core_v1.NodeStatus",
    "core_v1.NamespaceStatus",
    "core_v1.ServiceStatus",
    "core_v1.PersistentVolumeClaimStatus",
    "core_v1.ReplicationControllerStatus",
    "apps_v1.DeploymentStatus",
    "apps_v1.ReplicaSetStatus",
    "apps_v1.DaemonSetStatus",
    "apps_v1.StatefulSetStatus",
    "policy_v1.PodDisruptionBudgetStatus",
)

LIST_MAPS: Final[dict[str, ListMap]] = {
    **{f"{owner}.conditions": _CONDITIONS for owner in _WITH_CONDITIONS},
    **{f"core_v1.Container.{name}": fact for name, fact in _CONTAINER.items()},
    **{f"core_v1.EphemeralContainer.{name}": fact for name, fact in _CONTAINER.items()},
    "core_v1.PodSpec.volumes": _by("name", strategy="merge,retainKeys"),
    "core_v1.PodSpec.containers": _by("name"),
    "core_v1.PodSpec.initContainers": _by("name"),
    "core_v1.PodSpec.ephemeralContainers": _by("name"),
    "core_v1.PodSpec.imagePullSecrets": _by("name"),
    "core_v1.PodSpec.hostAliases": _by("ip"),
    "core_v1.PodSpec.topologySpreadConstraints": _by("topologyKey", "whenUnsatisfiable"),
    "core_v1.PodSpec.schedulingGates": _by("name"),
    "core_v1.PodSpec.resourceClaims": _by("name", strategy="merge,retainKeys"),
    "core_v1.PodStatus.podIPs": _by("ip"),
    "core_v1.PodStatus.hostIPs": ListMap((), "ip"),
    "core_v1.PodStatus.resourceClaimStatuses": _by("name", strategy="merge,retainKeys"),
    "core_v1.ResourceRequirements.claims": ListMap(("name",)),
    "core_v1.ServiceSpec.ports": _by("port", "protocol"),
    "core_v1.ServiceAccount.secrets": _by("name"),
    "core_v1.NodeStatus.addresses": _by("type"),
    "batch_v1.JobStatus.conditions": ListMap((), "type"),
    "meta_v1.ObjectMeta.ownerReferences": _by("uid"),
    "apiextensions_v1.CustomResourceDefinitionStatus.conditions": ListMap(("type",)),
    "admissionregistration_v1.MutatingWebhookConfiguration.webhooks": _by("name"),
    "admissionregistration_v1.ValidatingWebhookConfiguration.webhooks": _by("name"),
    "admissionregistration_v1.MutatingWebhook.matchConditions": _by("name"),
    "admissionregistration_v1.ValidatingWebhook.matchConditions": _by("name"),
    "admissionregistration_v1.ValidatingAdmissionPolicySpec.matchConditions": _by("name"),
    "admissionregistration_v1.ValidatingAdmissionPolicySpec.variables": _by("name"),
}
"""``<module>.<type>.<field>`` -> how its items are told apart. A list not named here is atomic."""

LIST_SETS: Final[dict[str, str | None]] = {
    "meta_v1.ObjectMeta.finalizers": "merge",
    "core_v1.NodeSpec.podCIDRs": "merge",
    "batch_v1.UncountedTerminatedPods.failed": None,
    "batch_v1.UncountedTerminatedPods.succeeded": None,
    "discovery_v1.Endpoint.addresses": None,
}
"""Lists that are sets -> their strategy in a strategic merge patch."""

ATOMIC_STRUCTS: Final = frozenset(
    {"meta_v1.LabelSelector", "meta_v1.OwnerReference", "core_v1.ObjectReference"}
    | {"core_v1.LocalObjectReference", "core_v1.SecretKeySelector", "core_v1.ConfigMapKeySelector"}
    | {"core_v1.ObjectFieldSelector", "core_v1.ResourceFieldSelector", "core_v1.FileKeySelector"}
    | {"core_v1.TypedLocalObjectReference", "core_v1.SecretReference", "core_v1.NodeSelector"}
    | {"core_v1.NodeSelectorTerm", "core_v1.TopologySelectorTerm", "core_v1.ScopeSelector"}
    | {"rbac_v1.RoleRef", "rbac_v1.Subject", "admissionregistration_v1.ParamKind"}
    | {"admissionregistration_v1.ParamRef"}
)
"""Structs that have one owner as a whole."""

ATOMIC_MAPS: Final = frozenset(
    {
        "core_v1.PodSpec.nodeSelector",
        "core_v1.ServiceSpec.selector",
        "core_v1.ReplicationControllerSpec.selector",
    }
)
"""Maps that have one owner as a whole."""

RETAIN_KEYS_STRUCTS: Final = frozenset({"apps_v1.DeploymentSpec.strategy"})
"""Structs whose strategic merge patch may name the members to keep."""

_STRING: Final[dict[str, Any]] = {"type": "string"}
_BYTES: Final[dict[str, Any]] = {"type": "string", "format": "byte"}
_STRINGS: Final[dict[str, Any]] = {"type": "array", "items": _STRING}

_QUANTITY_MAPS: Final = (
    "ContainerStatus.allocatedResources",
    "LimitRangeItem.default",
    "LimitRangeItem.defaultRequest",
    "LimitRangeItem.max",
    "LimitRangeItem.maxLimitRequestRatio",
    "LimitRangeItem.min",
    "NodeStatus.allocatable",
    "NodeStatus.capacity",
    "PersistentVolumeClaimStatus.allocatedResources",
    "PersistentVolumeClaimStatus.capacity",
    "PersistentVolumeSpec.capacity",
    "PodSpec.overhead",
    "PodStatus.allocatedResources",
    "ResourceQuotaSpec.hard",
    "ResourceQuotaStatus.hard",
    "ResourceQuotaStatus.used",
    "ResourceRequirements.limits",
    "ResourceRequirements.requests",
    "VolumeResourceRequirements.limits",
    "VolumeResourceRequirements.requests",
)

MAP_VALUES: Final[dict[str, dict[str, Any] | str]] = {
    "ConfigMap.binaryData": _BYTES,
    "Secret.data": _BYTES,
    "UserInfo.extra": _STRINGS,
    "SubjectAccessReviewSpec.extra": _STRINGS,
    "CertificateSigningRequestSpec.extra": _STRINGS,
    "PodDisruptionBudgetStatus.disruptedPods": {"type": "string", "format": "date-time"},
    **dict.fromkeys(_QUANTITY_MAPS, "quantity"),
}
"""``<type>.<field>`` -> schema of the values of a map; all other maps hold strings."""

INT64_FIELDS: Final = frozenset(
    {"generation", "observedGeneration", "deletionGracePeriodSeconds", "gracePeriodSeconds", "runAsUser"}
    | {"runAsGroup", "fsGroup", "supplementalGroups", "terminationGracePeriodSeconds", "tolerationSeconds"}
    | {"activeDeadlineSeconds", "expirationSeconds", "sizeBytes", "tailLines", "limitBytes"}
    | {"maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties"}
    | {"remainingItemCount", "runAsNonRootGroup"}
)
"""Integer fields of 64 bits; the others have 32."""

DEFAULTS: Final[dict[str, Any]] = {
    "core_v1.ContainerPort.protocol": "TCP",
    "core_v1.ServicePort.protocol": "TCP",
}
"""Defaults that are part of a list key."""
