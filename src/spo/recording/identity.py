"""Which container a task belongs to, by the names of the cgroups it is in.

Known layouts: runc, crun, containerd, CRI-O, Podman and Docker, with cgroupfs and systemd drivers, on v1 and
v2; nodes that are containers themselves (kind, k3d), containers in containers. Names are input from
workloads: a container can make cgroups below its own one, which is why the nearest name that a runtime gives
wins and nothing but well-formed ids is taken.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

_CONTAINER_ID: Final = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_POD_UID: Final = re.compile(
    # With - in cgroupfs names, with _ in systemd slices; 32 digits for static pods.
    r"(?:^|[-:/])pod((?:[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})|[0-9a-f]{32})(?![0-9a-f])"
)
_MONITOR: Final = "conmon"
_PODMAN_POD: Final = re.compile(r"libpod_pod_")
_PODMAN_PARENT: Final = "libpod_parent"
_MAX_NAME: Final = 255
"""NAME_MAX: no cgroup has a longer name."""


class ContainerIdentity(NamedTuple):
    """A container, and its pod if the kubelet made it."""

    container_id: str
    """64 hexadecimal digits."""
    pod_uid: str | None
    """As in ``metadata.uid``: with ``-``, or the 32 digits of a static pod."""


def container_of(cgroups: Sequence[str]) -> ContainerIdentity | None:
    """The container that cgroups belong to.

    Args:
        cgroups: names (not paths) of a cgroup and its ancestors, the leaf first. A few ancestors suffice.

    Returns:
        The nearest name with an id, and the pod uid at that name or above it, if no other container lies
        between. ``None`` for tasks of no container, for the monitors of Podman and CRI-O, and for what is
        in a pod's cgroup but in no container.
    """
    found: str | None = None
    for index, name in enumerate(cgroups):
        if len(name) > _MAX_NAME:
            continue
        container = _id_in(name, cgroups[index + 1] if index + 1 < len(cgroups) else "")
        if found is None:
            found = container
        elif container is not None:
            return ContainerIdentity(found, None)
        if found is not None and (pod := _POD_UID.search(name)):
            return ContainerIdentity(found, pod[1].replace("_", "-"))
    return None if found is None else ContainerIdentity(found, None)


def container_of_proc(text: str) -> ContainerIdentity | None:
    """The container of a task by the text of its ``/proc/<pid>/cgroup``: the first line that names one."""
    for names in _lines(text):
        identity = container_of(names)
        if identity is not None:
            return identity
    return None


def _id_in(name: str, parent: str) -> str | None:
    """The id of a container, not of its monitor or of a Podman pod."""
    match = _CONTAINER_ID.search(name)
    if match is None or _MONITOR in name or _PODMAN_POD.search(name):
        return None
    if parent == _PODMAN_PARENT and match[0] == name:
        return None  # a pod: Podman's containers have the prefix libpod-
    return match[0]


def _lines(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        _, _, path = line.partition(":")
        _, _, path = path.partition(":")
        yield [name for name in reversed(path.split("/")) if name]
