"""The controllers of the server: each looks at every change, in order, and writes what follows from it.

They run in the process of the API server on its store. A controller only reacts to what is stored, so a
restart loses nothing: ``start`` looks at everything once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, Protocol

from onenode.account_secrets import AccountSecrets
from onenode.authorization.aggregation import ClusterRoles
from onenode.context import Context
from onenode.definitions import Definitions
from onenode.event_expiry import EventExpiry
from onenode.garbage import GarbageCollector
from onenode.namespaces import Namespaces
from onenode.pod_gc import PodGc
from onenode.scheduler import Scheduler
from onenode.service_accounts import ServiceAccounts
from onenode.store import StoreError, Watch
from onenode.watch import Event, SlowWatcherError
from onenode.workloads.controller import Workloads
from onenode.workloads.endpoints import Endpoints

__all__ = ["Controller", "Controllers"]

_TURNS: Final = 100
"""How often a write gives the controllers a chance before it is answered nevertheless."""
_log = logging.getLogger(__name__)


class Controller(Protocol):
    """Reacts to changes."""

    def start(self) -> None:
        """Look at everything that is stored."""

    def handle(self, event: Event) -> None:
        """Look at one change; the store may be further already."""


class Controllers:
    """Feeds the controllers."""

    def __init__(self, context: Context, ca_text: str = "") -> None:
        self._store = context.store
        self._workloads, self._endpoints = Workloads(context), Endpoints(context)
        self._pod_gc = PodGc(context.store)
        self._controllers: Sequence[Controller] = (
            Definitions(context.store, context.registry),
            ClusterRoles(context.store),
            ServiceAccounts(context.store, ca_text),
            AccountSecrets(context.auth, ca_text),
            self._workloads,
            self._endpoints,
            Scheduler(context.store),
            self._pod_gc,
            GarbageCollector(context.store, context.registry),
            Namespaces(context.store, context.registry),
            EventExpiry(context.store),
        )
        self._watch: Watch | None = None

    def start(self) -> None:
        """Bring everything into order, before the first request."""
        self._watch = self._store.watch(None)
        for controller in self._controllers:
            controller.start()

    async def run(self) -> None:
        """React to changes until cancelled."""
        if self._watch is None:
            self.start()
        else:
            # Timers and webhooks need the event loop, which was not there at the start.
            self._workloads.start()
            self._endpoints.start()
            self._pod_gc.start()
        while True:
            try:
                await self._follow()
            except SlowWatcherError:
                _log.warning("controllers fell behind; looking at everything again")
                self.start()

    async def close(self) -> None:
        """End what waits."""
        await self._workloads.close()
        await self._endpoints.close()
        self._pod_gc.close()

    async def catch_up(self) -> None:
        """Let the controllers look at what is written by now.

        So a client that made a Namespace can make pods in it at once, and objects of a new definition.
        """
        for _ in range(_TURNS):
            if self._watch is None or not self._watch.pending:
                return
            await asyncio.sleep(0)

    async def _follow(self) -> None:
        watch = self._watch
        if watch is None:
            return
        try:
            async for event in watch:
                for controller in self._controllers:
                    _handle(controller, event)
        finally:
            watch.close()


def _handle(controller: Controller, event: Event) -> None:
    try:
        controller.handle(event)
    except StoreError:
        # Somebody wrote in between: that write is an event of its own.
        return
    except Exception:
        # One odd object must not stop the server; the log says which.
        _log.exception(
            "controller failed: %s, %s %s",
            type(controller).__name__,
            event.record.resource,
            event.record.key,
        )
