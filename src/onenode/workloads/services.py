"""Service: a name for pods, and Endpoints that list the ready ones.

Stored and filled in only: nothing on this node forwards traffic to a cluster address.
"""

from __future__ import annotations

import random
from datetime import datetime
from typing import Any, Final

from onenode import causes
from onenode.causes import Cause
from onenode.cells import name_column
from onenode.durations import age
from onenode.registry import Column
from onenode.workloads.templates import format_selector

__all__ = [
    "ENDPOINTS_COLUMNS",
    "SERVICE_COLUMNS",
    "default_service",
    "prepare_service",
    "subsets_of",
    "update_service",
    "validate_service",
]

Obj = dict[str, Any]

_NONE: Final = "<none>"
_HEADLESS: Final = "None"
_LARGEST_PORT: Final = 65535
_SHOWN_ENDPOINTS: Final = 3
_random = random.SystemRandom()


def default_service(obj: Obj) -> None:
    """Fill in what a Service leaves open."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    spec.setdefault("internalTrafficPolicy", "Cluster")
    for port in spec.get("ports") or []:
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))


def prepare_service(obj: Obj) -> None:
    """Give it an address, unless it wants none."""
    spec = obj["spec"]
    obj["status"] = {"loadBalancer": {}}
    if spec["type"] != "ClusterIP":
        return
    if not spec.get("clusterIP"):
        # 10.96.0.0/12, as kubeadm chooses: nothing is routed there, so two may share one without harm.
        host = _random.randrange(1, 1 << 20)
        spec["clusterIP"] = f"10.{96 + (host >> 16)}.{host >> 8 & 255}.{host & 255}"
    spec["clusterIPs"] = [spec["clusterIP"]]
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")


def update_service(obj: Obj, old: Obj) -> None:
    """What was given at creation stays if a client leaves it out."""
    for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if name in old["spec"]:
            obj["spec"].setdefault(name, old["spec"][name])


def validate_service(obj: Obj, old: Obj | None) -> list[Cause]:
    """Causes about a Service."""
    spec = obj["spec"]
    found: list[Cause] = []
    if spec["type"] != "ClusterIP":
        found.append(causes.not_supported("spec.type", spec["type"], ("ClusterIP",)))
    ports = spec.get("ports") or []
    if not ports and spec.get("clusterIP") != _HEADLESS:
        found.append(causes.required("spec.ports"))
    for index, port in enumerate(ports):
        field = f"spec.ports[{index}]"
        if not 1 <= (port.get("port") or 0) <= _LARGEST_PORT:
            text = "must be between 1 and 65535, inclusive"
            found.append(causes.invalid(f"{field}.port", port.get("port") or 0, text))
        if len(ports) > 1 and not port.get("name"):
            found.append(causes.required(f"{field}.name"))
    if old is not None and spec.get("clusterIP") != old["spec"].get("clusterIP"):
        found.append(causes.invalid("spec.clusterIPs[0]", spec.get("clusterIPs"), "may not change once set"))
    return found


def subsets_of(service: Obj, pods: list[Obj]) -> list[Obj]:
    """The ``subsets`` of the Endpoints: pods with the same ports together, the ready and the others apart."""
    groups: dict[str, Obj] = {}
    for pod in pods:
        status = pod.get("status") or {}
        if not status.get("podIP") or status.get("phase") in ("Succeeded", "Failed"):
            continue
        ports = _ports(service["spec"].get("ports") or [], pod)
        subset = groups.setdefault(causes.go_json(ports), {"ports": ports})
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or [])
        subset.setdefault("addresses" if ready else "notReadyAddresses", []).append(_address(pod))
    subsets = list(groups.values())
    for subset in subsets:
        if not subset["ports"]:
            del subset["ports"]
    return subsets


def _address(pod: Obj) -> Obj:
    metadata = pod["metadata"]
    return {
        "ip": pod["status"]["podIP"],
        "nodeName": pod["spec"].get("nodeName"),
        "targetRef": {
            "kind": "Pod",
            "namespace": metadata.get("namespace"),
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
    }


def _ports(wanted: list[Obj], pod: Obj) -> list[Obj]:
    """The service's ports as numbers of this pod; one whose name the pod does not know is left out."""
    found: list[Obj] = []
    known = {
        (port.get("name"), port.get("protocol")): port.get("containerPort")
        for container in pod["spec"].get("containers") or []
        for port in container.get("ports") or []
    }
    for port in wanted:
        target = port.get("targetPort")
        number = target if isinstance(target, int) else known.get((target, port.get("protocol")))
        if number is not None:
            name = {"name": port["name"]} if port.get("name") else {}
            found.append({**name, "port": number, "protocol": port.get("protocol")})
    return found


def _service_ports(service: Obj, _now: datetime) -> Any:
    ports = service["spec"].get("ports") or []
    return ",".join(f"{port['port']}/{port['protocol']}" for port in ports) or _NONE


def _external(service: Obj, _now: datetime) -> Any:
    return ",".join(service["spec"].get("externalIPs") or []) or _NONE


def _endpoints(endpoints: Obj, _now: datetime) -> Any:
    shown = [
        f"{address['ip']}:{port['port']}" if port else address["ip"]
        for subset in endpoints.get("subsets") or []
        for port in subset.get("ports") or [None]
        for address in subset.get("addresses") or []
    ]
    more = len(shown) - _SHOWN_ENDPOINTS
    text = ",".join(shown[:_SHOWN_ENDPOINTS])
    return f"{text} + {more} more..." if more > 0 else text or _NONE


def _age(obj: Obj, now: datetime) -> Any:
    return age(obj["metadata"].get("creationTimestamp"), now)


def _selector(obj: Obj, _now: datetime) -> Any:
    return format_selector({"matchLabels": obj["spec"].get("selector") or {}}) or _NONE


SERVICE_COLUMNS: Final = (
    name_column(),
    Column("Type", "string", lambda obj, _now: obj["spec"].get("type")),
    Column("Cluster-IP", "string", lambda obj, _now: obj["spec"].get("clusterIP") or _NONE),
    Column("External-IP", "string", _external),
    Column("Port(s)", "string", _service_ports),
    Column("Age", "string", _age),
    Column("Selector", "string", _selector, priority=1),
)
ENDPOINTS_COLUMNS: Final = (
    name_column(),
    Column("Endpoints", "string", _endpoints),
    Column("Age", "string", _age),
)
