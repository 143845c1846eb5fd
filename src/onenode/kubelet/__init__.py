"""The pod runner: drives the pods bound to this node in Podman and reports their status.

``pod`` (typed view of a Pod), ``seccomp``, ``environment``, ``arguments``, ``plan`` and ``pod_status`` are
pure; ``podman``, ``volumes``, ``logs`` and ``cgroups`` do the I/O; ``worker`` drives one pod,
``kubelet`` all of them.
"""

from onenode.kubelet.kubelet import Kubelet
from onenode.kubelet.podman import Podman
from onenode.kubelet.settings import KubeletSettings

__all__ = ["Kubelet", "KubeletSettings", "Podman"]
