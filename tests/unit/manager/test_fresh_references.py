"""One list of pods for many deletions, and never an old one."""

import asyncio

import pytest

from spo.kube.errors import ConnectionFailedError
from spo.manager.fresh_references import FreshReferences, References
from spo.profiles.paths import ProfileKey
from tests.fakes.clock import FakeClock

EARLIER, LATER = ProfileKey("ns", "earlier"), ProfileKey("ns", "later")


class Pods:
    """Lists that end when the test says so."""

    def __init__(self) -> None:
        self.now: set[ProfileKey] = {EARLIER}
        self.open: list[asyncio.Future[None]] = []
        self.fresh = FreshReferences(self.list)

    async def list(self) -> References:
        seen = frozenset(self.now)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.open.append(done)
        await done
        return seen

    def ask(self) -> "asyncio.Task[References]":
        return asyncio.create_task(self.fresh.after_now())


async def settle() -> None:
    await FakeClock().settle()


async def test_questions_at_the_same_time_share_one_list() -> None:
    pods = Pods()
    answers = [pods.ask() for _ in range(200)]
    await settle()
    assert len(pods.open) == 1
    pods.open[0].set_result(None)
    assert set(await asyncio.gather(*answers)) == {frozenset({EARLIER})}


async def test_question_during_a_list_gets_the_next_one() -> None:
    pods = Pods()
    first = pods.ask()
    await settle()
    pods.now.add(LATER)
    late = [pods.ask() for _ in range(3)]
    await settle()
    assert len(pods.open) == 1
    pods.open[0].set_result(None)
    assert await first == {EARLIER}
    await settle()
    assert len(pods.open) == 2
    pods.open[1].set_result(None)
    assert set(await asyncio.gather(*late)) == {frozenset({EARLIER, LATER})}


async def test_question_after_a_list_begins_another() -> None:
    pods = Pods()
    for expected in ({EARLIER}, {EARLIER, LATER}):
        answer = pods.ask()
        await settle()
        pods.open[-1].set_result(None)
        assert await answer == expected
        pods.now.add(LATER)


async def test_failure_reaches_everybody_who_waits_and_nobody_else() -> None:
    pods = Pods()
    waiting = [pods.ask() for _ in range(2)]
    await settle()
    later = pods.ask()
    await settle()
    pods.open[0].set_exception(ConnectionFailedError("GET pods", "reset"))
    for answer in waiting:
        with pytest.raises(ConnectionFailedError):
            await answer
    await settle()
    pods.open[1].set_result(None)
    assert await later == {EARLIER}


async def test_cancelled_question_does_not_end_the_list_of_the_others() -> None:
    pods = Pods()
    first, second = pods.ask(), pods.ask()
    await settle()
    first.cancel()
    await settle()
    pods.open[0].set_result(None)
    assert await second == {EARLIER}
