"""Finds out which workload a change is about, and looks at it again.

Nothing is polled: what needs another look at a known moment gets one timer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

from onenode.context import Context
from onenode.selectors import SelectorError, match_label_selector
from onenode.status import ApiError, RacedError
from onenode.store import StoreError
from onenode.watch import Event, Record
from onenode.workloads.daemon_sets import DAEMON_SETS, DaemonSets
from onenode.workloads.deployments import DEPLOYMENTS, Deployments
from onenode.workloads.jobs import JOBS, Jobs
from onenode.workloads.objects import Objects, controller_of
from onenode.workloads.replica_sets import REPLICA_SETS, ReplicaSets
from onenode.workloads.turns import Key, Turns

__all__ = ["Reconciler", "Workloads"]

Obj = dict[str, Any]

_LARGEST_WAIT_S: Final = 24 * 3600.0
_FIRST_RETRY_S: Final = 0.25
_LARGEST_RETRY_S: Final = 30.0
_log = logging.getLogger(__name__)


class Reconciler(Protocol):
    """Brings what belongs to one object into order."""

    async def reconcile(self, record: Record) -> float | None:
        """Look at the object; the seconds after which to look again without a change.

        Raises:
            ApiError: something was refused; it is tried again after a while.
        """


class Workloads:
    """The controller of all workload kinds."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._jobs = Jobs(Objects(context, "job-controller"))
        self._reconcilers: Mapping[str, Reconciler] = {
            DEPLOYMENTS: Deployments(Objects(context, "deployment-controller")),
            REPLICA_SETS: ReplicaSets(Objects(context, "replicaset-controller")),
            DAEMON_SETS: DaemonSets(Objects(context, "daemon-set-controller")),
            JOBS: self._jobs,
        }
        kinds = (context.registry.stored()[name] for name in self._reconcilers)
        self._by_kind = {(kind.group_version, kind.kind): kind.stored_as for kind in kinds}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._turns = Turns()
        self._failures: dict[Key, int] = {}

    def start(self) -> None:
        """Look at every workload."""
        for resource in self._reconcilers:
            self._look_at_all(resource)
        # Pods whose Job went while the server was down.
        for pod in self._store.records("pods"):
            for key in self._owners(pod):
                if self._store.record(*key) is None:
                    self._look(key)

    def handle(self, event: Event) -> None:
        """React to a change of a workload, of what belongs to it, and of what it needs."""
        record = event.record
        for key in dict.fromkeys(self._concerned(event)):
            self._look(key)
        if record.resource == "serviceaccounts" and event.type == "ADDED":
            # Pods that were refused for want of it can be made now.
            for resource in self._reconcilers:
                self._look_at_all(resource, record.namespace)
        elif record.resource == "nodes" and _matters_to_daemons(event):
            self._look_at_all(DAEMON_SETS)

    def _concerned(self, event: Event) -> Iterator[Key]:
        record = event.record
        if record.resource in self._reconcilers:
            yield (record.resource, *record.key)
        elif record.resource != "pods":
            return
        for one in (event.old_record, record):
            if one is not None:
                yield from self._owners(one)

    def _owners(self, record: Record) -> Iterator[Key]:
        owner = controller_of(record.view)
        namespace = record.namespace or ""
        if owner is not None:
            resource = self._by_kind.get((owner.get("apiVersion", ""), owner.get("kind", "")))
            if resource is not None:
                yield (resource, namespace, str(owner.get("name", "")))
            return
        # Nobody looks after it: whoever selects it may adopt it.
        labels = record.view["metadata"].get("labels")
        for resource in self._reconcilers if labels else ():
            for workload in self._store.records(resource, namespace):
                if _selects(workload.view, labels):
                    yield (resource, namespace, workload.name)

    def _look_at_all(self, resource: str, namespace: str | None = None) -> None:
        for record in self._store.records(resource, namespace):
            self._look((resource, *record.key))

    def _look(self, key: Key) -> None:
        self._turns.start(key, lambda: self._reconcile(key))

    async def _reconcile(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        resource, namespace, name = key
        record = self._store.record(resource, namespace, name)
        if record is None:
            self._failures.pop(key, None)
            if resource == JOBS:
                self._jobs.forget(namespace, name)
            return
        try:
            again_s = await self._reconcilers[resource].reconcile(record)
        except StoreError:
            # Somebody wrote in between: that write is an event of its own.
            return
        except RacedError:
            return
        except ApiError as error:
            if key not in self._failures:
                _log.warning(
                    "cannot reconcile %s namespace=%s name=%s error=%s", resource, namespace, name, error
                )
            again_s = self._back_off_s(key)
        else:
            self._failures.pop(key, None)
        if again_s is not None:
            self._look_later(key, again_s)

    def _back_off_s(self, key: Key) -> float:
        """Longer after each failure in a row: nothing tells when a webhook is there again."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        return min(_FIRST_RETRY_S * 2.0 ** min(count, 16), _LARGEST_RETRY_S)

    async def close(self) -> None:
        """End what waits."""
        for timer in self._timers.values():
            timer.cancel()
        await self._turns.close()

    def _look_later(self, key: Key, seconds: float) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            # Made outside of a server: its start looks at everything again.
            return
        self._timers[key] = loop.call_later(min(seconds, _LARGEST_WAIT_S), self._look, key)


def _matters_to_daemons(event: Event) -> bool:
    """Not every heartbeat of a node: only what it is and takes."""
    before = event.old_record
    if event.type != "MODIFIED" or before is None:
        return True
    old, new = before.view, event.record.view
    same_labels = old["metadata"].get("labels") == new["metadata"].get("labels")
    return not same_labels or old.get("spec") != new.get("spec")


def _selects(workload: Obj, labels: Obj | None) -> bool:
    try:
        return match_label_selector(workload["spec"].get("selector"), labels)
    except SelectorError:
        return False
