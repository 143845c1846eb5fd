"""The pods of namespaces with bindings, followed only while there are any."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from spo.api.core import Container, Pod
from spo.kube.client import KubeClient
from spo.kube.clock import Clock
from spo.manager.followed_pods import MAX_WATCHES, FollowedPods
from spo.names import SECCOMP_POD_ANNOTATION

_FINISHED: Final = frozenset({"Succeeded", "Failed"})
_MIRROR_ANNOTATION: Final = "kubernetes.io/config.mirror"


class ContainerRecord(NamedTuple):
    """A container."""

    name: str
    image: str
    profile: str | None
    """Its own seccomp profile: the file for ``Localhost``, else empty; ``None`` if it has none."""


class WorkloadRecord(NamedTuple):
    """A pod, as far as bindings are concerned."""

    name: str
    created: str
    """RFC 3339."""
    labels: dict[str, str]
    containers: tuple[ContainerRecord, ...]
    bindable: bool
    """Whether a binding could have given it a profile: no profile of its own, not static, not over."""


def project_workload(pod: Pod) -> WorkloadRecord:
    """The record of a pod."""
    metadata, context = pod.metadata, pod.spec.security_context
    chosen = context is not None and context.seccomp_profile is not None
    out_of_reach = {SECCOMP_POD_ANNOTATION, _MIRROR_ANNOTATION} & metadata.annotations.keys()
    over = pod.status.phase in _FINISHED or metadata.deletion_timestamp is not None
    return WorkloadRecord(
        metadata.name,
        metadata.creation_timestamp or "",
        metadata.labels,
        tuple(_record(one) for one in (*pod.spec.init_containers, *pod.spec.containers)),
        not chosen and not out_of_reach and not over,
    )


def _record(container: Container) -> ContainerRecord:
    context = container.security_context
    profile = context.seccomp_profile if context else None
    return ContainerRecord(
        container.name, container.image, None if profile is None else profile.localhost_profile or ""
    )


class BoundPods(FollowedPods[WorkloadRecord]):
    """The pods of namespaces with bindings."""

    def __init__(
        self,
        client: KubeClient,
        clock: Clock,
        changed: Callable[[str], None],
        namespaces: Sequence[str] = (),
        *,
        max_watches: int = MAX_WATCHES,
    ) -> None:
        """Take what it works with; everything as for :class:`FollowedPods`."""
        super().__init__(client, clock, changed, project_workload, namespaces, max_watches=max_watches)
