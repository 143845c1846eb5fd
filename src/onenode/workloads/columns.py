"""Table columns of the workload kinds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from onenode.cells import name_column
from onenode.clock import parse_timestamp
from onenode.durations import age, human_duration
from onenode.registry import Column
from onenode.workloads.templates import format_selector

__all__ = ["DAEMON_SET_COLUMNS", "DEPLOYMENT_COLUMNS", "JOB_COLUMNS", "REPLICA_SET_COLUMNS"]

Obj = dict[str, Any]
_NONE: Final = "<none>"


def _column(
    name: str, cell: Callable[[Obj, datetime], Any], kind: str = "string", priority: int = 0
) -> Column:
    return Column(name, kind, cell, priority=priority)


def _age(obj: Obj, now: datetime) -> Any:
    return age(obj["metadata"].get("creationTimestamp"), now)


def _number(part: str, field: str) -> Callable[[Obj, datetime], Any]:
    def cell(obj: Obj, _now: datetime) -> Any:
        return (obj.get(part) or {}).get(field) or 0

    return cell


def _containers(field: str) -> Callable[[Obj, datetime], Any]:
    def cell(obj: Obj, _now: datetime) -> Any:
        containers = ((obj["spec"].get("template") or {}).get("spec") or {}).get("containers") or []
        return ",".join(str(container.get(field, "")) for container in containers)

    return cell


def _selector(obj: Obj, _now: datetime) -> Any:
    return format_selector(obj["spec"].get("selector")) or _NONE


def _deployment_ready(obj: Obj, _now: datetime) -> Any:
    return f"{(obj.get('status') or {}).get('readyReplicas') or 0}/{obj['spec'].get('replicas', 1)}"


def _node_selector(obj: Obj, _now: datetime) -> Any:
    wanted = ((obj["spec"].get("template") or {}).get("spec") or {}).get("nodeSelector")
    return format_selector({"matchLabels": wanted or {}}) or _NONE


def _job_status(job: Obj, _now: datetime) -> Any:
    conditions = (job.get("status") or {}).get("conditions") or []
    true = {c.get("type") for c in conditions if c.get("status") == "True"}
    for kind in ("Complete", "Failed"):
        if kind in true:
            return kind
    if job["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return next(
        (kind for kind in ("Suspended", "FailureTarget", "SuccessCriteriaMet") if kind in true), "Running"
    )


def _job_completions(job: Obj, _now: datetime) -> Any:
    spec, done = job["spec"], (job.get("status") or {}).get("succeeded") or 0
    if spec.get("completions") is not None:
        return f"{done}/{spec['completions']}"
    parallelism = spec.get("parallelism") or 0
    return f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"


def _job_duration(job: Obj, now: datetime) -> Any:
    status = job.get("status") or {}
    start = parse_timestamp(status.get("startTime") or "")
    if start is None:
        return ""
    end = parse_timestamp(status.get("completionTime") or "") or now
    return human_duration(int((end - start).total_seconds()))


_TEMPLATE: Final = (
    _column("Age", _age),
    _column("Containers", _containers("name"), priority=1),
    _column("Images", _containers("image"), priority=1),
    _column("Selector", _selector, priority=1),
)

DEPLOYMENT_COLUMNS: Final = (
    name_column(),
    _column("Ready", _deployment_ready),
    _column("Up-to-date", _number("status", "updatedReplicas")),
    _column("Available", _number("status", "availableReplicas")),
    *_TEMPLATE,
)
REPLICA_SET_COLUMNS: Final = (
    name_column(),
    _column("Desired", _number("spec", "replicas"), "integer"),
    _column("Current", _number("status", "replicas"), "integer"),
    _column("Ready", _number("status", "readyReplicas"), "integer"),
    *_TEMPLATE,
)
DAEMON_SET_COLUMNS: Final = (
    name_column(),
    _column("Desired", _number("status", "desiredNumberScheduled"), "integer"),
    _column("Current", _number("status", "currentNumberScheduled"), "integer"),
    _column("Ready", _number("status", "numberReady"), "integer"),
    _column("Up-to-date", _number("status", "updatedNumberScheduled"), "integer"),
    _column("Available", _number("status", "numberAvailable"), "integer"),
    _column("Node Selector", _node_selector),
    *_TEMPLATE,
)
JOB_COLUMNS: Final = (
    name_column(),
    _column("Status", _job_status),
    _column("Completions", _job_completions),
    _column("Duration", _job_duration),
    *_TEMPLATE,
)
