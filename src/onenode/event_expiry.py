"""Events are kept for an hour after their last change, as on a real server."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import Final

from onenode.store import Store
from onenode.watch import Event

__all__ = ["EventExpiry"]

_KEPT: Final = timedelta(hours=1)
_RESOURCE: Final = "events"


class EventExpiry:
    """The controller. It acts when Events are written: where none are, none need to go."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._written: deque[tuple[datetime, tuple[str, str], int]] = deque()
        """When, which, in which version; oldest first."""

    def start(self) -> None:
        """Count the hour of present Events from now: when they were written is not stored."""
        self._written.clear()
        for record in sorted(self._store.records(_RESOURCE), key=lambda one: one.revision):
            self._written.append((self._store.clock(), record.key, record.revision))

    def handle(self, event: Event) -> None:
        """Note a written Event, remove those whose hour is over."""
        record = event.record
        if record.resource != _RESOURCE or event.type == "DELETED":
            return
        now = self._store.clock()
        self._written.append((now, record.key, record.revision))
        while self._written and self._written[0][0] + _KEPT < now:
            _, (namespace, name), revision = self._written.popleft()
            current = self._store.record(_RESOURCE, namespace, name)
            # A later version has an entry of its own.
            if current is not None and current.revision == revision:
                self._store.delete_now(_RESOURCE, namespace, name)
