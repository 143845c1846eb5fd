"""Knobs of the pod runner, fixed at start."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeletSettings:
    """Where things are and how patient to be."""

    node_name: str
    """Kubernetes name of this node."""
    state: Path
    """Folder of this onenode; pods keep their volumes and logs below ``pods/``."""
    seccomp_root: Path
    """What ``localhostProfile`` is relative to."""
    instance: str
    """Unique id of this onenode; labels its containers."""
    host_ip: str = "127.0.0.1"
    """Reported as ``status.hostIP`` and as the address of pods in the node's network."""
    api_port: int = 6443
    """Port of the API server, for in-cluster clients."""
    api_address: str = "127.0.0.1"
    """Address under which pods in the node's network reach the API server."""
    bridge_api_address: str | None = None
    """Address under which the other pods reach it (gateway of the Podman bridge), if it listens there."""
    crash_backoff_s: float = 10.0
    """Wait before the second restart of a crashing container; doubles from there."""
    crash_backoff_max_s: float = 300.0
    """Longest wait between two restarts."""
    crash_reset_s: float = 600.0
    """A container that ran this long starts over with the first wait."""
    start_backoff_s: float = 1.0
    """Wait after a container could not be created; doubles from there."""
    start_backoff_max_s: float = 20.0
    """Longest wait between two tries to create."""
    volume_refresh_s: float = 60.0
    """How often ConfigMap, Secret and token files of running pods are brought up to date."""
    lease_renew_s: float = 30.0
    """How often the node's Lease is renewed."""

    @property
    def pods(self) -> Path:
        """Folder of the pods."""
        return self.state / "pods"

    def pod_folder(self, uid: str) -> Path:
        """Folder of one pod."""
        return self.pods / uid
