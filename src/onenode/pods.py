"""Pods: the fields that the server fills in, and what it refuses.

Pure. Admission that needs other objects (service account, priority) is in ``pod_admission``; the checks are
in ``pod_validation``.
"""

from __future__ import annotations

from typing import Any, Final

from onenode.pod_validation import validate_pod
from onenode.quantities import canonical_quantity

__all__ = ["default_pod", "pod_warnings", "prepare_pod", "qos_class", "validate_pod"]

Obj = dict[str, Any]

_FILE_MODE: Final = 0o644
_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBE_DEFAULTS: Final = {
    "timeoutSeconds": 1,
    "periodSeconds": 10,
    "successThreshold": 1,
    "failureThreshold": 3,
}
_OLD_SECCOMP: Final = "seccomp.security.alpha.kubernetes.io/pod"
_OLD_SECCOMP_TEXT: Final = (
    "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the "
    '"seccompProfile" field instead'
)


def default_pod(pod: Obj) -> None:
    """Fill in what a pod leaves open."""
    spec = pod.setdefault("spec", {})
    default_pod_spec(spec)
    service_account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if service_account:
        spec["serviceAccountName"] = spec["serviceAccount"] = service_account


def default_pod_spec(spec: Obj) -> None:
    """Fill in a pod's spec, also the one of a template."""
    for volume in spec.get("volumes") or []:
        _default_volume(volume)
    host_network = bool(spec.get("hostNetwork"))
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(field) or []:
            _default_container(container, host_network=host_network)
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("enableServiceLinks", True)


def _default_container(container: Obj, *, host_network: bool) -> None:
    for port in container.get("ports") or []:
        port.setdefault("protocol", "TCP")
        if host_network and "containerPort" in port:
            port.setdefault("hostPort", port["containerPort"])
    for variable in container.get("env") or []:
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference is not None:
            reference.setdefault("apiVersion", "v1")
    _default_resources(container.setdefault("resources", {}))
    for name in _PROBES:
        if container.get(name) is not None:
            _default_probe(container[name])
    for handler in (container.get("lifecycle") or {}).values():
        _default_http(handler)
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = _pull_policy(container.get("image") or "")


def _pull_policy(image: str) -> str:
    name = image.rpartition("/")[2]
    if "@" in name:
        return "IfNotPresent"
    tag = name.partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _default_resources(resources: Obj) -> None:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for amounts in (limits, requests):
        for name, amount in amounts.items():
            amounts[name] = canonical_quantity(str(amount))
    missing = {name: amount for name, amount in limits.items() if name not in requests}
    if missing:
        resources["requests"] = {**requests, **missing}


def _default_probe(probe: Obj) -> None:
    for name, value in _PROBE_DEFAULTS.items():
        if not probe.get(name):
            probe[name] = value
    _default_http(probe)
    if "grpc" in probe:
        probe["grpc"].setdefault("service", "")


def _default_http(handler: Any) -> None:
    if isinstance(handler, dict) and handler.get("httpGet") is not None:
        handler["httpGet"].setdefault("path", "/")
        handler["httpGet"].setdefault("scheme", "HTTP")


def _default_volume(volume: Obj) -> None:
    for name in ("secret", "configMap", "downwardAPI", "projected"):
        source = volume.get(name)
        if source is not None:
            source.setdefault("defaultMode", _FILE_MODE)
            _default_items(source)
    if volume.get("hostPath") is not None:
        volume["hostPath"].setdefault("type", "")
    for source in (volume.get("projected") or {}).get("sources") or []:
        if source.get("serviceAccountToken") is not None:
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)
        if source.get("downwardAPI") is not None:
            _default_items(source["downwardAPI"])
    if set(volume) == {"name"}:
        volume["emptyDir"] = {}


def _default_items(source: Obj) -> None:
    for item in source.get("items") or []:
        if item.get("fieldRef") is not None:
            item["fieldRef"].setdefault("apiVersion", "v1")


def prepare_pod(pod: Obj) -> None:
    """The first status of a pod."""
    pod["status"] = {"phase": "Pending", "qosClass": qos_class(pod["spec"])}


def qos_class(spec: Obj) -> str:
    """Guaranteed, Burstable or BestEffort, by the resources of the containers."""
    containers = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    any_set, guaranteed = False, True
    for container in containers:
        resources = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        any_set = any_set or any(name in limits or name in requests for name in ("cpu", "memory"))
        for name in ("cpu", "memory"):
            if name not in limits or requests.get(name, limits[name]) != limits[name]:
                guaranteed = False
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def pod_warnings(pod: Obj) -> list[str]:
    """Advice about deprecated forms."""
    annotations = pod["metadata"].get("annotations") or {}
    return [_OLD_SECCOMP_TEXT] if _OLD_SECCOMP in annotations else []
