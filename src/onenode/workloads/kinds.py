"""Workload kinds: the fields that the server fills in, and what it refuses.

Pure. What a real server offers and these controllers do not do is refused, not ignored.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any, Final

from onenode import causes
from onenode.causes import Cause
from onenode.pod_validation import validate_pod
from onenode.pods import default_pod_spec
from onenode.selectors import SelectorError, match_label_selector

__all__ = [
    "default_daemon_set",
    "default_deployment",
    "default_job",
    "default_replica_set",
    "prepare_daemon_set",
    "prepare_deployment",
    "prepare_job",
    "prepare_replica_set",
    "update_daemon_set",
    "validate_daemon_set",
    "validate_deployment",
    "validate_job",
    "validate_replica_set",
]

Obj = dict[str, Any]

_LABELS: Final = "spec.template.metadata.labels"
_NOT_NEGATIVE: Final = "must be greater than or equal to 0"
_TEMPLATE_GENERATION: Final = "deprecated.daemonset.template.generation"


def _default_template(spec: Obj) -> None:
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    pod = template.setdefault("spec", {})
    had_links = "enableServiceLinks" in pod
    default_pod_spec(pod)
    if not had_links:
        # A template says nothing about it; the pod gets it when it is made.
        pod.pop("enableServiceLinks", None)
    account = pod.get("serviceAccountName") or pod.get("serviceAccount")
    if account:
        pod["serviceAccountName"] = pod["serviceAccount"] = account


def default_deployment(obj: Obj) -> None:
    """Fill in what a Deployment leaves open."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    _default_template(spec)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)


def default_replica_set(obj: Obj) -> None:
    """Fill in what a ReplicaSet leaves open."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    _default_template(spec)


def default_daemon_set(obj: Obj) -> None:
    """Fill in what a DaemonSet leaves open."""
    spec = obj.setdefault("spec", {})
    _default_template(spec)
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    spec.setdefault("revisionHistoryLimit", 10)


def default_job(obj: Obj) -> None:
    """Fill in what a Job leaves open."""
    spec = obj.setdefault("spec", {})
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("podReplacementPolicy", "TerminatingOrFailed")
    _default_template(spec)


def prepare_deployment(obj: Obj) -> None:
    """The first status."""
    obj["status"] = {}


def prepare_replica_set(obj: Obj) -> None:
    """The first status."""
    obj["status"] = {"replicas": 0}


def prepare_daemon_set(obj: Obj) -> None:
    """The first status, and the count of templates that old clients read."""
    obj["metadata"].setdefault("annotations", {})[_TEMPLATE_GENERATION] = "1"
    numbers = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")
    obj["status"] = dict.fromkeys(numbers, 0)


def update_daemon_set(obj: Obj, old: Obj) -> None:
    """Count a new template."""
    annotations = old["metadata"].get("annotations") or {}
    count = str(annotations.get(_TEMPLATE_GENERATION, "1"))
    if obj["spec"]["template"] != old["spec"].get("template"):
        count = str(int(count) + 1 if count.isdecimal() else 1)
    obj["metadata"].setdefault("annotations", {})[_TEMPLATE_GENERATION] = count


def prepare_job(obj: Obj) -> None:
    """The first status, and a selector that no other Job has."""
    obj["status"] = {}
    spec, metadata = obj["spec"], obj["metadata"]
    if spec.get("manualSelector"):
        return
    uid = metadata["uid"] = str(uuid.uuid4())
    name = metadata.get("name", "")
    labels = spec["template"]["metadata"].setdefault("labels", {})
    for prefix in ("batch.kubernetes.io/", ""):
        labels[f"{prefix}controller-uid"] = uid
        labels[f"{prefix}job-name"] = name
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}


def _validate_template(spec: Obj, policies: tuple[str, ...]) -> list[Cause]:
    pod = spec["template"]["spec"]
    found = [
        replace(cause, field=f"spec.template.{cause.field}") for cause in validate_pod({"spec": pod}, None)
    ]
    policy = pod.get("restartPolicy")
    if policy in ("Always", "OnFailure", "Never") and policy not in policies:
        field = "spec.template.spec.restartPolicy"
        if policies == ("Always",):
            found.append(causes.not_supported(field, policy, policies))
        else:
            found.append(causes.required(field, 'valid values: "OnFailure", "Never"'))
    return found


def _validate_selector(spec: Obj, old: Obj | None, kind: str) -> list[Cause]:
    selector = spec.get("selector")
    labels = spec["template"]["metadata"].get("labels") or {}
    found: list[Cause] = []
    if selector is None:
        found.append(causes.required("spec.selector"))
    elif not selector.get("matchLabels") and not selector.get("matchExpressions"):
        found.append(causes.invalid("spec.selector", {}, f"empty selector is invalid for {kind}"))
    try:
        matches = match_label_selector(selector, labels)
    except SelectorError as error:
        return [*found, causes.invalid("spec.selector", selector, str(error))]
    if selector is not None and not matches:
        found.append(causes.invalid(_LABELS, labels, "`selector` does not match template `labels`"))
    if old is not None and selector != old["spec"].get("selector"):
        found.append(causes.invalid("spec.selector", selector, "field is immutable"))
    return found


def _not_negative(spec: Obj, *names: str) -> list[Cause]:
    return [
        causes.invalid(f"spec.{name}", spec[name], _NOT_NEGATIVE)
        for name in names
        if spec.get(name) is not None and spec[name] < 0
    ]


def validate_deployment(obj: Obj, old: Obj | None) -> list[Cause]:
    """Causes about a Deployment."""
    spec = obj["spec"]
    found = _not_negative(spec, "replicas", "minReadySeconds", "revisionHistoryLimit")
    found += _validate_selector(spec, old, "deployment")
    found += _validate_template(spec, ("Always",))
    kind = spec["strategy"].get("type")
    if kind not in ("Recreate", "RollingUpdate"):
        found.append(causes.not_supported("spec.strategy.type", kind, ("Recreate", "RollingUpdate")))
    elif kind == "Recreate" and spec["strategy"].get("rollingUpdate") is not None:
        text = "may not be specified when strategy `type` is 'Recreate'"
        found.append(causes.forbidden("spec.strategy.rollingUpdate", text))
    elif kind == "RollingUpdate":
        rolling = spec["strategy"]["rollingUpdate"]
        found += _validate_amounts(rolling, "spec.strategy.rollingUpdate", ("maxUnavailable", "maxSurge"))
    if (spec.get("progressDeadlineSeconds") or 0) <= (spec.get("minReadySeconds") or 0):
        text = "must be greater than minReadySeconds"
        found.append(
            causes.invalid("spec.progressDeadlineSeconds", spec.get("progressDeadlineSeconds"), text)
        )
    return found


def _validate_amounts(rolling: Obj, field: str, names: tuple[str, ...]) -> list[Cause]:
    found: list[Cause] = []
    for name in names:
        value = rolling.get(name)
        if isinstance(value, str) and not (value.endswith("%") and value[:-1].isdigit()):
            text = "a valid percent string must be a numeric string followed by an ending '%' "
            shape = "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
            found.append(causes.invalid(f"{field}.{name}", value, text + shape))
        elif isinstance(value, int) and value < 0:
            found.append(causes.invalid(f"{field}.{name}", value, _NOT_NEGATIVE))
    if not found and all(rolling.get(name) in (0, "0%") for name in names):
        text = "may not be 0 when `maxSurge` is 0"
        found.append(causes.invalid(f"{field}.maxUnavailable", rolling.get("maxUnavailable"), text))
    return found


def validate_replica_set(obj: Obj, old: Obj | None) -> list[Cause]:
    """Causes about a ReplicaSet."""
    spec = obj["spec"]
    found = _not_negative(spec, "replicas", "minReadySeconds")
    return [*found, *_validate_selector(spec, old, "replicaset"), *_validate_template(spec, ("Always",))]


def validate_daemon_set(obj: Obj, old: Obj | None) -> list[Cause]:
    """Causes about a DaemonSet."""
    spec = obj["spec"]
    found = _not_negative(spec, "minReadySeconds", "revisionHistoryLimit")
    found += _validate_selector(spec, old, "daemonset")
    found += _validate_template(spec, ("Always",))
    kind = spec["updateStrategy"].get("type")
    if kind not in ("RollingUpdate", "OnDelete"):
        found.append(causes.not_supported("spec.updateStrategy.type", kind, ("RollingUpdate", "OnDelete")))
    elif kind == "RollingUpdate":
        rolling, field = spec["updateStrategy"]["rollingUpdate"], "spec.updateStrategy.rollingUpdate"
        if rolling.get("maxSurge") not in (0, "0%"):
            text = "this server runs one pod of a DaemonSet on a node at a time; use maxUnavailable"
            found.append(causes.forbidden(f"{field}.maxSurge", text))
        found += _validate_amounts(rolling, field, ("maxUnavailable",))
    return found


def validate_job(obj: Obj, old: Obj | None) -> list[Cause]:
    """Causes about a Job."""
    spec = obj["spec"]
    found = _not_negative(
        spec, "parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"
    )
    found += _validate_selector(spec, old, "job")
    found += _validate_template(spec, ("OnFailure", "Never"))
    if spec.get("completionMode") != "NonIndexed":
        field = "spec.completionMode"
        found.append(causes.not_supported(field, spec.get("completionMode"), ("NonIndexed",)))
    found += [
        causes.forbidden(f"spec.{name}", "this server does not act on it")
        for name in ("podFailurePolicy", "successPolicy", "backoffLimitPerIndex", "managedBy")
        if spec.get(name) is not None
    ]
    if old is not None:
        found += [
            causes.invalid(f"spec.{name}", spec.get(name), "field is immutable")
            for name in ("completions", "template")
            if spec.get(name) != old["spec"].get(name)
        ]
    return found
