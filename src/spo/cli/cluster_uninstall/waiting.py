"""Wait for objects to go."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from spo.api.resource import Resource
from spo.cli.cluster_uninstall.objects import Thing
from spo.errors import SpoError
from spo.kube.client import KubeClient
from spo.kube.errors import NotFoundError

POLL_S = 0.5


class StillThereError(SpoError):
    """An object does not go."""

    def __init__(self, kind: str, name: str, finalizers: list[str]) -> None:
        super().__init__(kind, name, finalizers)
        self.kind = kind
        self.name = name
        self.finalizers = finalizers

    def __str__(self) -> str:
        held = f"; it waits for {', '.join(self.finalizers)}" if self.finalizers else ""
        return f"{self.kind} {self.name} is still there{held}; run it again when it is gone"


async def patience(timeout_s: float, poll_s: float) -> AsyncIterator[None]:
    """Once at once, and again and again until the time is over."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    yield
    while loop.time() < end:
        await asyncio.sleep(poll_s)
        yield


async def gone(
    client: KubeClient, resource: Resource[Any], name: str, namespace: str | None, timeout_s: float
) -> None:
    """Wait until an object is gone.

    Raises:
        StillThereError: it is not, within this time.
    """
    kind: Resource[Thing] = Resource(
        resource.group, resource.version, resource.kind, resource.plural, resource.namespaced, Thing
    )
    finalizers: list[str] = []
    async for _ in patience(timeout_s, POLL_S):
        try:
            finalizers = (await client.get(kind, name, namespace)).metadata.finalizers
        except NotFoundError:
            return
    raise StillThereError(resource.kind, f"{namespace}/{name}" if namespace else name, finalizers)
