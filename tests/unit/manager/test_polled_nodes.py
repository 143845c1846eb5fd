"""Nodes that are asked one by one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import MappingProxyType

import pytest

from spo.api.core import NODES
from spo.manager.polled_nodes import LOOK_AGAIN_S, PolledNodes
from spo.manager.records import NodeReport, NodeState, ProfileStates
from tests.fakes.api_server_in_process import in_process_client
from tests.fakes.clock import FakeClock


def report(node: str) -> NodeReport:
    return NodeReport(node, ProfileStates(MappingProxyType({})))


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.client, self.transport = in_process_client()
        self.reports = [report("a"), report("b")]
        self.nodes: dict[str, NodeState] = {}
        self.polled = PolledNodes(self.client, lambda: self.reports, self.changed, self.clock)

    def changed(self, old: NodeState | None, new: NodeState | None) -> None:
        assert old == self.nodes.get((old or new or NodeState("", ready=False)).name)
        if new is not None:
            self.nodes[new.name] = new
        elif old is not None:
            del self.nodes[old.name]

    async def node(self, name: str, *, ready: bool) -> None:
        condition = {"type": "Ready", "status": str(ready)}
        await self.client.create(NODES, {"metadata": {"name": name}, "status": {"conditions": [condition]}})


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    await made.node("a", ready=True)
    await made.node("b", ready=False)
    await made.node("without-report", ready=True)
    running = asyncio.create_task(made.polled.run())
    await made.clock.settle()
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_nodes_with_a_report_are_known(world: World) -> None:
    assert world.nodes == {"a": NodeState("a", ready=True), "b": NodeState("b", ready=False)}
    assert not any(one.path.endswith("/nodes") for one in world.transport.requests if one.method == "GET")


async def test_a_node_that_is_gone_is_told(world: World) -> None:
    await world.client.delete(NODES, "a")
    await world.clock.advance(LOOK_AGAIN_S)
    assert set(world.nodes) == {"b"}


async def test_who_writes_the_first_report_counts_at_once(world: World) -> None:
    world.polled.report_changed(None, report("c"))
    assert world.nodes["c"] == NodeState("c", ready=True)
    await world.clock.advance(LOOK_AGAIN_S)
    assert "c" not in world.nodes


async def test_a_node_that_cannot_be_asked_stays_as_it_was(world: World) -> None:
    world.transport.reachable = False
    await world.clock.advance(LOOK_AGAIN_S)
    assert set(world.nodes) == {"a", "b"}
