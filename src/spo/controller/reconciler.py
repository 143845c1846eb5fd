"""What a controller and a reconciler say to each other."""

from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol


class Request(NamedTuple):
    """Which object to look at. Holds no event: the reconciler reads the present state."""

    namespace: str
    """Empty for cluster-scoped objects."""
    name: str


@dataclass(frozen=True, slots=True)
class Result:
    """What a successful reconcile asks for."""

    requeue_after: float | None = None
    """Seconds after which to look again even if nothing happens; ``None``: only when something does."""


DONE: Final = Result()
"""Nothing more to do until something changes."""


class Reconciler(Protocol):
    """Bring one object to its wanted state."""

    async def reconcile(self, request: Request) -> Result:
        """Look at the object and the world, and make them agree.

        Returning ends the matter (see :class:`Result`). A ``TerminalError`` is logged and not tried again
        until something changes; any other error is logged and tried again, after a pause that grows.
        The same request never runs twice at the same time.
        """
