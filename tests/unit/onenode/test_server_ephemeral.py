"""Ephemeral containers, and pods whose node is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from onenode.pod_gc import PodGc
from tests.fakes.onenode_api import Api, running_api

PODS = "/api/v1/namespaces/default/pods"
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p"},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with running_api() as running:
        yield running


async def add(api: Api, *containers: dict[str, Any], status: int = 200) -> dict[str, Any]:
    body = {"spec": {"ephemeralContainers": list(containers)}, "metadata": {"labels": {"not": "taken"}}}
    return await api.call("PATCH", f"{PODS}/p/ephemeralcontainers", body, status, **STRATEGIC)


async def test_ephemeral_containers_are_added_defaulted_and_alone(api: Api) -> None:
    await api.call("POST", PODS, POD, 201)
    await add(api, {"name": "one", "image": "busybox"})
    pod = await add(api, {"name": "two", "image": "busybox:1", "targetContainerName": "c"})
    by_name = {one["name"]: one for one in pod["spec"]["ephemeralContainers"]}
    assert sorted(by_name) == ["one", "two"]
    assert by_name["one"]["imagePullPolicy"] == "Always"
    assert "labels" not in pod["metadata"]
    assert await api.call("GET", f"{PODS}/p/ephemeralcontainers") == await api.call("GET", f"{PODS}/p")


@pytest.mark.parametrize(
    ("container", "text"),
    [
        ({"name": "one", "image": "other"}, 'existing ephemeral containers "one" may not be changed'),
        ({"name": "c", "image": "i"}, "spec.ephemeralContainers[0].name: Duplicate value"),
        ({"name": "two"}, "spec.ephemeralContainers[0].image: Required value"),
        ({"name": "two", "image": "i", "ports": [{"containerPort": 1}]}, "cannot be set for an Ephemeral"),
        ({"name": "two", "image": "i", "targetContainerName": "x"}, "targetContainerName: Not found"),
    ],
)
async def test_wrong_ephemeral_container_is_refused(api: Api, container: dict[str, Any], text: str) -> None:
    await api.call("POST", PODS, POD, 201)
    await add(api, {"name": "one", "image": "busybox"})
    assert text in (await add(api, container, status=422))["message"]


async def test_ephemeral_containers_are_not_removed_and_not_set_at_creation(api: Api) -> None:
    await api.call("POST", PODS, POD, 201)
    pod = await add(api, {"name": "one", "image": "busybox"})
    del pod["spec"]["ephemeralContainers"]
    answer = await api.call("PUT", f"{PODS}/p/ephemeralcontainers", pod, 422)
    assert 'existing ephemeral containers "one" may not be removed' in answer["message"]
    spec = {**POD["spec"], "ephemeralContainers": [{"name": "one", "image": "i"}]}
    answer = await api.call("POST", PODS, {**POD, "metadata": {"name": "q"}, "spec": spec}, 422)
    assert "spec.ephemeralContainers: Forbidden: cannot be set on create" in answer["message"]


async def test_pods_of_a_missing_node_go_after_a_while(api: Api) -> None:
    await api.call("POST", "/api/v1/nodes", {"metadata": {"name": "n"}}, 201)
    for name, node in (("here", "n"), ("lost", "gone")):
        spec = {**POD["spec"], "nodeName": node}
        await api.call("POST", PODS, {**POD, "metadata": {"name": name}, "spec": spec}, 201)
    collector = PodGc(api.store, quarantine_s=0)
    watch = api.store.watch("pods")
    collector.start()
    for _ in range(3):
        await asyncio.sleep(0)
    assert [record.name for record in api.store.records("pods")] == ["here"]
    failed = await anext(watch)
    assert failed.record.view["status"]["phase"] == "Failed"
    assert failed.record.view["status"]["conditions"][-1]["reason"] == "DeletionByPodGC"
    watch.close()


async def test_node_that_comes_back_keeps_its_pods(api: Api) -> None:
    spec = {**POD["spec"], "nodeName": "n"}
    await api.call("POST", PODS, {**POD, "spec": spec}, 201)
    collector = PodGc(api.store, quarantine_s=0)
    collector.start()
    api.store.create("nodes", {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n"}})
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(api.store.records("pods")) == 1
