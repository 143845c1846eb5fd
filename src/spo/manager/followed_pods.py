"""The pods of some namespaces, followed only while they are wanted."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from spo.api.core import PODS, Pod
from spo.kube.client import KubeClient
from spo.kube.clock import Clock
from spo.kube.informer import Informer

U = TypeVar("U")

MAX_WATCHES: Final = 64
"""Namespaces that have a watch each; with more, one watch serves all."""

COLLECT_S: Final = 1.0


class _Scope(NamedTuple):
    """What one informer is for."""

    watched: tuple[str, ...]
    """Namespaces to list and watch; empty: all."""
    kept: frozenset[str]
    """Namespaces whose pods are kept."""


class _Kept(NamedTuple, Generic[U]):
    """What is kept of a pod, and where the pod is."""

    namespace: str
    value: U


class FollowedPods(Generic[U]):
    """Follows namespaces as it is told; :meth:`run` does the work.

    A few namespaces have a watch each. Beyond :data:`MAX_WATCHES` one watch sees the pods of all and keeps
    those that matter; it starts anew when they become others.
    """

    def __init__(
        self,
        client: KubeClient,
        clock: Clock,
        changed: Callable[[str], None],
        project: Callable[[Pod], U | None],
        namespaces: Sequence[str] = (),
        *,
        max_watches: int = MAX_WATCHES,
    ) -> None:
        """Take what it works with.

        Args:
            changed: called with a namespace when its pods changed, and when they are known at last.
            project: what is kept of a pod; ``None``: nothing.
            namespaces: all that may be watched; none: every one.
        """
        self._client = client
        self._clock = clock
        self._changed = changed
        self._project = project
        self._namespaces = tuple(namespaces)
        self._max_watches = max_watches
        self._wanted: frozenset[str] = frozenset()
        self._news: Final = asyncio.Event()
        self._followed: dict[_Scope, list[asyncio.Task[None]]] = {}
        self._informers: dict[str, Informer[_Kept[U]]] = {}

    def follow(self, namespaces: Iterable[str]) -> None:
        """Follow these namespaces and no others."""
        wanted = frozenset(namespaces)
        if wanted != self._wanted:
            self._wanted = wanted
            self._news.set()

    def pods(self, namespace: str) -> list[U] | None:
        """The pods of a namespace; ``None`` while they are not all known."""
        informer = self._informers.get(namespace)
        if informer is None or not informer.last_list_complete:
            return None
        return [kept.value for kept in informer.cache.list(namespace)]

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._news.clear()
                scopes = self._scopes()
                for scope in self._followed.keys() - scopes:
                    self._end(scope)
                for scope in scopes - self._followed.keys():
                    self._begin(group, scope)
                await self._news.wait()
                if len(self._wanted) > self._max_watches:
                    # Each change means a list of all pods: collect a few.
                    await self._clock.sleep(COLLECT_S)

    def _scopes(self) -> set[_Scope]:
        if len(self._wanted) > self._max_watches:
            return {_Scope(self._namespaces, self._wanted)}
        return {_Scope((namespace,), frozenset({namespace})) for namespace in self._wanted}

    def _end(self, scope: _Scope) -> None:
        for task in self._followed.pop(scope):
            task.cancel()
        for namespace in scope.kept:
            self._informers.pop(namespace, None)

    def _begin(self, group: asyncio.TaskGroup, scope: _Scope) -> None:
        def keep(pod: Pod) -> _Kept[U] | None:
            namespace = pod.metadata.namespace or ""
            value = self._project(pod) if namespace in scope.kept else None
            return None if value is None else _Kept(namespace, value)

        def changed(old: _Kept[U] | None, new: _Kept[U] | None) -> None:
            if kept := new or old:
                self._changed(kept.namespace)

        informer: Informer[_Kept[U]] = Informer(
            self._client, PODS, scope.watched, project=keep, clock=self._clock
        )

        async def announce() -> None:
            await informer.synced()
            for namespace in scope.kept:
                self._changed(namespace)

        informer.add_listener(changed)
        self._followed[scope] = [group.create_task(informer.run()), group.create_task(announce())]
        self._informers |= dict.fromkeys(scope.kept, informer)
