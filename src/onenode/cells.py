"""Table columns of the built-in kinds, as kubectl users know them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from onenode.clock import parse_timestamp
from onenode.durations import age, human_duration
from onenode.registry import Column

__all__ = ["COLUMNS", "CREATED_AT", "name_column"]

Obj = dict[str, Any]
NONE: Final = "<none>"
UNSET: Final = "<unset>"


def _name(obj: Obj, _now: datetime) -> Any:
    return obj["metadata"].get("name", "")


def _age(obj: Obj, now: datetime) -> Any:
    return age(obj["metadata"].get("creationTimestamp"), now)


def name_column(priority: int = 0) -> Column:
    """The first column of almost every table."""
    return Column("Name", "string", _name, "name", priority, "Name must be unique within a namespace.")


def _column(name: str, cell: Any, priority: int = 0, kind: str = "string") -> Column:
    return Column(name, kind, cell, priority=priority)


_AGE: Final = _column("Age", _age)
CREATED_AT: Final = (
    name_column(),
    Column("Created At", "date", lambda obj, now: obj["metadata"].get("creationTimestamp")),
)
"""Columns of a kind that declares none."""


def _statuses(pod: Obj, field: str) -> list[Obj]:
    found = (pod.get("status") or {}).get(field) or []
    return [one for one in found if isinstance(one, dict)]


def _pod_ready(pod: Obj, _now: datetime) -> Any:
    statuses = _statuses(pod, "containerStatuses")
    running = sum(1 for s in statuses if s.get("ready") and "running" in (s.get("state") or {}))
    return f"{running}/{len((pod.get('spec') or {}).get('containers') or [])}"


def _pod_status(pod: Obj, _now: datetime) -> Any:
    status = pod.get("status") or {}
    reason = status.get("reason") or status.get("phase") or "Unknown"
    reason = _init_reason(pod) or _container_reason(pod, reason)
    if pod["metadata"].get("deletionTimestamp"):
        phase_done = status.get("phase") in ("Failed", "Succeeded")
        return reason if phase_done else "Terminating"
    return reason


def _terminated(state: Obj) -> str:
    if state.get("reason"):
        return str(state["reason"])
    return f"Signal:{state['signal']}" if state.get("signal") else f"ExitCode:{state.get('exitCode', 0)}"


def _init_reason(pod: Obj) -> str:
    total = len((pod.get("spec") or {}).get("initContainers") or [])
    for index, container in enumerate(_statuses(pod, "initContainerStatuses")):
        state = container.get("state") or {}
        if "terminated" in state:
            if state["terminated"].get("exitCode") == 0:
                continue
            return f"Init:{_terminated(state['terminated'])}"
        waiting = (state.get("waiting") or {}).get("reason", "")
        return f"Init:{waiting}" if waiting not in ("", "PodInitializing") else f"Init:{index}/{total}"
    return ""


def _container_reason(pod: Obj, reason: str) -> str:
    running = False
    for container in reversed(_statuses(pod, "containerStatuses")):
        state = container.get("state") or {}
        if (state.get("waiting") or {}).get("reason"):
            reason = state["waiting"]["reason"]
        elif "terminated" in state:
            reason = _terminated(state["terminated"])
        elif container.get("ready") and "running" in state:
            running = True
    if reason == "Completed" and running:
        return "Running"
    return reason


def _pod_restarts(pod: Obj, now: datetime) -> Any:
    statuses = _statuses(pod, "containerStatuses")
    count = sum(int(s.get("restartCount") or 0) for s in statuses)
    ends = [(s.get("lastState") or {}).get("terminated", {}).get("finishedAt") for s in statuses]
    moments = [moment for end in ends if end and (moment := parse_timestamp(end)) is not None]
    if not count or not moments:
        return str(count)
    return f"{count} ({human_duration(int((now - max(moments)).total_seconds()))} ago)"


def _at(*path: str, missing: str = NONE) -> Any:
    def cell(obj: Obj, _now: datetime) -> Any:
        value: Any = obj
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return missing if value in (None, "") else value

    return cell


def _readiness_gates(pod: Obj, _now: datetime) -> Any:
    gates = (pod.get("spec") or {}).get("readinessGates") or []
    if not gates:
        return NONE
    met = {
        c.get("type") for c in (pod.get("status") or {}).get("conditions") or [] if c.get("status") == "True"
    }
    return f"{sum(1 for gate in gates if gate.get('conditionType') in met)}/{len(gates)}"


def _node_status(node: Obj, _now: datetime) -> Any:
    ready = [c for c in (node.get("status") or {}).get("conditions") or [] if c.get("type") == "Ready"]
    words = [("Ready" if c.get("status") == "True" else "NotReady") for c in ready] or ["Unknown"]
    if (node.get("spec") or {}).get("unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _node_roles(node: Obj, _now: datetime) -> Any:
    prefix = "node-role.kubernetes.io/"
    labels = node["metadata"].get("labels") or {}
    roles = sorted(key[len(prefix) :] for key in labels if key.startswith(prefix) and key != prefix)
    return ",".join(roles) or NONE


def _address(kind: str) -> Any:
    def cell(node: Obj, _now: datetime) -> Any:
        addresses = (node.get("status") or {}).get("addresses") or []
        return next((a.get("address") for a in addresses if a.get("type") == kind), NONE)

    return cell


def _kernel(node: Obj, _now: datetime) -> Any:
    info = (node.get("status") or {}).get("nodeInfo") or {}
    version, architecture = info.get("kernelVersion"), info.get("architecture")
    if not version:
        return "<unknown>"
    return f"{version} ({architecture})" if architecture else version


def _event_source(event: Obj, _now: datetime) -> Any:
    source = event.get("source") or {}
    component = source.get("component") or event.get("reportingComponent") or ""
    host = source.get("host") or event.get("reportingInstance") or ""
    return f"{component}, {host}" if host else component


def _event_object(event: Obj, _now: datetime) -> Any:
    involved = event.get("involvedObject") or {}
    return f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"


def _last_seen(event: Obj, now: datetime) -> Any:
    first = _first_seen(event, now)
    series = event.get("series")
    if series:
        return f"{age(series.get('lastObservedTime'), now)} (x{series.get('count')} over {first})"
    last = event.get("lastTimestamp") or event.get("eventTime") or event.get("firstTimestamp")
    count = event.get("count") or 1
    return f"{age(last, now)} (x{count} over {first})" if count > 1 else age(last, now)


def _first_seen(event: Obj, now: datetime) -> Any:
    return age(event.get("firstTimestamp") or event.get("eventTime"), now)


def _event_count(event: Obj, _now: datetime) -> Any:
    return (event.get("series") or {}).get("count") or event.get("count") or 1


def _data_count(obj: Obj, _now: datetime) -> Any:
    return len(obj.get("data") or {}) + len(obj.get("binaryData") or {})


def _template(part: str) -> Any:
    def cell(obj: Obj, _now: datetime) -> Any:
        spec = (obj.get("template") or {}).get("spec") or {}
        return ",".join(str(c.get(part, "")) for c in spec.get("containers") or [])

    return cell


COLUMNS: Final[dict[str, tuple[Column, ...]]] = {
    "pods": (
        name_column(),
        _column("Ready", _pod_ready),
        _column("Status", _pod_status),
        _column("Restarts", _pod_restarts),
        _AGE,
        _column("IP", _at("status", "podIP"), 1),
        _column("Node", _at("spec", "nodeName"), 1),
        _column("Nominated Node", _at("status", "nominatedNodeName"), 1),
        _column("Readiness Gates", _readiness_gates, 1),
    ),
    "nodes": (
        name_column(),
        _column("Status", _node_status),
        _column("Roles", _node_roles),
        _AGE,
        _column("Version", _at("status", "nodeInfo", "kubeletVersion")),
        _column("Internal-IP", _address("InternalIP"), 1),
        _column("External-IP", _address("ExternalIP"), 1),
        _column("OS-Image", _at("status", "nodeInfo", "osImage", missing="<unknown>"), 1),
        _column("Kernel-Version", _kernel, 1),
        _column(
            "Container-Runtime", _at("status", "nodeInfo", "containerRuntimeVersion", missing="<unknown>"), 1
        ),
    ),
    "namespaces": (name_column(), _column("Status", _at("status", "phase", missing="")), _AGE),
    "events": (
        _column("Last Seen", _last_seen),
        _column("Type", _at("type", missing="")),
        _column("Reason", _at("reason", missing="")),
        _column("Object", _event_object),
        _column("Subobject", _at("involvedObject", "fieldPath", missing=""), 1),
        _column("Source", _event_source, 1),
        _column("Message", lambda event, now: str(event.get("message") or "").strip()),
        _column("First Seen", _first_seen, 1),
        _column("Count", _event_count, 1),
        name_column(1),
    ),
    "configmaps": (name_column(), _column("Data", _data_count), _AGE),
    "secrets": (
        name_column(),
        _column("Type", _at("type", missing="")),
        _column("Data", _data_count),
        _AGE,
    ),
    "serviceaccounts": (name_column(), _AGE),
    "podtemplates": (
        name_column(),
        _column("Containers", _template("name")),
        _column("Images", _template("image")),
        _column("Pod Labels", _at("template", "metadata", "labels")),
    ),
    "leases": (name_column(), _column("Holder", _at("spec", "holderIdentity", missing="")), _AGE),
}
