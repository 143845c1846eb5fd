"""What the client promises holds for a real API server, and the fakes behave like one.

Runs against both fakes, and against the cluster of ``KUBECONFIG`` if that is set.
"""

import contextlib
import os
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec
import pytest

from spo.api.core import LEASES, NAMESPACES, Lease, Namespace
from spo.api.meta import ObjectMeta
from spo.api.resource import Resource
from spo.kube.client import KubeClient
from spo.kube.config import server_config
from spo.kube.errors import (
    AlreadyExistsError,
    ConflictError,
    GoneError,
    InvalidError,
    NotFoundError,
)
from spo.kube.wire import Added, Bookmark, Deleted, Modified, WatchEvent
from tests.fakes.api_server import FakeApiServer
from tests.fakes.api_server_in_process import in_process_client


class ConfigMap(msgspec.Struct, omit_defaults=True):
    metadata: ObjectMeta
    data: dict[str, str] | None = None


CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps", True, ConfigMap)


@dataclass
class Cluster:
    client: KubeClient
    namespace: str

    async def add(self, name: str, **labels: str) -> ConfigMap:
        metadata = ObjectMeta(name=name, namespace=self.namespace, labels=labels)
        return await self.client.create(CONFIG_MAPS, ConfigMap(metadata, {"key": "value"}))

    async def set(self, name: str, value: str | None) -> ConfigMap:
        return await self.client.patch(CONFIG_MAPS, name, self.namespace, {"data": {"key": value}})


SERVERS = ["socket", "in-process", *(["KUBECONFIG"] if os.environ.get("KUBECONFIG") else [])]


@pytest.fixture(params=SERVERS)
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    async with contextlib.AsyncExitStack() as stack:
        namespace = f"contract-{secrets.token_hex(4)}"
        if request.param == "KUBECONFIG":
            client = await stack.enter_async_context(KubeClient.from_env(os.environ))
            await client.create(NAMESPACES, Namespace(metadata=ObjectMeta(name=namespace)))
            stack.push_async_callback(client.delete, NAMESPACES, namespace)
        elif request.param == "socket":
            server = await stack.enter_async_context(FakeApiServer())
            client = await stack.enter_async_context(KubeClient(server_config(server.url)))
        else:
            client, _ = in_process_client()
        yield Cluster(client, namespace)


async def test_created_object_can_be_read(cluster: Cluster) -> None:
    made = await cluster.add("a", colour="red")
    read = await cluster.client.get(CONFIG_MAPS, "a", cluster.namespace)
    assert read == made
    assert read.data == {"key": "value"}
    assert read.metadata.labels == {"colour": "red"}
    assert read.metadata.namespace == cluster.namespace
    assert read.metadata.uid
    assert read.metadata.resource_version


async def test_name_can_be_taken_once(cluster: Cluster) -> None:
    await cluster.add("a")
    with pytest.raises(AlreadyExistsError, match='"a" already exists'):
        await cluster.add("a")


async def test_absent_object(cluster: Cluster) -> None:
    with pytest.raises(NotFoundError, match='"nothing" not found'):
        await cluster.client.get(CONFIG_MAPS, "nothing", cluster.namespace)
    with pytest.raises(NotFoundError):
        await cluster.client.delete(CONFIG_MAPS, "nothing", cluster.namespace)
    with pytest.raises(NotFoundError):
        await cluster.set("nothing", "x")


async def test_object_without_name_is_invalid(cluster: Cluster) -> None:
    with pytest.raises(InvalidError):
        await cluster.add("")


async def test_pages_are_of_one_moment(cluster: Cluster) -> None:
    for number in range(5):
        await cluster.add(f"cm{number}", ours="yes")
    first = await cluster.client.list_page(CONFIG_MAPS, cluster.namespace, label_selector="ours=yes", limit=2)
    await cluster.add("late", ours="yes")
    await cluster.client.delete(CONFIG_MAPS, "cm3", cluster.namespace)
    names = [item.metadata.name for item in first.items]
    page = first
    while page.continue_:
        page = await cluster.client.list_page(
            CONFIG_MAPS, cluster.namespace, label_selector="ours=yes", limit=2, continue_=page.continue_
        )
        assert page.resource_version == first.resource_version
        names += [item.metadata.name for item in page.items]
    assert names == [f"cm{number}" for number in range(5)]


async def test_namespace_that_does_not_exist_is_empty(cluster: Cluster) -> None:
    page = await cluster.client.list_page(CONFIG_MAPS, "no-such-namespace")
    assert page.items == []
    assert page.resource_version


async def test_merge_patch_with_a_stale_version_conflicts(cluster: Cluster) -> None:
    made = await cluster.add("a")
    await cluster.set("a", "new")
    stale = {"metadata": {"resourceVersion": made.metadata.resource_version}, "data": {"key": "mine"}}
    with pytest.raises(ConflictError):
        await cluster.client.patch(CONFIG_MAPS, "a", cluster.namespace, stale)


async def test_merge_patch_adds_and_removes(cluster: Cluster) -> None:
    await cluster.add("a")
    body = {"data": {"key": None, "other": "x"}, "metadata": {"annotations": {"a": "b"}}}
    changed = await cluster.client.patch(CONFIG_MAPS, "a", cluster.namespace, body)
    assert changed.data == {"other": "x"}
    assert changed.metadata.annotations == {"a": "b"}


async def test_write_that_changes_nothing_keeps_the_version(cluster: Cluster) -> None:
    made = await cluster.add("a")
    same = await cluster.set("a", "value")
    assert same.metadata.resource_version == made.metadata.resource_version


async def test_apply_creates_updates_and_keeps(cluster: Cluster) -> None:
    body = {"data": {"key": "1"}}
    first = await cluster.client.apply(CONFIG_MAPS, body, "a", cluster.namespace, field_manager="me")
    again = await cluster.client.apply(CONFIG_MAPS, body, "a", cluster.namespace, field_manager="me")
    assert again.metadata.resource_version == first.metadata.resource_version
    body = {"data": {"key": "2"}}
    second = await cluster.client.apply(CONFIG_MAPS, body, "a", cluster.namespace, field_manager="me")
    assert second.data == {"key": "2"}
    assert second.metadata.uid == first.metadata.uid


async def test_delete_spares_another_object_of_the_same_name(cluster: Cluster) -> None:
    made = await cluster.add("a")
    with pytest.raises(ConflictError):
        await cluster.client.delete(CONFIG_MAPS, "a", cluster.namespace, uid="another")
    await cluster.client.delete(CONFIG_MAPS, "a", cluster.namespace, uid=made.metadata.uid)
    with pytest.raises(NotFoundError):
        await cluster.client.get(CONFIG_MAPS, "a", cluster.namespace)


async def test_finalizer_keeps_the_object_until_it_is_dropped(cluster: Cluster) -> None:
    finalizers = {"metadata": {"finalizers": ["example.com/test"]}}
    await cluster.add("a")
    await cluster.client.patch(CONFIG_MAPS, "a", cluster.namespace, finalizers)
    await cluster.client.delete(CONFIG_MAPS, "a", cluster.namespace)
    kept = await cluster.client.get(CONFIG_MAPS, "a", cluster.namespace)
    assert kept.metadata.deletion_timestamp
    await cluster.client.patch(CONFIG_MAPS, "a", cluster.namespace, {"metadata": {"finalizers": None}})
    with pytest.raises(NotFoundError):
        await cluster.client.get(CONFIG_MAPS, "a", cluster.namespace)


async def _watch(
    cluster: Cluster, version: str, count: int, label_selector: str | None = None
) -> list[tuple[str, str]]:
    """(kind of event, name) of the next ``count`` events that are no bookmarks."""
    seen: list[tuple[str, str]] = []
    events = cluster.client.watch(
        CONFIG_MAPS,
        cluster.namespace,
        resource_version=version,
        timeout_s=10,
        label_selector=label_selector,
    )
    async with contextlib.aclosing(events):
        while len(seen) < count:
            event: WatchEvent[ConfigMap] = await anext(events)
            assert isinstance(event, Added | Modified | Deleted | Bookmark)
            if not isinstance(event, Bookmark):
                seen.append((type(event).__name__, event.object.metadata.name))
    return seen


async def test_watch_tells_what_happened_since_a_list(cluster: Cluster) -> None:
    await cluster.add("before")
    version = (await cluster.client.list_page(CONFIG_MAPS, cluster.namespace)).resource_version
    await cluster.add("a")
    changed = await cluster.set("a", "new")
    await cluster.client.delete(CONFIG_MAPS, "a", cluster.namespace)

    assert await _watch(cluster, version, 3) == [("Added", "a"), ("Modified", "a"), ("Deleted", "a")]
    # And again from the middle.
    assert await _watch(cluster, changed.metadata.resource_version, 1) == [("Deleted", "a")]


async def test_watch_with_a_selector_reports_leaving_as_deletion(cluster: Cluster) -> None:
    version = (await cluster.client.list_page(CONFIG_MAPS, cluster.namespace)).resource_version
    await cluster.add("a", colour="red")
    await cluster.add("b", colour="blue")
    for colour in ("blue", "red"):
        labels = {"metadata": {"labels": {"colour": colour}}}
        await cluster.client.patch(CONFIG_MAPS, "a", cluster.namespace, labels)

    assert await _watch(cluster, version, 3, "colour=red") == [
        ("Added", "a"),
        ("Deleted", "a"),
        ("Added", "a"),
    ]


async def test_watch_ends_when_its_time_is_over(cluster: Cluster) -> None:
    version = (await cluster.client.list_page(CONFIG_MAPS, cluster.namespace)).resource_version
    events = cluster.client.watch(CONFIG_MAPS, cluster.namespace, resource_version=version, timeout_s=1)
    async with contextlib.aclosing(events):
        assert [event async for event in events if not isinstance(event, Bookmark)] == []


async def test_watch_from_a_forgotten_version_is_gone(cluster: Cluster) -> None:
    await cluster.add("a")
    events = cluster.client.watch(CONFIG_MAPS, cluster.namespace, resource_version="1", timeout_s=2)
    known = False
    async with contextlib.aclosing(events):
        try:
            known = [event async for event in events] != []
        except GoneError:
            return
    # Only a young cluster still knows its whole past.
    assert known
    assert os.environ.get("KUBECONFIG")


async def test_lease_takes_micro_times_only(cluster: Cluster) -> None:
    spec = {"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z"}
    body = {"metadata": {"name": "lock"}, "spec": spec}
    lease = await cluster.client.create(LEASES, body, cluster.namespace)
    assert isinstance(lease, Lease)
    assert lease.spec.renew_time == "2026-01-01T00:00:00.000000Z"
