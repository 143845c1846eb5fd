"""Pure: the MutatingWebhookConfiguration that the bindings and recordings of a cluster call for."""

import base64
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from spo.api.spod import FailurePolicy, WebhookOptions
from spo.names import (
    BINDING_PATH,
    BINDING_WEBHOOK,
    OPERATOR_NAME,
    RECORDING_PATH,
    RECORDING_WEBHOOK,
    WEBHOOK_CONFIGURATION,
    WEBHOOK_NAME,
    WEBHOOK_SERVICE,
)

MAX_LISTED: Final = 1000
"""Namespaces that a selector names; with more it names those that are left out."""
OPERATOR_PREFIX: Final = "operator-namespace."
"""Begins the name of the entry for the operator's own namespace."""
TIMEOUT_S: Final = 10
SERVICE_PORT: Final = 443

_NAMESPACE_LABEL: Final = "kubernetes.io/metadata.name"
_SYSTEM_NAMESPACE: Final = "kube-system"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Everything that the configuration depends on."""

    operator_namespace: str
    namespaces: Mapping[str, frozenset[str]]
    """Name of a webhook -> namespaces that hold something for it."""
    options: Mapping[str, WebhookOptions]
    """Name of a webhook -> what the user wants of it."""
    bundle: bytes
    """PEM of the CAs to trust; empty: those that the API server's machine trusts."""


def configuration_name(operator_namespace: str) -> str:
    """Name of the configuration: operators of several namespaces do not share one."""
    if operator_namespace == OPERATOR_NAME:
        return WEBHOOK_CONFIGURATION
    return f"{WEBHOOK_CONFIGURATION}-{operator_namespace}"


def wanted_webhooks(admission: Admission) -> list[Json]:
    """The entries of the configuration, each only if there is something for it to do.

    The operator's own namespace has an entry of its own, which leaves out the operator's pods: they must be
    able to start without the webhook. Elsewhere no label gets a pod past a binding.
    """
    entries: list[Json] = []
    for name, path, operations in _WEBHOOKS:
        options = admission.options.get(name)
        namespaces = admission.namespaces.get(name, frozenset())
        if options is not None and options.namespace_selector is not None:
            selector = _json(options.namespace_selector)
            entries.append(_entry(admission, name, path, operations, selector, _OWN_PODS))
            continue
        own = admission.operator_namespace
        others = namespaces - {own}
        if others:
            entries.append(_entry(admission, name, path, operations, _listed(others, own), {}))
        if own in namespaces:
            twin = f"{OPERATOR_PREFIX}{name}"
            entries.append(_entry(admission, twin, path, operations, _in({own}), _OWN_PODS))
    return entries


def stored_bundle(webhooks: list[Json]) -> bytes:
    """PEM of the CAs that stored entries of ours trust; empty if they name none."""
    for entry in webhooks:
        if entry.get("name", "").removeprefix(OPERATOR_PREFIX) in {name for name, _, _ in _WEBHOOKS}:
            with contextlib.suppress(ValueError):
                return base64.b64decode(entry.get("clientConfig", {}).get("caBundle") or "")
    return b""


def is_held(stored: list[Json], wanted: list[Json]) -> bool:
    """Whether the stored entries do what is wanted; fields and requirements that a cluster adds are left.

    Without that, an operator and a cloud that adds its selectors would write for ever.
    """
    by_name = {entry.get("name"): entry for entry in stored}
    ours = {name for name, _, _ in _WEBHOOKS} | {f"{OPERATOR_PREFIX}{name}" for name, _, _ in _WEBHOOKS}
    present = {name for name in by_name if name in ours}
    return present == {entry["name"] for entry in wanted} and all(
        _holds(by_name[entry["name"]], entry) for entry in wanted
    )


_CREATE: Final = ({"operations": ["CREATE"], "resources": ["pods"]},)
_CREATE_AND_DEBUG: Final = (*_CREATE, {"operations": ["UPDATE"], "resources": ["pods/ephemeralcontainers"]})
_WEBHOOKS: Final = (
    # In this order they are called: a recording sees what a binding has done.
    (BINDING_WEBHOOK, BINDING_PATH, _CREATE_AND_DEBUG),
    (RECORDING_WEBHOOK, RECORDING_PATH, _CREATE),
)
_OWN_PODS: Final[Json] = {
    "matchExpressions": [
        {"key": "name", "operator": "NotIn", "values": [OPERATOR_NAME, WEBHOOK_NAME, "spod"]}
    ]
}


def _entry(
    admission: Admission,
    name: str,
    path: str,
    operations: tuple[Json, ...],
    namespace_selector: Json,
    object_selector: Json,
) -> Json:
    options = admission.options.get(name.removeprefix(OPERATOR_PREFIX))
    service = {
        "namespace": admission.operator_namespace,
        "name": WEBHOOK_SERVICE,
        "path": path,
        "port": SERVICE_PORT,
    }
    client: Json = {"service": service}
    if admission.bundle:
        client["caBundle"] = base64.b64encode(admission.bundle).decode()
    if options is not None and options.object_selector is not None:
        object_selector = _json(options.object_selector)
    policy = options.failure_policy if options is not None else None
    return {
        "name": name,
        "clientConfig": client,
        "rules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "scope": "Namespaced", **one} for one in operations
        ],
        "namespaceSelector": namespace_selector,
        "objectSelector": object_selector,
        "failurePolicy": str(policy or FailurePolicy.FAIL),
        "matchPolicy": "Equivalent",
        # Containers that other webhooks add later are bound as well.
        "reinvocationPolicy": "IfNeeded",
        "sideEffects": "None",
        "timeoutSeconds": TIMEOUT_S,
        "admissionReviewVersions": ["v1", "v1beta1"],
    }


def _listed(namespaces: frozenset[str], operator_namespace: str) -> Json:
    if len(namespaces) <= MAX_LISTED:
        return _in(namespaces)
    left_out = sorted({_SYSTEM_NAMESPACE, operator_namespace})
    return {"matchExpressions": [{"key": _NAMESPACE_LABEL, "operator": "NotIn", "values": left_out}]}


def _in(namespaces: "frozenset[str] | set[str]") -> Json:
    return {"matchExpressions": [{"key": _NAMESPACE_LABEL, "operator": "In", "values": sorted(namespaces)}]}


def _json(value: object) -> Json:
    found: Json = msgspec.to_builtins(value)
    return found


def _holds(stored: object, wanted: object) -> bool:
    if isinstance(wanted, dict):
        return isinstance(stored, dict) and all(
            # What is empty is often left out when it is stored.
            _holds(stored.get(key, type(value)() if value in ({}, []) else None), value)
            for key, value in wanted.items()
        )
    if isinstance(wanted, list) and isinstance(stored, list) and any(isinstance(one, dict) for one in wanted):
        return all(any(_holds(one, value) for one in stored) for value in wanted)
    if isinstance(wanted, list) and isinstance(stored, list):
        return sorted(map(str, stored)) == sorted(map(str, wanted))
    return stored == wanted
