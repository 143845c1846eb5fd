"""How many API requests a change of a profile costs, counted by the server that gets them.

Daemons of several nodes and a manager, the real ones, in this process, against the small API server of the
tests on a socket: it keeps every request, so nothing is estimated and nothing is missed.
"""

import asyncio
import logging
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from spo.api.seccomp_profile import SECCOMP_PROFILES, SeccompProfile
from spo.kube.wire import Added, Deleted, Modified
from tests.fakes import profiles_cluster
from tests.fakes.api_server import Call, FakeApiServer
from tests.fakes.profiles_cluster import NS, Cluster, gone, installed, is_object_write

NODES = 5
ROUNDS = 10
BATCH = 200
OURS = "test"
IDLE_S = 10.0
LIMIT_S = 120.0


def is_event(call: Call) -> bool:
    """A write of an Event."""
    return call.method != "GET" and "/events" in call.path


def is_lease(call: Call) -> bool:
    """The leader's sign of life."""
    return "/leases" in call.path


def is_read(call: Call) -> bool:
    """A GET that is no watch."""
    return call.method == "GET" and not call.watching and not is_lease(call)


class Counter:
    """Requests of the operator. It deletes nothing, and our own writes come with our name."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._begin = 0

    def start(self) -> None:
        """Count from here."""
        self._begin = len(self._cluster.server.calls)

    def counts(self) -> tuple[int, int, int]:
        """Writes of objects, writes of Events, reads."""
        calls = [
            call
            for call in self._cluster.server.calls[self._begin :]
            if call.params.get("fieldManager") != OURS and call.method != "DELETE"
        ]
        return tuple(sum(map(kind, calls)) for kind in (is_object_write, is_event, is_read))  # type: ignore[return-value]


async def quiet(cluster: Cluster) -> None:
    """Until nothing but Leases was asked for half a second."""
    async with asyncio.timeout(60):
        while True:
            before = sum(not is_lease(call) for call in cluster.server.calls)
            await asyncio.sleep(0.5)
            if before == sum(not is_lease(call) for call in cluster.server.calls):
                return


class Observed:
    """The profiles, from one watch: asking for them would be counted."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._changed = asyncio.Event()
        self.now: dict[str, SeccompProfile] = {}

    async def run(self) -> None:
        """Follow them."""
        client = self._cluster.client
        since = (await client.list_page(SECCOMP_PROFILES, NS)).resource_version
        events = client.watch(SECCOMP_PROFILES, NS, resource_version=since, timeout_s=3000)
        async for event in events:
            if isinstance(event, Deleted):
                self.now.pop(event.object.metadata.name, None)
            elif isinstance(event, Added | Modified):
                self.now[event.object.metadata.name] = event.object
            self._changed.set()

    async def until(self, names: Sequence[str], condition: Callable[[SeccompProfile | None], bool]) -> None:
        """Wait until all of these are so."""
        async with asyncio.timeout(LIMIT_S):
            while not all(condition(self.now.get(name)) for name in names):
                await self._changed.wait()
                self._changed.clear()


async def measured(
    cluster: Cluster, counter: Counter, change: Callable[[], Awaitable[None]]
) -> tuple[int, int, int]:
    """What one change costs until nothing happens any more."""
    await quiet(cluster)
    counter.start()
    await change()
    await quiet(cluster)
    return counter.counts()


def _row(what: str, found: Sequence[tuple[int, int, int]], per: int, promise: str) -> tuple[str, ...]:
    worst = max(one[0] for one in found) / per
    events, reads = (max(one[index] for one in found) / per for index in (1, 2))
    return (what, str(len(found)), f"{worst:g}", promise, f"{events:g}", f"{reads:g}")


async def _count(cluster: Cluster, seen: Observed) -> list[tuple[str, ...]]:
    counter, client = Counter(cluster), cluster.client
    budget = f"<= 2 x {NODES} + 3 = {2 * NODES + 3}", f"<= {NODES} + 3 = {NODES + 3}"

    async def create(*names: str) -> None:
        await asyncio.gather(*(cluster.add_profile(name) for name in names))
        await seen.until(names, installed)

    async def change(name: str, action: str) -> None:
        body = {"spec": {"defaultAction": action}}
        version = (await client.patch(SECCOMP_PROFILES, name, NS, body)).metadata.generation
        await seen.until(
            [name],
            lambda one: (
                installed(one) and bool(one and one.status and one.status.observed_generation == version)
            ),
        )

    async def delete(*names: str) -> None:
        await asyncio.gather(*(client.delete(SECCOMP_PROFILES, name, NS) for name in names))
        await seen.until(names, gone)

    names = [f"single-{number}" for number in range(ROUNDS)]
    new = [await measured(cluster, counter, lambda name=name: create(name)) for name in names]  # type: ignore[misc]
    changed = [
        await measured(cluster, counter, lambda name=name: change(name, "SCMP_ACT_LOG"))  # type: ignore[misc]
        for name in names
    ]
    deleted = [await measured(cluster, counter, lambda name=name: delete(name)) for name in names]  # type: ignore[misc]
    batch = [f"batch-{number}" for number in range(BATCH)]
    together = await measured(cluster, counter, lambda: create(*batch))
    counter.start()
    await asyncio.sleep(IDLE_S)
    idle = counter.counts()
    removed = await measured(cluster, counter, lambda: delete(*batch))
    return [
        _row("new profile", new, 1, budget[0]),
        _row("changed profile", changed, 1, budget[1]),
        _row("deleted profile", deleted, 1, "-"),
        _row(f"{BATCH} new at once, each", [together], BATCH, budget[0]),
        _row(f"{BATCH} deleted at once, each", [removed], BATCH, "-"),
        _row(f"nothing for {IDLE_S:.0f} s, {BATCH} profiles", [idle], 1, "0"),
    ]


async def _run() -> list[tuple[str, ...]]:
    profiles_cluster.NODE_COUNT = NODES
    with tempfile.TemporaryDirectory() as folder:
        async with FakeApiServer() as server, AsyncExitStack() as clients:
            cluster = Cluster(server, Path(folder), clients)
            await cluster.start()
            seen = Observed(cluster)
            watching = asyncio.create_task(seen.run())
            try:
                await quiet(cluster)
                return await _count(cluster, seen)
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
                await cluster.stop()


HEADER = ("what", "n", "writes (worst)", "promise", "Events", "lists and reads")


def request_rows() -> list[tuple[str, ...]]:
    """Rows of a table with :data:`HEADER`."""
    logging.disable(logging.WARNING)
    try:
        return asyncio.run(_run())
    finally:
        logging.disable(logging.NOTSET)


if __name__ == "__main__":
    print("\n".join(" | ".join(row) for row in (HEADER, *request_rows())))
