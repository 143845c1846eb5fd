"""What a webhook decides about a pod, and how a pod is read and patched for it. Pure."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from spo.api.admission import AdmittedContainer, AdmittedPod, PatchOperation
from spo.names import SECCOMP_POD_ANNOTATION

_MIRROR_ANNOTATION: Final = "kubernetes.io/config.mirror"
MAX_WARNINGS: Final = 16
"""The API server cuts off what is more than 4 KiB in total."""


class Decision(NamedTuple):
    """What becomes of a pod; nothing at all by default."""

    patch: tuple[PatchOperation, ...] = ()
    warnings: tuple[str, ...] = ()
    """Shown to whoever creates the pod."""
    refusal: str = ""
    """Why the pod must not be created; empty: it may."""
    missing: tuple[str, ...] = ()
    """Profiles that the refusal is about."""


UNCHANGED: Final = Decision()


class Place(NamedTuple):
    """A container and where it is in the pod."""

    path: str
    """JSON Pointer, such as ``/spec/containers/0``."""
    container: AdmittedContainer


def started_containers(pod: AdmittedPod) -> Iterator[Place]:
    """The containers that start with the pod: init containers first, as they run."""
    yield from _places("initContainers", pod.spec.init_containers)
    yield from _places("containers", pod.spec.containers)


def new_ephemeral_containers(pod: AdmittedPod, old: AdmittedPod | None) -> Iterator[Place]:
    """Ephemeral containers that the old pod does not have; the others can no longer be changed."""
    present = {one.name for one in (old.spec.ephemeral_containers or ())} if old else set()
    for place in _places("ephemeralContainers", pod.spec.ephemeral_containers):
        if place.container.name not in present:
            yield place


def is_out_of_reach(pod: AdmittedPod, *, by_node: bool) -> bool:
    """Whether nothing that we could patch has an effect: Windows, or the mirror of a static pod.

    Args:
        by_node: a kubelet creates the pod; from anybody else the annotation of a mirror means nothing.
    """
    windows = pod.spec.os is not None and pod.spec.os.name == "windows"
    return windows or (by_node and _MIRROR_ANNOTATION in (pod.metadata.annotations or {}))


def has_own_profile(container: AdmittedContainer) -> bool:
    """Whether the user chose a seccomp profile for the container."""
    context = container.security_context
    return context is not None and context.seccomp_profile is not None


def has_pod_profile(pod: AdmittedPod) -> bool:
    """Whether the user chose a seccomp profile for the whole pod, be it by the annotation of old clusters."""
    context = pod.spec.security_context
    chosen = context is not None and context.seccomp_profile is not None
    return chosen or SECCOMP_POD_ANNOTATION in (pod.metadata.annotations or {})


def is_privileged(container: AdmittedContainer) -> bool:
    """Whether runtimes will ignore its seccomp profile."""
    return container.security_context is not None and bool(container.security_context.privileged)


def set_in_context(place: Place, fields: dict[str, Any]) -> tuple[PatchOperation, ...]:
    """Operations that set fields of the container's security context, which may be absent."""
    base = f"{place.path}/securityContext"
    if place.container.security_context is None:
        return (PatchOperation(path=base, value=fields),)
    return tuple(PatchOperation(path=f"{base}/{key}", value=value) for key, value in fields.items())


def localhost(path: str) -> dict[str, str]:
    """The seccompProfile that names a file."""
    return {"type": "Localhost", "localhostProfile": path}


def _places(field: str, containers: list[AdmittedContainer] | None) -> Iterator[Place]:
    for index, container in enumerate(containers or ()):
        yield Place(f"/spec/{field}/{index}", container)
