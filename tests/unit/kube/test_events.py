import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from spo.api.core import NODES, PODS, Node, Pod
from spo.api.meta import ObjectMeta
from spo.kube.errors import ForbiddenError, ServerError
from spo.kube.events import NORMAL, WARNING, EventRecorder, reference
from spo.kube.transport import HttpRequest
from tests.fakes.api_server_in_process import in_process_client
from tests.fakes.clock import FakeClock

POD = reference(PODS, Pod(metadata=ObjectMeta(name="p", namespace="ns", uid="u", resource_version="7")))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class Setup:
    def __init__(self, clock: FakeClock) -> None:
        client, self.transport = in_process_client()
        self.recorder = EventRecorder(client, "profile", host="node-1", clock=clock)

    def stored(self, namespace: str = "ns") -> list[dict[str, Any]]:
        objects = self.transport.objects
        items: list[dict[str, Any]] = objects.list(
            objects.locate(f"/api/v1/namespaces/{namespace}/events"), {}
        )["items"]
        return items


@pytest.fixture
async def setup(clock: FakeClock) -> AsyncIterator[Setup]:
    setup = Setup(clock)
    task = asyncio.create_task(setup.recorder.run())
    yield setup
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_event_looks_as_users_expect(setup: Setup, clock: FakeClock) -> None:
    setup.recorder.event(POD, NORMAL, "Saved", "profile saved", {"node": "n"})
    await clock.settle()
    [event] = setup.stored()
    metadata = event.pop("metadata")
    assert metadata["name"].startswith("p.")
    assert len(metadata["name"]) == 2 + 16
    assert metadata["annotations"] == {"node": "n"}
    assert event == {
        "apiVersion": "v1",
        "kind": "Event",
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": "p",
            "namespace": "ns",
            "uid": "u",
            "resourceVersion": "7",
        },
        "type": "Normal",
        "reason": "Saved",
        "message": "profile saved",
        "count": 1,
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "source": {"component": "profile", "host": "node-1"},
        "reportingComponent": "profile",
        "reportingInstance": "node-1",
    }


async def test_identical_events_raise_the_count(setup: Setup, clock: FakeClock) -> None:
    for _ in range(3):
        setup.recorder.event(POD, WARNING, "Failed", "no")
        await clock.advance(60)
    setup.recorder.event(POD, WARNING, "Failed", "another reason")
    await clock.settle()
    counts = {event["message"]: (event["count"], event["lastTimestamp"]) for event in setup.stored()}
    assert counts == {
        "no": (3, "2026-01-01T00:02:00Z"),
        "another reason": (1, "2026-01-01T00:03:00Z"),
    }


async def test_burst_of_identical_events_is_one_write(setup: Setup, clock: FakeClock) -> None:
    for _ in range(100):
        setup.recorder.event(POD, WARNING, "Failed", "no")
    await clock.settle()
    assert [event["count"] for event in setup.stored()] == [100]
    assert len(setup.transport.requests) == 1


async def test_event_after_a_long_time_is_a_new_one(setup: Setup, clock: FakeClock) -> None:
    setup.recorder.event(POD, WARNING, "Failed", "no")
    await clock.advance(601)
    setup.recorder.event(POD, WARNING, "Failed", "no")
    await clock.settle()
    assert [event["count"] for event in setup.stored()] == [1, 1]


async def test_event_that_expired_at_the_server_is_made_anew(setup: Setup, clock: FakeClock) -> None:
    setup.recorder.event(POD, WARNING, "Failed", "no")
    await clock.settle()
    [old] = setup.stored()
    objects = setup.transport.objects
    objects.delete(objects.locate(f"/api/v1/namespaces/ns/events/{old['metadata']['name']}"), {})
    setup.recorder.event(POD, WARNING, "Failed", "no")
    await clock.settle()
    assert [event["count"] for event in setup.stored()] == [1]


async def test_cluster_scoped_objects_have_their_events_in_default(setup: Setup, clock: FakeClock) -> None:
    node = reference(NODES, Node(metadata=ObjectMeta(name="n")))
    setup.recorder.event(node, WARNING, "Failed", "no")
    await clock.settle()
    [event] = setup.stored("default")
    assert "namespace" not in event["involvedObject"]


async def test_outage_is_bridged(setup: Setup, clock: FakeClock) -> None:
    setup.transport.reachable = False
    setup.recorder.event(POD, WARNING, "Failed", "no")
    await clock.advance(1)
    setup.recorder.event(POD, WARNING, "Failed", "no")  # while the first one is being written
    setup.transport.reachable = True
    await clock.advance(5)
    assert [event["count"] for event in setup.stored()] == [2]
    assert setup.recorder.stats.dropped == 0


@pytest.mark.parametrize(
    ("error", "requests"),
    [
        pytest.param(ForbiddenError(403, "Forbidden", "namespace is being terminated"), 1, id="refused"),
        pytest.param(ServerError(500, "", "broken"), 4, id="broken-server"),
    ],
)
async def test_event_that_cannot_be_written_is_dropped_and_counted(
    setup: Setup, clock: FakeClock, error: Exception, requests: int
) -> None:
    def refuse(_: HttpRequest) -> None:
        raise error

    setup.transport.before = refuse
    setup.recorder.event(POD, WARNING, "Failed", "no")
    await clock.advance(60)
    assert len(setup.transport.requests) == requests
    assert setup.recorder.stats.dropped == 1


async def test_one_object_cannot_flood_the_server(setup: Setup, clock: FakeClock) -> None:
    other = reference(PODS, Pod(metadata=ObjectMeta(name="other", namespace="ns")))
    for number in range(100):
        setup.recorder.event(POD, WARNING, "Failed", f"attempt {number}")
    setup.recorder.event(other, WARNING, "Failed", "no")
    await clock.advance(0)
    assert len(setup.stored()) == 25 + 1
    assert setup.recorder.stats.dropped == 75
    await clock.advance(300)
    setup.recorder.event(POD, WARNING, "Failed", "later")
    await clock.advance(0)
    assert "later" in [event["message"] for event in setup.stored()]


async def test_full_queue_drops_and_counts(clock: FakeClock) -> None:
    setup = Setup(clock)
    for number in range(1010):
        setup.recorder.event(POD, NORMAL, "Saved", f"message {number}")
    assert setup.recorder.stats.dropped == 10


async def test_stopping_writes_what_is_queued(clock: FakeClock) -> None:
    setup = Setup(clock)
    task = asyncio.create_task(setup.recorder.run())
    await clock.settle()
    setup.recorder.event(POD, NORMAL, "Saved", "last words")
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert [event["message"] for event in setup.stored()] == ["last words"]


async def test_stopping_writes_many_side_by_side(clock: FakeClock) -> None:
    setup = Setup(clock)
    waiting: list[asyncio.Event] = []
    most = 0
    send = setup.transport.send

    async def slow(request: HttpRequest) -> bytes:
        nonlocal most
        waiting.append(asyncio.Event())
        most = max(most, len(waiting))
        here = waiting[-1]
        if len(waiting) == 4:
            for one in waiting:
                one.set()
            waiting.clear()
        await here.wait()
        return await send(request)

    setup.transport.send = slow  # type: ignore[method-assign] # the fake's own way to be slow
    task = asyncio.create_task(setup.recorder.run())
    await clock.settle()
    for number in range(20):
        setup.recorder.event(POD, NORMAL, "Saved", f"message {number}")
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert len(setup.stored()) == 20
    assert most == 4
    assert setup.recorder.stats.dropped == 0


async def test_stopping_counts_what_it_cannot_write(clock: FakeClock) -> None:
    setup = Setup(clock)
    setup.transport.reachable = False
    task = asyncio.create_task(setup.recorder.run())
    await clock.settle()
    for number in range(20):
        setup.recorder.event(POD, NORMAL, "Saved", f"message {number}")
    setup.recorder.event(POD, NORMAL, "Saved", "message 0")
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert setup.recorder.stats.dropped == 21


async def test_long_texts_fit(setup: Setup, clock: FakeClock) -> None:
    name = "a" * 235 + ".b" + "c" * 16
    long_name = reference(PODS, Pod(metadata=ObjectMeta(name=name, namespace="ns")))
    setup.recorder.event(long_name, WARNING, "R" * 500, "m" * 5000)
    await clock.settle()
    [event] = setup.stored()
    assert len(event["message"]) == 1024
    assert len(event["reason"]) == 128
    assert len(event["metadata"]["name"]) <= 253
    assert ".." not in event["metadata"]["name"]
