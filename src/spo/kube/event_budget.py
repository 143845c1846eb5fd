"""How many events one object may cause: editing a bad object in a loop must not flood the API server."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

_MAX_SOURCES: Final = 4096


class EventBudget:
    """A burst for each source, refilled slowly; the numbers are those of client-go."""

    def __init__(self, burst: int = 25, refill_s: float = 300.0) -> None:
        self._burst = float(burst)
        self._refill_s = refill_s
        self._left: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, source: Hashable, now_s: float) -> bool:
        """Whether ``source`` may cause one more write at ``now_s`` (any monotonic clock)."""
        left, since_s = self._left.pop(source, (self._burst, now_s))
        left = min(self._burst, left + (now_s - since_s) / self._refill_s)
        allowed = left >= 1.0
        self._left[source] = (left - 1.0 if allowed else left, now_s)
        while len(self._left) > _MAX_SOURCES:
            self._left.popitem(last=False)
        return allowed
