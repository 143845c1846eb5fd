"""Pods are followed where there are bindings, and nowhere else."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from spo.api.core import PODS
from spo.manager.bound_pods import BoundPods
from tests.fakes.api_server_in_process import in_process_client
from tests.fakes.clock import FakeClock


class World:
    """Pods in four namespaces, and who follows them."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.client, self.transport = in_process_client()
        self.told: list[str] = []
        self.pods = BoundPods(self.client, self.clock, self.told.append, max_watches=2)

    async def create(self, namespace: str, name: str) -> None:
        body: dict[str, Any] = {"metadata": {"name": name}, "spec": {"containers": []}}
        await self.client.create(PODS, body, namespace)
        await self.clock.settle()

    async def follow(self, *namespaces: str) -> None:
        self.pods.follow(namespaces)
        await self.clock.advance(2)

    def known(self) -> dict[str, list[str] | None]:
        found = {one: self.pods.pods(one) for one in "abcd"}
        return {one: pods and [pod.name for pod in pods] for one, pods in found.items()}

    def lists(self) -> list[str]:
        paths = [request.path for request in self.transport.requests if "limit" in request.params]
        self.transport.requests.clear()
        return paths


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    for namespace in "abcd":
        await made.create(namespace, f"pod-{namespace}")
    task = asyncio.create_task(made.pods.run())
    await made.clock.settle()
    yield made
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_nothing_is_asked_while_nothing_is_bound(world: World) -> None:
    assert world.lists() == []
    assert world.known() == dict.fromkeys("abcd")


async def test_few_namespaces_are_asked_for_one_by_one(world: World) -> None:
    await world.follow("a", "b")
    assert world.known() == {"a": ["pod-a"], "b": ["pod-b"], "c": None, "d": None}
    assert sorted(world.lists()) == ["/api/v1/namespaces/a/pods", "/api/v1/namespaces/b/pods"]
    await world.follow("b")
    assert world.known() == {"a": None, "b": ["pod-b"], "c": None, "d": None}
    assert world.lists() == []


async def test_many_namespaces_share_one_watch_that_keeps_only_theirs(world: World) -> None:
    await world.follow("a", "b", "c")
    assert world.lists() == ["/api/v1/pods"]
    assert world.known() == {"a": ["pod-a"], "b": ["pod-b"], "c": ["pod-c"], "d": None}
    await world.follow("b", "c", "d")
    assert world.lists() == ["/api/v1/pods"]
    assert world.known() == {"a": None, "b": ["pod-b"], "c": ["pod-c"], "d": ["pod-d"]}
    await world.follow("c")
    assert world.known() == {"a": None, "b": None, "c": ["pod-c"], "d": None}


@pytest.mark.parametrize("namespaces", [("a",), ("a", "b", "c")])
async def test_changes_are_told_with_their_namespace(world: World, namespaces: tuple[str, ...]) -> None:
    await world.follow(*namespaces)
    assert set(world.told) == set(namespaces)
    world.told.clear()
    await world.create("a", "second")
    await world.create("d", "second")
    assert world.told == ["a"]
    await world.client.delete(PODS, "second", "a")
    await world.clock.settle()
    assert world.told == ["a", "a"]
