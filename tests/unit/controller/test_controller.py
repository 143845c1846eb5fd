import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from spo.controller import DONE, Controller, Request, Result
from spo.errors import SpoError, TerminalError
from spo.kube.errors import ConflictError
from tests.fakes.clock import FakeClock

A = Request("ns", "a")
B = Request("ns", "b")


class Scripted:
    """Reconciler that does one step of its script per call, and DONE when it is used up."""

    def __init__(self, *script: "Result | Exception | Callable[[], Awaitable[None]]") -> None:
        self.script = list(script)
        self.calls: list[Request] = []
        self.running: list[Request] = []

    async def reconcile(self, request: Request) -> Result:
        assert request not in self.running, "twice at the same time"
        self.calls.append(request)
        self.running.append(request)
        try:
            step = self.script.pop(0) if self.script else DONE
            if isinstance(step, Exception):
                raise step
            if isinstance(step, Result):
                return step
            await step()
            return DONE
        finally:
            self.running.remove(request)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@contextlib.asynccontextmanager
async def running(controller: Controller) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(controller.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_request_is_reconciled_once(clock: FakeClock) -> None:
    reconciler = Scripted()
    controller = Controller("test", reconciler, clock=clock)
    controller.enqueue(A)
    async with running(controller):
        controller.enqueue(B)
        controller.enqueue(A)
        await clock.advance(1000)
    assert reconciler.calls == [A, B]


async def test_failure_is_retried_with_growing_pauses(clock: FakeClock) -> None:
    reconciler = Scripted(*[SpoError("no")] * 3)
    controller = Controller("test", reconciler, clock=clock)
    controller.enqueue(A)
    async with running(controller):
        for pause_s, calls in ((0, 1), (0.005, 2), (0.01, 3), (0.02, 4), (1000, 4)):
            await clock.advance(pause_s)
            assert len(reconciler.calls) == calls
    assert controller.queue.failures(A) == 0
    assert controller.stats.errors == 3


async def test_terminal_error_waits_for_a_change(clock: FakeClock) -> None:
    reconciler = Scripted(TerminalError("hopeless"))
    controller = Controller("test", reconciler, clock=clock)
    controller.enqueue(A)
    async with running(controller):
        await clock.advance(1000)
        assert reconciler.calls == [A]
        controller.enqueue(A)
        await clock.advance(0)
        assert reconciler.calls == [A, A]


async def test_requeue_after_looks_again(clock: FakeClock) -> None:
    reconciler = Scripted(Result(requeue_after=30))
    controller = Controller("test", reconciler, clock=clock)
    controller.enqueue(A)
    async with running(controller):
        await clock.advance(29)
        assert len(reconciler.calls) == 1
        await clock.advance(1)
        assert len(reconciler.calls) == 2


async def test_one_request_never_runs_twice_at_once_but_others_do(clock: FakeClock) -> None:
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    reconciler = Scripted(wait, wait)
    controller = Controller("test", reconciler, workers=3, clock=clock)
    async with running(controller):
        controller.enqueue(A)
        await clock.settle()
        controller.enqueue(A)
        controller.enqueue(B)
        await clock.settle()
        assert reconciler.running == [A, B]
        gate.set()
        await clock.settle()
    assert reconciler.calls == [A, B, A]


async def test_reconcile_that_takes_too_long_is_cancelled_and_retried(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    reconciler = Scripted(hang)
    controller = Controller("test", reconciler, timeout_s=0, clock=clock)
    controller.enqueue(A)
    async with running(controller):
        await clock.settle()
        assert reconciler.running == []
        assert controller.stats.timeouts == 1
        await clock.advance(1)
    assert len(reconciler.calls) == 2
    [record] = caplog.records
    assert record.exc_info
    assert "did not end within 0 s" in str(record.exc_info[1])


async def test_timeout_of_the_reconciler_itself_is_an_ordinary_error(clock: FakeClock) -> None:
    reconciler = Scripted(TimeoutError())
    controller = Controller("test", reconciler, clock=clock)
    controller.enqueue(A)
    async with running(controller):
        await clock.advance(1)
    assert controller.stats.timeouts == 0
    assert len(reconciler.calls) == 2


async def test_stop_waits_for_work_under_way(clock: FakeClock) -> None:
    gate = asyncio.Event()
    finished: list[str] = []

    async def work() -> None:
        await gate.wait()
        finished.append("yes")

    controller = Controller("test", Scripted(work), clock=clock)
    controller.enqueue(A)
    async with running(controller) as task:
        await clock.settle()
        task.cancel()
        await clock.settle()
        assert not task.done()
        gate.set()
        await clock.settle()
        assert task.cancelled()
    assert finished == ["yes"]


async def test_work_that_does_not_stop_in_time_is_cancelled_and_not_lost(clock: FakeClock) -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    reconciler = Scripted(hang)
    controller = Controller("test", reconciler, drain_s=0, clock=clock)
    controller.enqueue(A)
    async with running(controller) as task:
        await clock.settle()
        task.cancel()
        await asyncio.wait([task], timeout=1)
        assert task.cancelled()
    async with running(controller):
        await clock.settle()
    assert reconciler.calls == [A, A]


async def test_requests_wait_while_nobody_works(clock: FakeClock) -> None:
    reconciler = Scripted()
    controller = Controller("test", reconciler, clock=clock)
    async with running(controller):
        await clock.settle()
    controller.enqueue(A)
    await clock.settle()
    assert reconciler.calls == []
    async with running(controller):
        await clock.settle()
    assert reconciler.calls == [A]


async def test_same_problem_is_logged_less_and_less(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    reconciler = Scripted(*[SpoError("same")] * 9, SpoError("new"))
    controller = Controller("test", reconciler, clock=clock)
    controller.enqueue(A)
    async with running(controller):
        await clock.advance(1000)
    pairs = [record.__dict__["pairs"] for record in caplog.records]
    assert [pair["failures"] for pair in pairs] == [1, 2, 4, 8, 10]
    assert pairs[0] == {"name": "a", "namespace": "ns", "failures": 1, "retryInSeconds": 0.005}


async def test_mistake_of_ours_is_logged_with_its_place(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    controller = Controller("test", Scripted(KeyError("oops")), clock=clock)
    controller.enqueue(A)
    async with running(controller):
        await clock.advance(1)
    assert "KeyError at" in caplog.records[0].__dict__["pairs"]["trace"]


async def test_conflict_is_daily_business(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    reconciler = Scripted(ConflictError(409, "Conflict", "changed"))
    controller = Controller("test", reconciler, clock=clock)
    controller.enqueue(A)
    async with running(controller):
        await clock.advance(1)
    assert [record.levelname for record in caplog.records if record.levelname != "DEBUG"] == []
    assert len(reconciler.calls) == 2
