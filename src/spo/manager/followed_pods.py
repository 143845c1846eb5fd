"""The pods of some namespaces: followed only while they are wanted, one watch for each namespace."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

from spo.api.core import PODS, Pod
from spo.kube.client import KubeClient
from spo.kube.clock import Clock
from spo.kube.informer import Informer

U = TypeVar("U")


class FollowedPods(Generic[U]):
    """Follows namespaces as it is told; :meth:`run` does the work."""

    def __init__(
        self,
        client: KubeClient,
        clock: Clock,
        changed: Callable[[str], None],
        project: Callable[[Pod], U | None],
    ) -> None:
        """Take what it works with.

        Args:
            changed: called with a namespace when its pods changed, and when they are known at last.
            project: what is kept of a pod; ``None``: nothing.
        """
        self._client = client
        self._clock = clock
        self._changed = changed
        self._project = project
        self._wanted: frozenset[str] = frozenset()
        self._news: Final = asyncio.Event()
        self._followed: dict[str, tuple[Informer[U], list[asyncio.Task[None]]]] = {}

    def follow(self, namespaces: Iterable[str]) -> None:
        """Follow these namespaces and no others."""
        wanted = frozenset(namespaces)
        if wanted != self._wanted:
            self._wanted = wanted
            self._news.set()

    def pods(self, namespace: str) -> list[U] | None:
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
        informer: Informer[U] = Informer(
            self._client, PODS, (namespace,), project=self._project, clock=self._clock
        )
        informer.add_listener(lambda *_: self._changed(namespace))

        async def announce() -> None:
            await informer.synced()
            self._changed(namespace)

        tasks = [group.create_task(informer.run()), group.create_task(announce())]
        self._followed[namespace] = informer, tasks
