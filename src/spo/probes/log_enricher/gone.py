"""Records of processes that had ended before anybody looked: the recorder may have seen them. Pure."""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from spo.audit.records import Record
from spo.rpc.log_enricher import MAX_ENTRIES

MAX_RECORDS: Final = 5_000
WAITING_S: Final = 1.0
"""The recorder tells of a process within milliseconds of its first call."""
_PAUSE_S: Final = 0.2


class Gone(NamedTuple):
    """A record that waits."""

    record: Record
    is_of_host: bool
    """All that is known: it was started by a process that runs in no container, as a runtime does."""
    expires_s: float


class GoneProcesses:
    """Bounded.

    Args:
        lineage: gives these processes and those that may tell where they were.
        clock: seconds that never go back.
    """

    def __init__(self, lineage: Callable[[Iterable[int]], list[int]], clock: Callable[[], float]) -> None:
        self._lineage = lineage
        self._clock = clock
        self._waiting: list[Gone] = []
        self._ask_s = 0.0

    def wait(self, record: Record, *, is_of_host: bool) -> bool:
        """Keep a record for a while; ``False``: there is no place."""
        if len(self._waiting) >= MAX_RECORDS:
            return False
        now_s = self._clock()
        if not self._waiting:
            self._ask_s = now_s
        self._waiting.append(Gone(record, is_of_host, now_s + WAITING_S))
        return True

    def due(self) -> list[int]:
        """Which processes to ask for now; due again after a pause."""
        now_s = self._clock()
        if not self._waiting or now_s < self._ask_s:
            return []
        self._ask_s = now_s + _PAUSE_S
        return self._lineage(dict.fromkeys(one.record.pid for one in self._waiting))[:MAX_ENTRIES]

    def next_due_s(self) -> float | None:
        """When there is something to ask, or to give up."""
        return min(self._ask_s, self._waiting[0].expires_s) if self._waiting else None

    def take_all(self) -> list[Gone]:
        """All that wait: something was learned."""
        taken, self._waiting = self._waiting, []
        return taken

    def take_expired(self) -> list[Gone]:
        """Those that have waited in vain."""
        now_s = self._clock()
        if not self._waiting or now_s < self._waiting[0].expires_s:
            return []
        over = [one for one in self._waiting if one.expires_s <= now_s]
        del self._waiting[: len(over)]
        return over

    def put_back(self, gone: Gone) -> None:
        """It is still unknown."""
        self._waiting.append(gone)

    @property
    def first_serial(self) -> int | None:
        """The lowest serial number that waits; ``None``: none does."""
        return min((one.record.serial for one in self._waiting), default=None)
