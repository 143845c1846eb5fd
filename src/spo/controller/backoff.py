"""How long to wait before trying again."""

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from spo.kube.clock import Clock

K = TypeVar("K", bound=Hashable)

_MAX_DOUBLINGS: Final = 60


class ItemBackoff(Generic[K]):
    """Doubles the pause of one item with each of its failures; others are not affected."""

    def __init__(self, base_s: float, max_s: float) -> None:
        self._base_s = base_s
        self._max_s = max_s
        self._failures: dict[K, int] = {}

    def next_s(self, item: K) -> float:
        """Count a failure of ``item``; return the pause after it."""
        failures = self._failures.get(item, 0)
        self._failures[item] = failures + 1
        return min(self._base_s * 2.0 ** min(failures, _MAX_DOUBLINGS), self._max_s)

    def failures(self, item: K) -> int:
        """Failures since the last :meth:`forget`."""
        return self._failures.get(item, 0)

    def forget(self, item: K) -> None:
        """``item`` succeeded, or nobody wants it any more."""
        self._failures.pop(item, None)


class TokenBucket:
    """Lets ``burst`` through at once and then ``rate`` a second, over all items."""

    def __init__(self, rate: float, burst: int, clock: Clock) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._clock = clock
        self._tokens = float(burst)
        self._filled_at_s = clock.monotonic()

    def reserve_s(self) -> float:
        """Take a token, in advance if need be; return how long to wait for it."""
        now_s = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now_s - self._filled_at_s) * self._rate)
        self._filled_at_s = now_s
        self._tokens -= 1.0
        return max(0.0, -self._tokens / self._rate)
