"""Records that the kernel itself dropped, by its own counter: many leave no gap in the serial numbers."""

from collections.abc import Callable
from typing import Final

from spo import klog
from spo.probes.log_enricher.netlink import SourceError

log = klog.get("log-enricher")

PAUSE_S: Final = 5.0
"""Between two looks at the counter, as long as nobody wants to know it at once."""


class KernelLosses:
    """Looks at the counter now, soon after records came, and when told to; never without a reason.

    Args:
        ask: the kernel's counter, 32 bits; raises OSError or SourceError.
        batch_s: from the first record to the look, so that it is in time for the batch with that record.
        clock: seconds that never go back.
    """

    def __init__(self, ask: Callable[[], int], *, batch_s: float, clock: Callable[[], float]) -> None:
        self._ask = ask
        self._batch_s = batch_s
        self._clock = clock
        self._last: int | None = None
        self._next_s = 0.0
        self._is_refused = False
        self._has_complained = False
        self.lost = 0
        """Since we began to look."""
        self.due_s: float | None = None
        """When :meth:`tick` must be called at the latest; ``None``: no need."""
        self.look()

    def records_came(self) -> None:
        """Where there are some, others may have been dropped."""
        if self.due_s is None and not self._is_refused:
            self.due_s = max(self._clock() + self._batch_s, self._next_s)

    def tick(self) -> bool:
        """Look if it is time to; whether more is lost than before."""
        return self.due_s is not None and self._clock() >= self.due_s and self.look()

    def look(self) -> bool:
        """Ask the kernel; whether more is lost than before."""
        self.due_s = None
        if self._is_refused:
            return False
        self._next_s = self._clock() + PAUSE_S
        try:
            now = self._ask()
        except (OSError, SourceError) as error:
            self._complain(error)
            return False
        before, self._last = self._last, now
        if before is None or now == before:
            return False
        # Anybody who may control audits may set the counter to 0.
        more = now - before if now > before else now
        self.lost += more
        return more > 0

    def _complain(self, error: OSError | SourceError) -> None:
        self._is_refused = isinstance(error, SourceError | PermissionError | ConnectionRefusedError)
        if not self._has_complained:
            self._has_complained = True
            log.debug("Cannot count the audit records that the kernel drops", problem=str(error))
