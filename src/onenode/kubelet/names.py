"""Labels and names of the containers this pod runner makes; all else in Podman is left alone."""

import re
from typing import Final

from onenode.kubelet.errors import ContainerConfigError

POD_NAME_LABEL: Final = "io.kubernetes.pod.name"
POD_NAMESPACE_LABEL: Final = "io.kubernetes.pod.namespace"
POD_UID_LABEL: Final = "io.kubernetes.pod.uid"
CONTAINER_NAME_LABEL: Final = "io.kubernetes.container.name"
"""The words that a real kubelet gives to its runtime; the operator's enricher and users look for them."""

INSTANCE_LABEL: Final = "onenode.instance"
"""Id of the onenode that owns the container; two of them share one Podman."""
ATTEMPT_LABEL: Final = "onenode.attempt"
"""How often the container was restarted before this start."""

SANDBOX_CONTAINER: Final = "POD"
"""Container name of the process that holds the pod's network; not a legal name for a user's container."""

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_UID = re.compile(r"[A-Za-z0-9][-A-Za-z0-9]{0,127}")


def check_pod_identity(namespace: str, name: str, uid: str) -> None:
    """Refuse names that could not have passed the API's validation: they become paths and arguments.

    Raises:
        ContainerConfigError: one of them is malformed.
    """
    if not _DNS_LABEL.fullmatch(namespace):
        raise ContainerConfigError(f"invalid namespace {namespace!r}")
    if not _DNS_NAME.fullmatch(name) or ".." in name:
        raise ContainerConfigError(f"invalid pod name {name!r}")
    if not _UID.fullmatch(uid):
        raise ContainerConfigError(f"invalid pod uid {uid!r}")


def check_label(what: str, name: str) -> None:
    """Refuse a container or volume name that is no DNS label.

    Raises:
        ContainerConfigError: it is malformed.
    """
    if not _DNS_LABEL.fullmatch(name):
        raise ContainerConfigError(f"invalid {what} name {name!r}")


def runtime_name(pod_name: str, namespace: str, uid: str, container: str, attempt: int) -> str:
    """Podman's name of a container, in the form that users know from other runtimes."""
    return f"k8s_{container}_{pod_name}_{namespace}_{uid}_{attempt}"
