"""Serial numbers of audit events: what is missing, what came twice. Pure."""

from collections import deque
from typing import Final

_SETTLE_S: Final = 0.5
"""Processors overtake each other: a number that is missing may still come."""
_RESTART: Final = 1 << 20
"""Such a jump is another boot, not a loss."""
_MAX_RANGES: Final = 1024
_MAX_REMEMBERED: Final = 1 << 16


class _Missing:
    __slots__ = ("came", "due_s", "first", "last")

    def __init__(self, first: int, last: int, due_s: float) -> None:
        self.first, self.last, self.due_s, self.came = first, last, due_s, 0


class Gaps:
    """Counts the numbers that never came."""

    def __init__(self) -> None:
        self.first = 0
        """The one that came first; 0: none."""
        self.last = 0
        """Highest number so far; 0: none."""
        self.lost = 0
        self._missing: deque[_Missing] = deque()

    def add(self, serial: int, now_s: float) -> None:
        """A record of the event ``serial`` has come."""
        last = self.last
        if serial == last + 1 or not last or abs(serial - last) > _RESTART:
            self.first = self.first or serial
            self.last = serial
        elif serial > last:
            self.last = serial
            self._missing.append(_Missing(last + 1, serial - 1, now_s + _SETTLE_S))
            if len(self._missing) > _MAX_RANGES:
                self._close(self._missing.popleft())
        elif serial < last:
            for missing in self._missing:
                if missing.first <= serial <= missing.last:
                    missing.came += 1

    def settle(self, now_s: float) -> None:
        """Count what is overdue."""
        while self._missing and self._missing[0].due_s <= now_s:
            self._close(self._missing.popleft())

    @property
    def is_settled(self) -> bool:
        """Nothing that is missing may still come."""
        return not self._missing

    def _close(self, missing: _Missing) -> None:
        self.lost += max(0, missing.last - missing.first + 1 - missing.came)


class Duplicates:
    """Remembers the last records, so that one that two sources report is taken once."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._order: deque[int] = deque()

    def is_new(self, record: tuple[object, ...]) -> bool:
        """Whether no equal record came before; time and serial make those of other events differ."""
        mark = hash(record)
        if mark in self._seen:
            return False
        self._seen.add(mark)
        self._order.append(mark)
        if len(self._order) > _MAX_REMEMBERED:
            self._seen.discard(self._order.popleft())
        return True
