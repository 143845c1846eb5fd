"""What the server adds to a new pod that depends on other objects: service account, priority, tolerations."""

from __future__ import annotations

from random import Random
from typing import Any, Final

from onenode.object_names import generate_name, wanted_name
from onenode.registry import Resource
from onenode.status import forbidden
from onenode.store import Store

__all__ = ["admit_pod"]

Obj = dict[str, Any]

_MOUNT_PATH: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_VOLUME: Final = "kube-api-access-"
_TOKEN_SECONDS: Final = 3607
"""As a real server asks: marks tokens that are renewed by the kubelet."""
_PRIORITIES: Final = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
_NO_EXECUTE: Final = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_NO_EXECUTE_SECONDS: Final = 300


def admit_pod(pod: Obj, resource: Resource, store: Store, random: Random) -> None:
    """Complete a new, defaulted pod in place.

    Raises:
        ApiError: its service account or priority class does not exist.
    """
    spec = pod["spec"]
    name = wanted_name(pod["metadata"])
    _admit_priority(spec, resource, name)
    _admit_service_account(pod, resource, store, random)
    _admit_tolerations(spec)
    if spec.get("runtimeClassName"):
        text = f'pod rejected: RuntimeClass "{spec["runtimeClassName"]}" not found'
        raise forbidden(resource, name, text)


def _admit_priority(spec: Obj, resource: Resource, name: str) -> None:
    wanted = spec.get("priorityClassName")
    if wanted and wanted not in _PRIORITIES:
        raise forbidden(resource, name, f"no PriorityClass with name {wanted} was found")
    spec["priority"] = _PRIORITIES.get(wanted or "", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")


def _admit_service_account(pod: Obj, resource: Resource, store: Store, random: Random) -> None:
    spec, namespace = pod["spec"], pod["metadata"]["namespace"]
    account_name = spec.get("serviceAccountName") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = account_name
    account = store.record("serviceaccounts", namespace, account_name)
    if account is None:
        where = f"{namespace}/{account_name}"
        text = f'error looking up service account {where}: serviceaccount "{account_name}" not found'
        raise forbidden(resource, wanted_name(pod["metadata"]), text)
    wants = spec.get("automountServiceAccountToken")
    if wants is None:
        wants = account.view.get("automountServiceAccountToken", True)
    if wants:
        _mount_token(spec, random)


def _mount_token(spec: Obj, random: Random) -> None:
    containers = [
        container
        for field in ("initContainers", "containers")
        for container in spec.get(field) or []
        if not any(m.get("mountPath") == _MOUNT_PATH for m in container.get("volumeMounts") or [])
    ]
    if not containers:
        return
    present = (one["name"] for one in spec.get("volumes") or () if str(one.get("name")).startswith(_VOLUME))
    volume = next(present, "")
    if not volume:
        volume = generate_name(_VOLUME, random)
        spec.setdefault("volumes", []).append({"name": volume, "projected": _token_sources()})
    mount = {"name": volume, "readOnly": True, "mountPath": _MOUNT_PATH}
    for container in containers:
        container.setdefault("volumeMounts", []).append(dict(mount))


def _token_sources() -> Obj:
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    authority = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    return {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}},
            {"configMap": authority},
            {"downwardAPI": {"items": [namespace]}},
        ],
        "defaultMode": 0o644,
    }


def _admit_tolerations(spec: Obj) -> None:
    tolerations = spec.setdefault("tolerations", [])
    for key in _NO_EXECUTE:
        if any(_covers(toleration, key) for toleration in tolerations):
            continue
        tolerations.append(
            {
                "key": key,
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": _NO_EXECUTE_SECONDS,
            }
        )


def _covers(toleration: Obj, key: str) -> bool:
    return toleration.get("key") in (None, "", key) and toleration.get("effect") in (None, "", "NoExecute")
