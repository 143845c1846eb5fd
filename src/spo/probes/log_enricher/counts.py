"""What has to be told to the daemon: how often each container did what. Pure."""

from typing import Final

from spo.probes.log_enricher.calls import CallBook
from spo.rpc.log_enricher import MAX_ENTRIES, AppArmorCount, Count, Losses, SeccompCount, SelinuxCount

MAX_KEYS: Final = 20_000
"""Different entries that wait for the daemon; from there on all executables are one."""
OTHER: Final = "other"

Entry = SeccompCount | SelinuxCount | AppArmorCount
Key = tuple[object, ...]


class Counts:
    """Adds up, cuts into batches, keeps a batch until it is acknowledged.

    Args:
        session: of this process; random.
        began_ms: since when records are added, in milliseconds since the Unix epoch.
    """

    def __init__(self, session: str, began_ms: int = 0) -> None:
        self._session = session
        self._began_ms = began_ms
        self._number = 0
        self._waiting: dict[Key, int] = {}
        self._unanswered: Count | None = None
        self._told = Losses()
        self._is_announced = False
        self._first_serial: int | None = 0
        self._through_serial = 0
        self.calls: Final = CallBook()
        """What recordings are made of; goes with the counts."""
        self.merged = 0
        """Records that were counted under the executable :data:`OTHER`."""

    def add(self, key: Key, count: int) -> None:
        """Count.

        Args:
            key: class of the entry, and its fields but for the last, ``count``.
        """
        if key not in self._waiting and len(self._waiting) >= MAX_KEYS:
            # The executable is the one field that a workload can make up without end.
            key = (*key[:_EXECUTABLE], OTHER, *key[_EXECUTABLE + 1 :])
            self.merged += count
        self._waiting[key] = self._waiting.get(key, 0) + count

    def reached(self, first_serial: int | None, through_serial: int) -> None:
        """How far the records are that were added; see :class:`spo.rpc.log_enricher.Count`."""
        self._first_serial = first_serial
        self._through_serial = through_serial

    def connected(self) -> None:
        """There is a daemon, which may be another one than before."""
        self._is_announced = False
        self.calls.tell_all()

    def batch(self, losses: Losses) -> Count | None:
        """What to send: the last batch again, if there was no answer; ``None``: there is nothing new."""
        if self._unanswered is not None:
            return self._unanswered
        if self._is_announced and not self.is_waiting and losses == self._told:
            return None
        keys = list(self._waiting)[:MAX_ENTRIES]
        entries = [_entry(key, self._waiting.pop(key)) for key in keys]
        seen = self.calls.take()
        self._number += 1
        self._told = losses
        self._is_announced = True
        through = 0 if self.calls.has_news else self._through_serial
        self._unanswered = Count(
            self._session,
            self._number,
            entries,
            losses,
            seen,
            self._first_serial,
            self._began_ms,
            through,
        )
        return self._unanswered

    def acknowledged(self) -> None:
        """The last batch has arrived."""
        self._unanswered = None

    @property
    def is_waiting(self) -> bool:
        """There is more to send than the last batch."""
        return bool(self._waiting) or self.calls.has_news

    @property
    def is_told(self) -> bool:
        """Everything has arrived."""
        return self._unanswered is None and not self.is_waiting


_EXECUTABLE: Final = 5  # place in the key: class, id, namespace, pod, container, executable


def _entry(key: Key, count: int) -> Entry:
    kind, container_id, namespace, pod, container, executable, *rest = key
    make: type[Entry] = kind  # type: ignore[assignment] # the first of a key is always its class
    return make(container_id, namespace, pod, container, executable, count, *rest)  # type: ignore[arg-type] # as above
