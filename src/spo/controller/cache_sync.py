"""Wait until caches are complete: before that nobody may conclude that an object is absent."""

import asyncio
from collections.abc import Iterable
from typing import Any

from spo import klog
from spo.errors import SpoError
from spo.kube.informer import Informer

log = klog.get("controller")


class CacheSyncError(SpoError):
    """The first lists did not arrive in time."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(timeout_s)
        self.timeout_s = timeout_s

    def __str__(self) -> str:
        return (
            f"no complete list of every watched kind within {self.timeout_s:g} s; the warnings before "
            "this line name the cause: is the API server reachable, are the CRDs and RBAC rules installed?"
        )


async def caches_synced(informers: Iterable[Informer[Any]], timeout_s: float) -> None:
    """Return when every informer has its first complete list.

    Raises:
        CacheSyncError: not within ``timeout_s``.
    """
    try:
        async with asyncio.timeout(timeout_s):
            for informer in informers:
                await informer.synced()
    except TimeoutError as error:
        raise CacheSyncError(timeout_s) from error
    log.info("Caches are synced")
