"""The pods of namespaces with bindings: followed only while there are any, one watch for each namespace."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from spo.api.core import PODS, Container, Pod
from spo.kube.client import KubeClient
from spo.kube.clock import Clock
from spo.kube.informer import Informer
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


class BoundPods:
    """Follows namespaces as it is told; :meth:`run` does the work."""

    def __init__(self, client: KubeClient, clock: Clock, changed: Callable[[str], None]) -> None:
        """Take what it works with.

        Args:
            changed: called with a namespace when its pods changed, and when they are known at last.
        """
        self._client = client
        self._clock = clock
        self._changed = changed
        self._wanted: frozenset[str] = frozenset()
        self._news: Final = asyncio.Event()
        self._followed: dict[str, tuple[Informer[WorkloadRecord], list[asyncio.Task[None]]]] = {}

    def follow(self, namespaces: Iterable[str]) -> None:
        """Follow these namespaces and no others."""
        wanted = frozenset(namespaces)
        if wanted != self._wanted:
            self._wanted = wanted
            self._news.set()

    def pods(self, namespace: str) -> list[WorkloadRecord] | None:
        """The pods of a namespace; ``None`` while they are not all known."""
        followed = self._followed.get(namespace)
        if followed is None or not followed[0].last_list_complete:
            return None
        return followed[0].cache.list(namespace)

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._news.clear()
                for namespace in self._followed.keys() - self._wanted:
                    for task in self._followed.pop(namespace)[1]:
                        task.cancel()
                for namespace in self._wanted - self._followed.keys():
                    self._begin(group, namespace)
                await self._news.wait()

    def _begin(self, group: asyncio.TaskGroup, namespace: str) -> None:
        informer: Informer[WorkloadRecord] = Informer(
            self._client, PODS, (namespace,), project=project_workload, clock=self._clock
        )
        informer.add_listener(lambda *_: self._changed(namespace))

        async def announce() -> None:
            await informer.synced()
            self._changed(namespace)

        tasks = [group.create_task(informer.run()), group.create_task(announce())]
        self._followed[namespace] = informer, tasks
