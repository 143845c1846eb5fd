"""What built-in kinds do beyond the common rules: defaults, derived fields, validation, way of deletion.

One ``Strategy`` per stored resource; a kind without one (and every custom resource) gets ``PLAIN``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from onenode import causes, crds, event_versions, pods
from onenode.authorization.validation import default_binding, validate_binding, validate_role
from onenode.causes import Cause
from onenode.object_names import config_key_problems
from onenode.registry import Resource
from onenode.secret_tokens import ACCOUNT_ANNOTATION, TOKEN_TYPE
from onenode.webhooks import kinds as webhooks
from onenode.workloads import kinds, services

__all__ = ["CUSTOM", "Strategy", "strategy_of"]

Obj = dict[str, Any]
Check = Callable[[Obj, Obj | None], list[Cause]]


def _nothing(_obj: Obj) -> None:
    return None


def _unchanged(_obj: Obj, _old: Obj) -> None:
    return None


def _no_causes(_obj: Obj, _old: Obj | None) -> list[Cause]:
    return []


def _no_warnings(_obj: Obj) -> list[str]:
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """How one kind is written."""

    default: Callable[[Obj], None] = _nothing
    """Fills in what the client left out; runs on every write."""
    prepare_create: Callable[[Obj], None] = _nothing
    prepare_update: Callable[[Obj, Obj], None] = _unchanged
    validate: Check = _no_causes
    warn: Callable[[Obj], list[str]] = _no_warnings
    unconditional_update: bool = True
    """PUT without a resourceVersion is accepted."""
    create_on_update: bool = False
    """PUT of a missing name creates it."""
    counts_generation: bool = False
    answers_object_on_delete: bool = False
    status_metadata: tuple[str, ...] = ()
    """Metadata that writes of /status take along."""


def _validate_keys(obj: Obj, _old: Obj | None) -> list[Cause]:
    found: list[Cause] = []
    for field in ("data", "binaryData"):
        for key in obj.get(field) or {}:
            found += [causes.invalid(f"{field}[{key}]", key, text) for text in config_key_problems(key)]
    return found


def _immutable_data(obj: Obj, old: Obj | None) -> list[Cause]:
    found = _validate_keys(obj, old)
    if old is not None and old.get("immutable"):
        text = "field is immutable when `immutable` is set"
        if not obj.get("immutable"):
            found.append(causes.forbidden("immutable", text))
        found += [
            causes.forbidden(name, text)
            for name in ("data", "binaryData")
            if (obj.get(name) or {}) != (old.get(name) or {})
        ]
    return found


def _default_secret(obj: Obj) -> None:
    obj.setdefault("type", "Opaque")
    texts = obj.pop("stringData", None)
    if texts:
        data = obj.setdefault("data", {})
        data.update({key: base64.b64encode(text.encode()).decode() for key, text in texts.items()})


def _validate_secret(obj: Obj, old: Obj | None) -> list[Cause]:
    found = _immutable_data(obj, old)
    if old is not None and obj.get("type") != old.get("type"):
        found.append(causes.invalid("type", obj.get("type"), "field is immutable"))
    annotations = obj["metadata"].get("annotations") or {}
    if obj.get("type") == TOKEN_TYPE and not annotations.get(ACCOUNT_ANNOTATION):
        found.append(causes.required(f"metadata.annotations[{ACCOUNT_ANNOTATION}]"))
    return found


def _default_namespace(obj: Obj) -> None:
    metadata = obj["metadata"]
    metadata.setdefault("labels", {})["kubernetes.io/metadata.name"] = metadata.get("name", "")


def _create_namespace(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    finalizers = spec.setdefault("finalizers", [])
    if "kubernetes" not in finalizers:
        finalizers.append("kubernetes")
    obj["status"] = {"phase": "Active"}


def _update_namespace(obj: Obj, old: Obj) -> None:
    # Finalizers of a Namespace change through /finalize only.
    spec = {**(obj.get("spec") or {})}
    spec.pop("finalizers", None)
    if (old.get("spec") or {}).get("finalizers"):
        spec["finalizers"] = old["spec"]["finalizers"]
    obj["spec"] = spec


def _default_node(obj: Obj) -> None:
    obj.setdefault("spec", {})
    obj.setdefault("status", {})


def _default_event(obj: Obj) -> None:
    event_versions.complete_core(obj)


def _default_lease(obj: Obj) -> None:
    obj.setdefault("spec", {})


def _validate_lease(obj: Obj, _old: Obj | None) -> list[Cause]:
    duration = (obj.get("spec") or {}).get("leaseDurationSeconds")
    transitions = (obj.get("spec") or {}).get("leaseTransitions")
    found: list[Cause] = []
    if duration is not None and duration <= 0:
        found.append(causes.invalid("spec.leaseDurationSeconds", duration, "must be greater than 0"))
    if transitions is not None and transitions < 0:
        text = "must be greater than or equal to 0"
        found.append(causes.invalid("spec.leaseTransitions", transitions, text))
    return found


CUSTOM: Final = Strategy(unconditional_update=False, counts_generation=True)
"""Custom resources."""

_WEBHOOKS: Final = Strategy(
    default=webhooks.default_configuration,
    validate=webhooks.validate_configuration,
    counts_generation=True,
)
_ROLE: Final = Strategy(validate=validate_role, create_on_update=True)
_BINDING: Final = Strategy(default=default_binding, validate=validate_binding, create_on_update=True)
_STRATEGIES: Final[dict[str, Strategy]] = {
    "clusterrolebindings.rbac.authorization.k8s.io": _BINDING,
    "clusterroles.rbac.authorization.k8s.io": _ROLE,
    "configmaps": Strategy(validate=_immutable_data),
    "customresourcedefinitions.apiextensions.k8s.io": Strategy(
        default=crds.default_definition,
        prepare_create=crds.prepare_definition,
        validate=crds.validate_definition,
        unconditional_update=False,
        counts_generation=True,
    ),
    "daemonsets.apps": Strategy(
        default=kinds.default_daemon_set,
        prepare_create=kinds.prepare_daemon_set,
        prepare_update=kinds.update_daemon_set,
        validate=kinds.validate_daemon_set,
        counts_generation=True,
    ),
    "deployments.apps": Strategy(
        default=kinds.default_deployment,
        prepare_create=kinds.prepare_deployment,
        validate=kinds.validate_deployment,
        counts_generation=True,
        status_metadata=("annotations",),
    ),
    "events": Strategy(default=_default_event, create_on_update=True),
    "jobs.batch": Strategy(
        default=kinds.default_job,
        prepare_create=kinds.prepare_job,
        validate=kinds.validate_job,
        counts_generation=True,
    ),
    "leases.coordination.k8s.io": Strategy(
        default=_default_lease, validate=_validate_lease, unconditional_update=False, create_on_update=True
    ),
    "namespaces": Strategy(
        default=_default_namespace,
        prepare_create=_create_namespace,
        prepare_update=_update_namespace,
        answers_object_on_delete=True,
    ),
    webhooks.MUTATING: _WEBHOOKS,
    webhooks.VALIDATING: _WEBHOOKS,
    f"validatingadmissionpolicies.{webhooks.GROUP}": Strategy(
        default=webhooks.default_policy, validate=webhooks.validate_policy, counts_generation=True
    ),
    f"validatingadmissionpolicybindings.{webhooks.GROUP}": Strategy(
        default=webhooks.default_policy_binding,
        validate=webhooks.validate_policy_binding,
        counts_generation=True,
    ),
    "nodes": Strategy(default=_default_node),
    "pods": Strategy(
        default=pods.default_pod,
        prepare_create=pods.prepare_pod,
        validate=pods.validate_pod,
        warn=pods.pod_warnings,
        counts_generation=True,
        answers_object_on_delete=True,
        status_metadata=("labels", "annotations"),
    ),
    "podtemplates": Strategy(answers_object_on_delete=True),
    "rolebindings.rbac.authorization.k8s.io": _BINDING,
    "roles.rbac.authorization.k8s.io": _ROLE,
    "replicasets.apps": Strategy(
        default=kinds.default_replica_set,
        prepare_create=kinds.prepare_replica_set,
        validate=kinds.validate_replica_set,
        counts_generation=True,
    ),
    "secrets": Strategy(default=_default_secret, validate=_validate_secret),
    "serviceaccounts": Strategy(answers_object_on_delete=True),
    "services": Strategy(
        default=services.default_service,
        prepare_create=services.prepare_service,
        prepare_update=services.update_service,
        validate=services.validate_service,
    ),
}
_PLAIN: Final = Strategy()


def strategy_of(resource: Resource) -> Strategy:
    """The strategy of a resource."""
    return CUSTOM if resource.custom else _STRATEGIES.get(resource.stored_as, _PLAIN)
