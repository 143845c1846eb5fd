import asyncio
import contextlib
from dataclasses import dataclass, field

import pytest

from spo.controller import LeaderElection, LeadershipLostError
from tests.fakes.api_server_in_process import InProcessTransport, in_process_client
from tests.fakes.api_server_objects import Objects
from tests.fakes.clock import FakeClock


@dataclass
class Candidate:
    """A process that stands for election and notes when it leads."""

    name: str
    clock: FakeClock
    objects: Objects
    transport: InProcessTransport = field(init=False)
    election: LeaderElection = field(init=False)
    leading: bool = False
    started_at_s: float = -1.0
    stopped_at_s: float = -1.0

    def __post_init__(self) -> None:
        client, self.transport = in_process_client(self.objects)
        self.election = LeaderElection(client, "lock", "spo", self.name, clock=self.clock)
        self.task: asyncio.Task[None] = asyncio.create_task(self.election.run(self.lead))

    async def lead(self) -> None:
        self.leading = True
        self.started_at_s = self.clock.monotonic()
        try:
            await asyncio.Event().wait()
        finally:
            self.leading = False
            self.stopped_at_s = self.clock.monotonic()

    async def stop(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task

    def kill(self) -> None:
        """As SIGKILL: nothing is given back."""
        self.transport.reachable = False


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def objects() -> Objects:
    return Objects()


def _lease(objects: Objects) -> dict[str, object]:
    target = objects.locate("/apis/coordination.k8s.io/v1/namespaces/spo/leases/lock")
    spec: dict[str, object] = objects.get(target)["spec"]
    return spec


async def test_first_candidate_leads_and_writes_the_lease_as_client_go_does(
    clock: FakeClock, objects: Objects
) -> None:
    first = Candidate("a", clock, objects)
    await clock.settle()
    assert first.leading
    assert first.election.is_leader
    assert _lease(objects) == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-01-01T00:00:00.000000Z",
        "renewTime": "2026-01-01T00:00:00.000000Z",
        "leaseTransitions": 0,
    }
    await clock.advance(2)
    assert _lease(objects)["renewTime"] == "2026-01-01T00:00:02.000000Z"
    assert _lease(objects)["acquireTime"] == "2026-01-01T00:00:00.000000Z"
    await first.stop()


async def test_only_one_leads(clock: FakeClock, objects: Objects) -> None:
    candidates = [Candidate(name, clock, objects) for name in "abc"]
    for _ in range(60):
        await clock.advance(1)
        assert sum(candidate.leading for candidate in candidates) == 1
    for candidate in candidates:
        await candidate.stop()


async def test_released_lease_is_taken_at_the_next_look(clock: FakeClock, objects: Objects) -> None:
    first = Candidate("a", clock, objects)
    await clock.settle()
    second = Candidate("b", clock, objects)
    await clock.advance(10)
    await first.stop()
    assert _lease(objects)["holderIdentity"] == ""
    await clock.advance(2.5)
    assert second.leading
    assert _lease(objects)["leaseTransitions"] == 1
    await second.stop()


@pytest.mark.parametrize("killed_after_s", [0.1, 1.0, 1.9, 2.0, 3.3])
async def test_lease_of_a_dead_leader_is_taken_within_20_s(
    clock: FakeClock, objects: Objects, killed_after_s: float
) -> None:
    first = Candidate("a", clock, objects)
    await clock.settle()
    second = Candidate("b", clock, objects)
    await clock.advance(20 + killed_after_s)
    first.kill()
    killed_at_s = clock.monotonic()
    await clock.advance(20)
    assert second.leading
    assert second.started_at_s - killed_at_s <= 20
    # The old leader stopped before the new one began.
    assert 0 < first.stopped_at_s < second.started_at_s
    with pytest.raises(LeadershipLostError, match="not renewed for 10 s"):
        await first.task
    await second.stop()


async def test_short_outage_does_not_cost_the_leadership(clock: FakeClock, objects: Objects) -> None:
    first = Candidate("a", clock, objects)
    await clock.advance(5)
    first.kill()
    await clock.advance(6)
    first.transport.reachable = True
    await clock.advance(30)
    assert first.leading
    await first.stop()


async def test_renewal_is_one_request(clock: FakeClock, objects: Objects) -> None:
    first = Candidate("a", clock, objects)
    await clock.settle()
    first.transport.requests.clear()
    await clock.advance(20.5)
    assert [request.method for request in first.transport.requests] == ["PATCH"] * 10
    await first.stop()


async def test_leader_whose_lease_was_deleted_makes_it_again(clock: FakeClock, objects: Objects) -> None:
    first = Candidate("a", clock, objects)
    await clock.settle()
    objects.delete(objects.locate("/apis/coordination.k8s.io/v1/namespaces/spo/leases/lock"), {})
    await clock.advance(2.1)
    assert first.leading
    assert _lease(objects)["holderIdentity"] == "a"
    await first.stop()


async def test_leader_that_sees_another_holder_stops_at_once(clock: FakeClock, objects: Objects) -> None:
    first = Candidate("a", clock, objects)
    await clock.settle()
    target = objects.locate("/apis/coordination.k8s.io/v1/namespaces/spo/leases/lock")
    objects.merge(target, {"spec": {"holderIdentity": "thief"}})
    await clock.advance(2.1)
    assert not first.leading
    with pytest.raises(LeadershipLostError, match="held by thief"):
        await first.task
    assert _lease(objects)["holderIdentity"] == "thief"


async def test_lost_race_is_not_an_error(clock: FakeClock, objects: Objects) -> None:
    client, transport = in_process_client(objects)
    target = objects.locate("/apis/coordination.k8s.io/v1/namespaces/spo/leases/lock")
    rival = {"metadata": {"name": "lock"}, "spec": {"holderIdentity": "b", "leaseDurationSeconds": 15}}

    def rival_is_faster(request: object) -> None:
        if getattr(request, "method", "") == "POST":
            objects.create(target, rival)

    transport.before = rival_is_faster
    election = LeaderElection(client, "lock", "spo", "a", clock=clock)
    led: list[bool] = []

    async def lead() -> None:
        led.append(election.is_leader)

    task = asyncio.create_task(election.run(lead))
    await clock.advance(10)
    assert led == []
    await clock.advance(10)
    assert led == [True]
    await task


async def test_clocks_of_candidates_need_not_agree(clock: FakeClock, objects: Objects) -> None:
    target = objects.locate("/apis/coordination.k8s.io/v1/namespaces/spo/leases/lock")
    spec = {"holderIdentity": "b", "leaseDurationSeconds": 15, "renewTime": "2031-01-01T00:00:00.000000Z"}
    objects.create(target, {"metadata": {"name": "lock"}, "spec": spec})
    first = Candidate("a", clock, objects)
    await clock.advance(14)
    assert not first.leading
    await clock.advance(2)
    assert first.leading
    await first.stop()


async def test_standing_again_after_a_loss(clock: FakeClock, objects: Objects) -> None:
    client, transport = in_process_client(objects)
    election = LeaderElection(client, "lock", "spo", "a", clock=clock)
    terms: list[float] = []

    async def lead() -> None:
        terms.append(clock.monotonic())
        await asyncio.Event().wait()

    task = asyncio.create_task(election.run_always(lead))
    await clock.advance(5)
    transport.reachable = False
    await clock.advance(30)
    assert not election.is_leader
    transport.reachable = True
    await clock.advance(5)
    assert election.is_leader
    assert len(terms) == 2
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_error_of_the_work_goes_to_the_caller_and_the_lease_back(
    clock: FakeClock, objects: Objects
) -> None:
    client, _ = in_process_client(objects)
    election = LeaderElection(client, "lock", "spo", "a", clock=clock)

    async def lead() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await election.run(lead)
    assert _lease(objects)["holderIdentity"] == ""
