"""Take requests from a work queue, reconcile, and decide what follows: the only place that retries."""

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from spo import klog
from spo.controller.reconciler import Reconciler, Request, Result
from spo.controller.work_queue import WorkQueue
from spo.errors import SpoError, TerminalError
from spo.kube.clock import SYSTEM_CLOCK, Clock
from spo.kube.errors import ConflictError

DRAIN_S: Final = 4.0
"""How long a stopping controller waits for reconciles under way. Together with the renew deadline of the
leader election it stays below the duration of a lease."""


@dataclass(slots=True)
class ControllerStats:
    """Counters; plain numbers, read by whoever exports metrics."""

    reconciles: int = 0
    errors: int = 0
    """Failed attempts, terminal ones and timeouts included."""
    timeouts: int = 0
    succeeded: int = 0
    """Attempts that asked for nothing more."""
    requeued: int = 0
    """Attempts that asked to come again after a while."""
    active: int = 0
    """Attempts under way."""


class ReconcileTimeoutError(SpoError):
    """A reconcile did not come to an end in time; it was cancelled."""

    def __init__(self, controller: str, timeout_s: float) -> None:
        super().__init__(controller, timeout_s)
        self.controller = controller
        self.timeout_s = timeout_s

    def __str__(self) -> str:
        return (
            f"reconcile of {self.controller} did not end within {self.timeout_s:g} s; see its last log lines"
        )


class Controller:
    """Run one reconciler over a work queue.

    Requests may be enqueued before, while and after :meth:`run` runs; it may be run again after it was
    cancelled (a manager that loses and regains leadership), and then goes on with what waits.
    """

    def __init__(
        self,
        name: str,
        reconciler: Reconciler,
        *,
        workers: int = 1,
        timeout_s: float = 60.0,
        drain_s: float = DRAIN_S,
        queue: WorkQueue[Request] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.name: Final = name
        self.queue: Final[WorkQueue[Request]] = queue or WorkQueue(clock=clock)
        self.stats: Final = ControllerStats()
        self._reconciler = reconciler
        self.workers: Final = workers
        self._timeout_s = timeout_s
        self._drain_s = drain_s
        self._log = klog.get(name)
        self._last_problem: dict[Hashable, str] = {}
        self._stopping = False

    def enqueue(self, request: Request) -> None:
        """Reconcile ``request`` soon."""
        self.queue.add(request)

    async def run(self) -> None:
        """Work until cancelled; reconciles under way get ``drain_s`` to finish."""
        self._stopping = False
        busy: set[int] = set()
        workers = [
            asyncio.create_task(self._work(number, busy), name=f"{self.name}-{number}")
            for number in range(self.workers)
        ]
        try:
            # Not gather: it would cancel the workers together with this coroutine.
            done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)
            for worker in done:
                worker.result()
        finally:
            self._stopping = True
            await self._drain(workers, busy)

    async def _drain(self, workers: list[asyncio.Task[None]], busy: set[int]) -> None:
        for number, worker in enumerate(workers):
            if number not in busy:
                worker.cancel()
        try:
            await asyncio.wait(workers, timeout=self._drain_s)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, number: int, busy: set[int]) -> None:
        while not self._stopping:
            request = await self.queue.get()
            busy.add(number)
            self.stats.active += 1
            try:
                await self._reconcile(request)
            except asyncio.CancelledError:
                # Cut off half-way: look at it again if this controller runs again.
                self.queue.add(request)
                raise
            finally:
                self.stats.active -= 1
                busy.discard(number)
                self.queue.done(request)

    async def _reconcile(self, request: Request) -> None:
        self.stats.reconciles += 1
        try:
            result = await self._with_timeout(request)
        except TerminalError as error:
            self.stats.errors += 1
            self.queue.forget(request)
            self._report(request, error, retry_s=None)
        except Exception as error:  # The one place where errors of reconcilers end.
            self.stats.errors += 1
            self._report(request, error, retry_s=self.queue.add_rate_limited(request))
        else:
            self._last_problem.pop(request, None)
            self.queue.forget(request)
            if result.requeue_after is None:
                self.stats.succeeded += 1
            else:
                self.stats.requeued += 1
                self.queue.add_after(request, result.requeue_after)

    async def _with_timeout(self, request: Request) -> Result:
        try:
            async with asyncio.timeout(self._timeout_s) as limit:
                return await self._reconciler.reconcile(request)
        except TimeoutError as error:
            if not limit.expired():
                raise
            self.stats.timeouts += 1
            raise ReconcileTimeoutError(self.name, self._timeout_s) from error

    def _report(self, request: Request, error: Exception, retry_s: float | None) -> None:
        """Log a problem when it is new, and then at the 2nd, 4th, 8th ... failure in a row."""
        problem = str(error)
        failures = self.queue.failures(request)
        known = self._last_problem.get(request) == problem
        self._last_problem[request] = problem
        if known and failures & (failures - 1):
            return
        pairs: dict[str, object] = {"name": request.name, "namespace": request.namespace}
        if retry_s is None:
            self._log.error("reconcile failed, not retrying", error, **pairs)
            return
        pairs |= {"failures": failures, "retryInSeconds": round(retry_s, 3)}
        if isinstance(error, ConflictError):
            self._log.debug("reconcile met a conflict, retrying", problem=problem, **pairs)
        elif isinstance(error, SpoError | OSError):
            self._log.error("reconcile failed, retrying", error, **pairs)
        else:
            # A mistake of ours: without the traceback nobody finds it.
            self._log.error("reconcile failed, retrying", error, trace=_where(error), **pairs)


def _where(error: BaseException) -> str:
    """The innermost place of the traceback, as ``file:line function``."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    code = trace.tb_frame.f_code
    return f"{type(error).__name__} at {code.co_filename}:{trace.tb_lineno} {code.co_name}"
