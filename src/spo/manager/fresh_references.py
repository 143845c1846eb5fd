"""Which profiles pods reference *after now*: a list shared by all deletions that wait for one."""

import asyncio
from collections.abc import Awaitable, Callable

from spo.api.core import PODS
from spo.kube.client import KubeClient
from spo.kube.errors import UnreadableObjectError
from spo.profiles.paths import ProfileKey, referenced_profiles

References = frozenset[ProfileKey]


class FreshReferences:
    """Answers with a list that was begun after the question was asked.

    A list may be long and many profiles may be deleted at once: whoever asks while a list is under way
    waits for the next one, together with everybody else who asks meanwhile.
    """

    def __init__(self, list_references: Callable[[], Awaitable[References]]) -> None:
        self._list = list_references
        self._current: asyncio.Task[References] | None = None
        self._next: asyncio.Task[References] | None = None

    async def after_now(self) -> References:
        """Files that pods reference; what was created before the call is in it."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._current))
        # The list is not only for this caller: cancelling it must not cancel the list.
        return await asyncio.shield(self._next)

    async def _after(self, previous: "asyncio.Task[References] | None") -> References:
        if previous is not None:
            await asyncio.wait({previous})
        self._current, self._next = self._next, None
        return await self._list()


async def list_references(client: KubeClient, namespaces: tuple[str, ...]) -> References:
    """Files that the pods of these namespaces (none: all) reference now; keeps one page at a time."""
    found: set[ProfileKey] = set()
    for namespace in namespaces or (None,):
        continue_: str | None = None
        while continue_ is None or continue_:
            page = await client.list_page(PODS, namespace, continue_=continue_)
            for pod in page.items:
                found.update(referenced_profiles(pod))
            if page.unreadable:
                first = page.unreadable[0]
                raise UnreadableObjectError(
                    PODS.kind, first.metadata.namespace, first.metadata.name, first.problem
                )
            continue_ = page.continue_
    return frozenset(found)
