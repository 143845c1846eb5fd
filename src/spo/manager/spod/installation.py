"""What rendering must know beside the spod object."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from spo.names import OPERATOR_NAME, SPOD_NAME

_KERNEL_FILE_SYSTEMS: Final = ("/sys/", "/proc/")
_ROOT: Final = PurePosixPath("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Where and from what the DaemonSet runs."""

    image: str
    """Of all containers but selinuxd."""
    pull_policy: str = "IfNotPresent"
    """Of the same."""
    spod_name: str = SPOD_NAME
    """Name of the spod object, and so of the DaemonSet."""
    operator_namespace: str = OPERATOR_NAME
    namespaces: tuple[str, ...] = ()
    """Namespaces that the daemons watch; empty: all."""
    host_network: bool = False
    """The pods use the network of their node: where the API server can be reached from there only."""
    health_host: str = ""
    """Address that answers the probes; empty: all of the pod."""
    health_port: int = 8085
    """Port of the same."""
    metrics_host: str = ""
    """Address that serves metrics; empty: all of the pod."""
    metrics_port: int = 9443
    """Port of the same."""
    host_root: PurePosixPath = _ROOT
    """Where the part of a node begins that is ours; ``/`` unless several operators share one machine."""
    node_gate: bool = False
    """The pods put up with the taint of nodes that wait for their profiles."""
    selinuxd_image: str = ""
    """Image of selinuxd; empty: SELinux cannot be enabled."""

    def on_node(self, path: str) -> str:
        """Where a path lies on the node. What the kernel mounts is where it is.

        Containers see it under the same path, so that a symbolic link leads to the same place for everybody.
        """
        if self.host_root == _ROOT or f"{path}/".startswith(_KERNEL_FILE_SYSTEMS):
            return path
        return str(self.host_root / path.lstrip("/"))

    @property
    def shares_machine(self) -> bool:
        """Whether paths differ from the usual ones, so that processes have to be told."""
        return self.host_root != _ROOT or self.operator_namespace != OPERATOR_NAME
