"""Records that wait until the daemon knows their container. Pure."""

from collections.abc import Callable
from typing import Final

from spo.audit.records import Record
from spo.rpc.log_enricher import MAX_ENTRIES, Wanted

MAX_CONTAINERS: Final = 1000
MAX_WAITING_RECORDS: Final = 50_000
MAX_WAITING_OF_CONTAINER: Final = 10_000
MAX_WAITING_TEXT: Final = 32 * 1024 * 1024
"""Characters in all of them: names of files and programs, which workloads choose."""
MAX_TEXT_OF_CONTAINER: Final = 8 * 1024 * 1024
WAITING_S: Final = 600.0
"""How long records wait for their container to become known; those of sandboxes wait in vain."""
_FIRST_PAUSE_S: Final = 0.25
_PAUSE_FACTOR: Final = 1.5
_LAST_PAUSE_S: Final = 10.0


class _Container:
    """A container that the daemon does not know yet."""

    __slots__ = ("ask_s", "expires_s", "pause_s", "pod_uid", "records", "text")

    def __init__(self, pod_uid: str | None, now_s: float) -> None:
        self.pod_uid = pod_uid
        self.ask_s = now_s
        self.pause_s = _FIRST_PAUSE_S
        self.expires_s = now_s + WAITING_S
        self.records: list[Record] = []
        self.text = 0
        """Characters in the records."""


class WaitingRoom:
    """Bounded.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiting: dict[str, _Container] = {}
        self._records = 0
        self._text = 0
        self.full = 0
        """Records that found no place to wait."""
        self.expired = 0
        """Records that waited in vain."""

    def wait(self, container_id: str, pod_uid: str | None, record: Record) -> bool:
        """Keep a record until :meth:`leave`; whether it is the first of its container."""
        waiting = self._waiting.get(container_id)
        first = waiting is None
        if waiting is None:
            if len(self._waiting) >= MAX_CONTAINERS:
                self.full += 1
                return False
            waiting = self._waiting[container_id] = _Container(pod_uid, self._clock())
        text = sum(len(value) for value in record if isinstance(value, str | bytes))
        if (
            len(waiting.records) >= MAX_WAITING_OF_CONTAINER
            or self._records >= MAX_WAITING_RECORDS
            or waiting.text + text > MAX_TEXT_OF_CONTAINER
            or self._text + text > MAX_WAITING_TEXT
        ):
            self.full += 1
        else:
            waiting.records.append(record)
            waiting.text += text
            self._records += 1
            self._text += text
        return first

    def due(self) -> list[Wanted]:
        """Which containers to ask for now; each is due again after a pause that grows."""
        now_s = self._clock()
        wanted: list[Wanted] = []
        for container_id, waiting in list(self._waiting.items()):
            if waiting.expires_s <= now_s:
                del self._waiting[container_id]
                self._records -= len(waiting.records)
                self._text -= waiting.text
                self.expired += len(waiting.records)
            elif waiting.ask_s <= now_s and len(wanted) < MAX_ENTRIES:
                waiting.ask_s = now_s + waiting.pause_s
                waiting.pause_s = min(waiting.pause_s * _PAUSE_FACTOR, _LAST_PAUSE_S)
                wanted.append(Wanted(container_id, waiting.pod_uid))
        return wanted

    def ask_all(self) -> None:
        """Ask at once for all that wait: there is a daemon again."""
        for waiting in self._waiting.values():
            waiting.ask_s = 0.0

    def next_due_s(self) -> float | None:
        """When :meth:`due` has something to give."""
        return min((min(one.ask_s, one.expires_s) for one in self._waiting.values()), default=None)

    def leave(self, container_id: str) -> list[Record]:
        """The container is known now: its records, in their order."""
        waiting = self._waiting.pop(container_id, None)
        if waiting is None:
            return []
        self._records -= len(waiting.records)
        self._text -= waiting.text
        return waiting.records

    @property
    def waiting_records(self) -> int:
        """How many records wait."""
        return self._records

    @property
    def first_serial(self) -> int | None:
        """The lowest of the first serial numbers of the containers that wait; ``None``: none does."""
        return min((one.records[0].serial for one in self._waiting.values() if one.records), default=None)
