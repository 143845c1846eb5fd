"""The Node object and its Lease."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from onenode.kubelet.settings import KubeletSettings
from onenode.kubelet.state import timestamp

KUBELET_VERSION: Final = "v1.36.0+onenode"
LEASE_DURATION_S: Final = 120
_MAX_PODS: Final = 110
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_OS_RELEASE: Final = Path("/etc/os-release")

Obj = dict[str, Any]


def memory_bytes() -> int:
    """Memory of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def node_object(settings: KubeletSettings, stored: Obj | None, podman_version: str, now_s: float) -> Obj:
    """The Node as it should be; labels, taints and annotations that others set stay.

    Args:
        settings: of this kubelet.
        stored: as the API has it, or ``None``.
        podman_version: for ``nodeInfo``.
        now_s: seconds since the epoch.
    """
    node: Obj = stored or {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {"name": settings.node_name},
        "spec": {},
        "status": {},
    }
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    metadata = node["metadata"]
    metadata["labels"] = {
        **(metadata.get("labels") or {}),
        "beta.kubernetes.io/arch": architecture,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": architecture,
        "kubernetes.io/hostname": settings.node_name,
        "kubernetes.io/os": "linux",
    }
    before = {item.get("type"): item for item in (node.get("status") or {}).get("conditions") or ()}
    capacity = {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{memory_bytes() // 1024}Ki",
        "pods": str(_MAX_PODS),
    }
    node["status"] = {
        **(node.get("status") or {}),
        "capacity": capacity,
        "allocatable": capacity,
        "conditions": _conditions(before, now_s),
        "addresses": [
            {"type": "InternalIP", "address": settings.host_ip},
            {"type": "Hostname", "address": settings.node_name},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
        "nodeInfo": _node_info(architecture, podman_version),
    }
    return node


def lease_object(settings: KubeletSettings, stored: Obj | None, node: Obj, now_s: float) -> Obj:
    """The node's Lease, renewed."""
    lease: Obj = stored or {
        "kind": "Lease",
        "apiVersion": "coordination.k8s.io/v1",
        "metadata": {
            "name": settings.node_name,
            "namespace": "kube-node-lease",
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Node",
                    "name": settings.node_name,
                    "uid": node["metadata"]["uid"],
                }
            ],
        },
    }
    lease["spec"] = {
        "holderIdentity": settings.node_name,
        "leaseDurationSeconds": LEASE_DURATION_S,
        "renewTime": timestamp(now_s).replace("Z", ".000000Z"),
    }
    return lease


def _conditions(before: Mapping[str, Obj], now_s: float) -> list[Obj]:
    wanted = (
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    )
    conditions = []
    for kind, value, reason, message in wanted:
        old = before.get(kind) or {}
        changed = old.get("status") != value
        conditions.append(
            {
                "type": kind,
                "status": value,
                "lastHeartbeatTime": timestamp(now_s),
                "lastTransitionTime": timestamp(now_s) if changed else old.get("lastTransitionTime"),
                "reason": reason,
                "message": message,
            }
        )
    return conditions


def _node_info(architecture: str, podman_version: str) -> Obj:
    return {
        "machineID": _read("/etc/machine-id"),
        "systemUUID": "",
        "bootID": _read("/proc/sys/kernel/random/boot_id"),
        "kernelVersion": platform.release(),
        "osImage": _os_name(),
        "containerRuntimeVersion": f"podman://{podman_version}",
        "kubeletVersion": KUBELET_VERSION,
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": architecture,
    }


def _os_name() -> str:
    for line in _read(str(_OS_RELEASE)).splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "Linux"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
