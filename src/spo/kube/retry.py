"""Try a short operation again when the reason it failed passes by itself."""

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from spo.kube.clock import SYSTEM_CLOCK, Clock
from spo.kube.errors import ConflictError, NotFoundError

R = TypeVar("R")


async def retry(
    operation: Callable[[], Awaitable[R]],
    retryable: Callable[[Exception], bool],
    *,
    attempts: int = 5,
    first_delay_s: float = 0.5,
    factor: float = 1.5,
    clock: Clock = SYSTEM_CLOCK,
) -> R:
    """Run ``operation`` until it succeeds; the last error goes to the caller.

    ``operation`` must read the object anew each time. The defaults are those of the whole operator.
    """
    delay_s = first_delay_s
    for _ in range(attempts - 1):
        try:
            return await operation()
        except Exception as error:
            if not retryable(error):
                raise
        await clock.sleep(delay_s)
        delay_s *= factor
    return await operation()


async def retry_on_conflict(
    operation: Callable[[], Awaitable[R]], *, attempts: int = 5, clock: Clock = SYSTEM_CLOCK
) -> R:
    """Run ``operation`` (read, change, write with resourceVersion) again while somebody else is faster."""
    first_delay_s = 0.01 * (1 + random.random())  # noqa: S311 - spreads writers, guards nothing
    return await retry(
        operation, is_conflict, attempts=attempts, first_delay_s=first_delay_s, factor=3.0, clock=clock
    )


def is_conflict(error: Exception) -> bool:
    """The object changed since it was read."""
    return isinstance(error, ConflictError)


def is_conflict_or_absent(error: Exception) -> bool:
    """The usual predicate of :func:`retry`: NotFound or Conflict."""
    return is_conflict(error) or isinstance(error, NotFoundError)
