"""Claims are stored before they return, reports are collected, and nothing is lost on the way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from spo.api.node_status import NodeProfileState, ProfileState
from spo.daemon.node_status import MAX_MESSAGE, NodeStatusReporter
from spo.errors import SpoError
from spo.kube.errors import ConnectionFailedError, TooManyRequestsError
from tests.fakes.clock import FakeClock
from tests.fakes.profiles_node_status import InMemoryClaims, InMemoryNodeStatus

A, B = "SeccompProfile/ns/a", "SeccompProfile/ns/b"
DELAY_S = 0.2


def installed(generation: int = 1) -> NodeProfileState:
    return NodeProfileState(state=ProfileState.INSTALLED, generation=generation)


def pending(generation: int = 1) -> NodeProfileState:
    return NodeProfileState(state=ProfileState.PENDING, generation=generation)


class Node:
    def __init__(self, api: InMemoryNodeStatus, local: InMemoryClaims) -> None:
        self.api = api
        self.local = local
        self.clock = FakeClock()
        self.failures: list[str] = []
        self.reporter = NodeStatusReporter(
            api, self.local, self.clock, report_delay_s=DELAY_S, on_failure=self.failures.append
        )

    def claim(self, key: str, generation: int = 1) -> "asyncio.Task[None]":
        return asyncio.create_task(self.reporter.claim(key, generation))


@asynccontextmanager
async def running(api: InMemoryNodeStatus, local: InMemoryClaims | None = None) -> AsyncIterator[Node]:
    node = Node(api, local or InMemoryClaims())
    await node.reporter.load()
    task = asyncio.create_task(node.reporter.run())
    await node.clock.settle()
    try:
        yield node
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_node_without_profiles_still_has_its_object() -> None:
    async with running(InMemoryNodeStatus()) as node:
        assert node.api.writes == [{}]
        assert node.api.owner_uids == ["node-uid"]


async def test_claim_returns_only_after_the_key_is_stored() -> None:
    async with running(InMemoryNodeStatus()) as node:
        node.api.gate.clear()
        claim = node.claim(A)
        await node.clock.settle()
        assert not claim.done()
        node.api.gate.set()
        await claim
        assert node.api.writes[-1] == {A: pending()}


async def test_claims_are_kept_on_the_node_too() -> None:
    async with running(InMemoryNodeStatus(), InMemoryClaims(A, "nonsense")) as node:
        assert set(node.reporter.claims()) == {A}
        assert node.api.writes == [{A: pending(0)}]
        await node.claim(B)
        assert node.local.keys == {A, B}
        node.reporter.report(B, ProfileState.INSTALLED, 1)
        await node.clock.advance(1)
        assert node.local.writes == [{A}, {A, B}]  # states are not kept
        node.reporter.forget(A)
        node.reporter.forget(B)
        await node.clock.advance(1)
        assert node.local.keys == set()


async def test_disk_that_takes_no_claims_stops_nothing() -> None:
    local = InMemoryClaims()
    local.failing = SpoError("no space left on device")
    async with running(InMemoryNodeStatus(), local) as node:
        await node.claim(A)
        assert node.api.writes[-1] == {A: pending()}
        local.failing = None
        await node.claim(B)
        assert local.keys == {A, B}


async def test_claim_needs_no_time_to_pass() -> None:
    async with running(InMemoryNodeStatus()) as node:
        await node.claim(A)
        assert node.clock.monotonic() == 0


async def test_claims_that_arrive_while_a_write_is_in_flight_share_the_next() -> None:
    async with running(InMemoryNodeStatus()) as node:
        node.api.gate.clear()
        claims = [node.claim(f"SeccompProfile/ns/{n}") for n in range(3)]
        await node.clock.settle()
        claims += [node.claim(f"SeccompProfile/ns/late-{n}") for n in range(20)]
        await node.clock.settle()
        node.api.gate.set()
        await asyncio.gather(*claims)
        assert [len(write) for write in node.api.writes] == [0, 3, 23]


async def test_reports_are_collected_and_written_once() -> None:
    async with running(InMemoryNodeStatus()) as node:
        await node.claim(A)
        await node.claim(B)
        written = len(node.api.writes)
        node.reporter.report(A, ProfileState.INSTALLED, 1)
        await node.clock.advance(DELAY_S / 2)
        node.reporter.report(B, ProfileState.INSTALLED, 1)
        assert len(node.api.writes) == written
        await node.clock.advance(DELAY_S / 2)
        assert node.api.writes[written:] == [{A: installed(), B: installed()}]


async def test_a_new_profile_costs_two_writes() -> None:
    async with running(InMemoryNodeStatus({})) as node:
        before = len(node.api.writes)
        await node.claim(A)
        node.reporter.report(A, ProfileState.INSTALLED, 1)
        await node.clock.advance(10)
        assert len(node.api.writes) - before == 2


async def test_a_changed_profile_costs_one_write() -> None:
    async with running(InMemoryNodeStatus({A: installed(1)})) as node:
        before = len(node.api.writes)
        await node.claim(A, 2)
        node.reporter.report(A, ProfileState.INSTALLED, 2)
        await node.clock.advance(10)
        assert node.api.writes[before:] == [{A: installed(2)}]


async def test_the_same_report_again_is_no_news_and_costs_nothing() -> None:
    async with running(InMemoryNodeStatus({A: installed()})) as node:
        before = len(node.api.writes)
        assert not node.reporter.report(A, ProfileState.INSTALLED, 1)
        await node.clock.advance(10)
        assert len(node.api.writes) == before


async def test_claims_of_the_previous_run_are_kept() -> None:
    async with running(InMemoryNodeStatus({A: installed()})) as node:
        assert node.reporter.claims() == (A,)
        await node.claim(B)
        assert node.api.writes[-1] == {A: installed(), B: pending()}


async def test_forgotten_profile_leaves_the_list() -> None:
    async with running(InMemoryNodeStatus({A: installed()})) as node:
        node.reporter.forget(A)
        await node.clock.advance(DELAY_S)
        assert node.api.writes[-1] == {}


async def test_claim_after_an_unwritten_forget_needs_no_write_of_its_own() -> None:
    async with running(InMemoryNodeStatus({A: installed()})) as node:
        before = len(node.api.writes)
        node.reporter.forget(A)
        await node.claim(A)  # A is still listed: no write without it has begun
        await node.clock.advance(DELAY_S)
        assert node.api.writes[before:] == [{A: pending()}]


async def test_claim_during_the_write_of_a_forget_waits_for_the_next_write() -> None:
    async with running(InMemoryNodeStatus({A: installed()})) as node:
        node.reporter.forget(A)
        node.api.gate.clear()
        await node.clock.advance(DELAY_S)
        claim = node.claim(A)
        await node.clock.settle()
        assert not claim.done()
        node.api.gate.set()
        await claim
        assert node.api.writes[-2:] == [{}, {A: pending()}]


async def test_claim_after_a_forget_with_unknown_outcome_waits_for_a_write() -> None:
    async with running(InMemoryNodeStatus({A: installed()})) as node:
        node.api.failing, node.api.lost = ConnectionFailedError("PATCH", "reset"), True
        node.reporter.forget(A)
        await node.clock.advance(DELAY_S)
        claim = node.claim(A)
        await node.clock.settle()
        assert not claim.done()
        node.api.failing = None
        await node.clock.advance(1)
        await claim
        assert node.api.stored is not None
        assert node.api.stored.profiles == {A: pending()}


async def test_failed_writes_are_tried_again_for_ever_with_growing_pauses() -> None:
    async with running(InMemoryNodeStatus()) as node:
        node.api.failing = ConnectionFailedError("PATCH", "refused")
        claim = node.claim(A)
        await node.clock.advance(600)
        assert not claim.done()
        node.api.failing = None
        await node.clock.advance(30)
        await claim
        assert len(node.failures) == 1


async def test_server_that_asks_for_a_pause_gets_it() -> None:
    async with running(InMemoryNodeStatus()) as node:
        node.api.failing = TooManyRequestsError(429, "TooManyRequests", "busy", retry_after_s=20)
        claim = node.claim(A)
        await node.clock.advance(19)
        node.api.failing = None
        assert not claim.done()
        await node.clock.advance(1)
        await claim


async def test_deleted_object_comes_back_with_the_uid_of_the_present_node() -> None:
    async with running(InMemoryNodeStatus({A: installed()})) as node:
        node.api.stored, node.api.uid = None, "another-uid"
        node.reporter.observed(None)
        await node.clock.advance(DELAY_S)
        assert node.api.stored is not None
        assert node.api.stored.profiles == {A: installed()}
        assert node.api.owner_uids[-1] == "another-uid"


async def test_somebody_elses_edit_is_undone() -> None:
    async with running(InMemoryNodeStatus({A: installed()})) as node:
        node.reporter.observed(node.api.edit({B: installed()}))
        await node.clock.advance(DELAY_S)
        assert node.api.stored is not None
        assert node.api.stored.profiles == {A: installed()}


async def test_claim_of_a_key_that_an_edit_removed_waits_until_it_is_back() -> None:
    async with running(InMemoryNodeStatus({A: installed()})) as node:
        node.reporter.observed(node.api.edit({}))
        claim = node.claim(A)
        await claim
        assert node.api.writes[-1] == {A: installed()}


async def test_own_writes_seen_by_the_watch_cost_nothing() -> None:
    async with running(InMemoryNodeStatus()) as node:
        await node.claim(A)
        old = node.api.stored
        node.reporter.report(A, ProfileState.INSTALLED, 1)
        await node.clock.advance(DELAY_S)
        before = len(node.api.writes)
        node.reporter.observed(old)  # a late event of an own write
        node.reporter.observed(node.api.stored)
        await node.clock.advance(10)
        assert len(node.api.writes) == before


async def test_own_write_seen_before_its_answer_costs_nothing() -> None:
    async with running(InMemoryNodeStatus()) as node:
        node.api.on_stored = lambda: node.reporter.observed(node.api.stored)
        await node.claim(A)
        before = len(node.api.writes)
        await node.clock.advance(10)
        assert len(node.api.writes) == before


async def test_missing_node_object_is_looked_for_at_the_next_write() -> None:
    api = InMemoryNodeStatus()
    api.uid = None
    async with running(api) as node:
        api.uid = "registered"
        await node.claim(A)
        assert api.owner_uids == [None, "registered"]


@pytest.mark.parametrize("length", [MAX_MESSAGE, MAX_MESSAGE + 1, 100_000])
async def test_messages_are_bounded(length: int) -> None:
    async with running(InMemoryNodeStatus()) as node:
        node.reporter.report(A, ProfileState.ERROR, 1, "x" * length)
        entry = node.reporter.state(A)
        assert entry is not None
        assert len(entry.message) == MAX_MESSAGE
