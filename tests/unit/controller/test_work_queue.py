import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from spo.controller.backoff import TokenBucket
from spo.controller.work_queue import QueueSettings, WorkQueue
from tests.fakes.clock import FakeClock

ITEMS = st.sampled_from("abcd")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def queue(clock: FakeClock) -> WorkQueue[str]:
    return WorkQueue(clock=clock)


def _ready(queue: WorkQueue[str]) -> str | None:
    """What a worker would get now."""
    if not len(queue):
        return None
    try:
        queue.get().send(None)
    except StopIteration as result:
        return str(result.value)
    raise AssertionError("get() waits although something is ready")


def test_waiting_item_is_not_added_twice(queue: WorkQueue[str]) -> None:
    for item in "abaab":
        queue.add(item)
    assert [_ready(queue), _ready(queue), _ready(queue)] == ["a", "b", None]
    assert queue.stats.adds == 2


def test_item_added_while_worked_on_comes_again_afterwards(queue: WorkQueue[str]) -> None:
    queue.add("a")
    assert _ready(queue) == "a"
    queue.add("a")
    queue.add("a")
    assert _ready(queue) is None
    queue.done("a")
    assert _ready(queue) == "a"
    queue.done("a")
    assert _ready(queue) is None


async def test_delayed_item_comes_when_it_is_due(queue: WorkQueue[str], clock: FakeClock) -> None:
    queue.add_after("late", 10)
    queue.add_after("early", 5)
    queue.add_after("now", 0)
    assert (_ready(queue), _ready(queue)) == ("now", None)
    await clock.advance(5)
    assert (_ready(queue), _ready(queue)) == ("early", None)
    await clock.advance(4.9)
    assert _ready(queue) is None
    await clock.advance(0.1)
    assert _ready(queue) == "late"


@pytest.mark.parametrize("delays", [(10, 3), (3, 10)])
async def test_of_several_delays_the_earliest_counts(
    queue: WorkQueue[str], clock: FakeClock, delays: tuple[int, int]
) -> None:
    for delay_s in delays:
        queue.add_after("a", delay_s)
    await clock.advance(3)
    assert _ready(queue) == "a"
    queue.done("a")
    await clock.advance(100)
    assert _ready(queue) is None


async def test_failing_item_waits_longer_each_time_and_others_do_not(
    queue: WorkQueue[str], clock: FakeClock
) -> None:
    assert [queue.add_rate_limited("a") for _ in range(5)] == [0.005, 0.01, 0.02, 0.04, 0.08]
    assert queue.add_rate_limited("b") == 0.005
    assert queue.failures("a") == 5
    for _ in range(60):
        longest = queue.add_rate_limited("a")
    assert longest == 60
    queue.forget("a")
    assert queue.failures("a") == 0
    assert queue.add_rate_limited("a") == 0.005


async def test_many_failures_together_are_slowed_down(clock: FakeClock) -> None:
    queue: WorkQueue[int] = WorkQueue(QueueSettings(retries_per_s=10, retry_burst=20), clock)
    delays = [queue.add_rate_limited(item) for item in range(40)]
    assert delays[:20] == [0.005] * 20
    assert delays[-1] == pytest.approx(2.0)


def test_token_bucket_refills_up_to_its_burst(clock: FakeClock) -> None:
    bucket = TokenBucket(2.0, 2, clock)
    assert [bucket.reserve_s() for _ in range(3)] == [0, 0, 0.5]
    clock._now_s += 1000
    assert [bucket.reserve_s() for _ in range(3)] == [0, 0, 0.5]


async def test_cancelled_worker_loses_nothing(queue: WorkQueue[str]) -> None:
    waiting = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.add("a")
    waiting[0].cancel()  # in the same moment in which the item would go to it
    await FakeClock().settle()
    assert [task.result() for task in waiting if task.done() and not task.cancelled()] == ["a"]
    for task in waiting:
        task.cancel()


class QueueMachine(RuleBasedStateMachine):
    """Any sequence of calls: nothing is lost, nothing is worked on twice at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.queue: WorkQueue[str] = WorkQueue(clock=self.clock)
        self.processing: list[str] = []
        self.owed: set[str] = set()
        """Added since it was last handed out."""
        self.due: dict[str, float] = {}

    @rule(item=ITEMS)
    def add(self, item: str) -> None:
        self.queue.add(item)
        self.owed.add(item)

    @rule(item=ITEMS, delay_s=st.integers(0, 20))
    def add_after(self, item: str, delay_s: int) -> None:
        self.queue.add_after(item, delay_s)
        self._expect(item, delay_s)

    @rule(item=ITEMS)
    def add_rate_limited(self, item: str) -> None:
        self._expect(item, self.queue.add_rate_limited(item))

    @rule(item=ITEMS)
    def forget(self, item: str) -> None:
        self.queue.forget(item)

    @rule()
    def get(self) -> None:
        item = _ready(self.queue)
        if item is None:
            assert self.owed <= set(self.processing), "an item is lost"
            return
        assert item not in self.processing, "worked on twice at the same time"
        assert item in self.owed, "comes without having been added"
        self.owed.discard(item)
        self.processing.append(item)

    @precondition(lambda self: self.processing)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(self.processing))
        self.processing.remove(item)
        self.queue.done(item)

    @rule(seconds=st.integers(1, 30))
    def wait(self, seconds: int) -> None:
        end_s = self.clock.monotonic() + seconds
        while self.clock._timers and self.clock._timers[0][0] <= end_s:
            self.clock.jump()
        self.clock._now_s = end_s
        arrived = {item for item, due_s in self.due.items() if due_s <= end_s}
        self.owed |= arrived
        self.due = {item: due_s for item, due_s in self.due.items() if item not in arrived}

    def _expect(self, item: str, delay_s: float) -> None:
        if delay_s <= 0:
            self.owed.add(item)
        else:
            due_s = self.clock.monotonic() + delay_s
            self.due[item] = min(due_s, self.due.get(item, due_s))

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.queue) == len(self.owed - set(self.processing))
        assert self.clock.waiting <= 1

    def teardown(self) -> None:
        for item in list(self.processing):
            self.queue.done(item)
        self.processing.clear()
        left = set()
        while (item := _ready(self.queue)) is not None:
            left.add(item)
        assert left == self.owed


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
