"""Pods that are created while their profiles are deleted: who came first, and what became of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

from spo.api.core import PODS, Pod
from spo.api.seccomp_profile import SECCOMP_PROFILES
from spo.kube.client import KubeClient
from spo.kube.wire import Deleted, Modified
from spo.profiles.release import is_released


class Race:
    """Two clients of one namespace, and what a watch shows of the profiles meanwhile."""

    def __init__(self, pods: KubeClient, profiles: KubeClient, namespace: str) -> None:
        self._pods = pods
        self._profiles = profiles
        self._namespace = namespace
        self._deleted_at: dict[str, int] = {}
        self._created_at: dict[str, int] = {}
        self.released: set[str] = set()
        self.gone: set[str] = set()

    async def round(self, name: str, create_pod: Callable[[KubeClient], Awaitable[Pod]]) -> None:
        """Create the pod of a profile and delete the profile, both at once."""

        async def create() -> None:
            made = await create_pod(self._pods)
            self._created_at[name] = int(made.metadata.resource_version)

        async def delete() -> None:
            await self._profiles.delete(SECCOMP_PROFILES, name, self._namespace)

        # Whose request leaves first alternates; which of them the server takes first is its own affair.
        first, second = (create, delete) if len(self._created_at) % 2 else (delete, create)
        await asyncio.gather(first(), second())

    def pod_was_first(self, name: str) -> bool:
        """Whether the pod existed when the profile was deleted."""
        return self._created_at[name] < self._deleted_at[name]

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Take note of what happens to the profiles."""
        since = (await self._profiles.list_page(SECCOMP_PROFILES, self._namespace)).resource_version
        await self._pods.list_page(PODS, self._namespace)  # both connections are open
        watching = asyncio.create_task(self._watch(since))
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self, since: str) -> None:
        events = self._profiles.watch(
            SECCOMP_PROFILES, self._namespace, resource_version=since, timeout_s=600
        )
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Deleted):
                    self.gone.add(event.object.metadata.name)
                elif isinstance(event, Modified) and event.object.metadata.deletion_timestamp:
                    metadata = event.object.metadata
                    self._deleted_at.setdefault(metadata.name, int(metadata.resource_version))
                    if is_released(event.object):
                        self.released.add(metadata.name)

    def all_deletions_seen(self, names: list[str]) -> bool:
        """Whether the watch has shown every deletion."""
        return self._deleted_at.keys() >= set(names)
