"""Keeps Endpoints of each Service with a selector."""

from __future__ import annotations

import logging
from typing import Any, Final

from onenode.context import Context
from onenode.status import ApiError
from onenode.store import StoreError
from onenode.watch import Event, Record
from onenode.workloads.objects import Objects
from onenode.workloads.services import subsets_of
from onenode.workloads.turns import Turns

__all__ = ["ENDPOINTS", "SERVICES", "Endpoints"]

Obj = dict[str, Any]

SERVICES: Final = "services"
ENDPOINTS: Final = "endpoints"
_log = logging.getLogger(__name__)


class Endpoints:
    """The controller."""

    def __init__(self, context: Context) -> None:
        self._objects = Objects(context, "endpoint-controller")
        self._turns = Turns()

    def start(self) -> None:
        """Look at every Service."""
        for record in self._objects.records(SERVICES):
            self._look(record.namespace, record.name)

    def handle(self, event: Event) -> None:
        """React to Services, to their Endpoints, and to the pods that they select."""
        record = event.record
        if record.resource in (SERVICES, ENDPOINTS):
            if (record.resource, event.type) == (SERVICES, "DELETED"):
                key = (ENDPOINTS, record.namespace or "", record.name)
                self._turns.start(key, lambda: self._forget(record))
            self._look(record.namespace, record.name)
        elif record.resource == "pods":
            states = [one.view for one in (event.old_record, record) if one is not None]
            for service in self._objects.records(SERVICES, record.namespace):
                if any(_selects(service.view, pod) for pod in states):
                    self._look(service.namespace, service.name)

    async def close(self) -> None:
        """End what waits."""
        await self._turns.close()

    def _look(self, namespace: str | None, name: str) -> None:
        self._turns.start((SERVICES, namespace or "", name), lambda: self._look_at(namespace, name))

    async def _look_at(self, namespace: str | None, name: str) -> None:
        record = self._objects.record(SERVICES, namespace, name)
        if record is None or record.view["metadata"].get("deletionTimestamp"):
            return
        try:
            await self._reconcile(record)
        except StoreError:
            # Somebody wrote in between: that write is an event of its own.
            return
        except ApiError as error:
            # Most likely the namespace is going, and the Service with it.
            _log.info("cannot write endpoints namespace=%s name=%s error=%s", namespace, name, error.message)

    async def _reconcile(self, record: Record) -> None:
        if not record.view["spec"].get("selector"):
            # Without a selector they are the user's.
            return
        pods = [
            pod.view
            for pod in self._objects.records("pods", record.namespace)
            if _selects(record.view, pod.view) and not pod.view["metadata"].get("deletionTimestamp")
        ]
        subsets = subsets_of(record.view, pods)
        current = self._objects.record(ENDPOINTS, record.namespace, record.name)
        if current is None:
            await self._create(record, subsets)
            return
        obj = current.copy()
        if subsets:
            obj["subsets"] = subsets
        else:
            obj.pop("subsets", None)
        await self._objects.update(current, obj)

    async def _create(self, record: Record, subsets: list[Obj]) -> None:
        obj: Obj = {
            "kind": "Endpoints",
            "apiVersion": "v1",
            "metadata": {"name": record.name, "namespace": record.namespace},
        }
        if record.view["metadata"].get("labels"):
            obj["metadata"]["labels"] = dict(record.view["metadata"]["labels"])
        if subsets:
            obj["subsets"] = subsets
        await self._objects.create(ENDPOINTS, record.namespace, obj)

    async def _forget(self, service: Record) -> None:
        """The Service is gone: so are the Endpoints that were made for it."""
        current = self._objects.record(ENDPOINTS, service.namespace, service.name)
        if current is None or not service.view["spec"].get("selector"):
            return
        try:
            await self._objects.delete(current)
        except (ApiError, StoreError) as error:
            _log.info("cannot delete endpoints namespace=%s name=%s error=%s", *service.key, error)


def _selects(service: Obj, pod: Obj) -> bool:
    selector = service["spec"].get("selector")
    return bool(selector) and selector.items() <= (pod["metadata"].get("labels") or {}).items()
