"""Writes of the manager to an API server, and what it reads right after them."""

from collections.abc import AsyncIterator

import pytest

from spo.api.seccomp_profile import SECCOMP_PROFILES, SeccompProfile, SeccompProfileStatus
from spo.kube.cache import Cache, Key
from spo.kube.client import KubeClient
from spo.kube.config import server_config
from spo.kube.errors import NotFoundError
from spo.manager.profile_store import ProfileStore
from tests.fakes.api_server import FakeApiServer
from tests.fakes.profiles_objects import NS


@pytest.fixture
async def client() -> AsyncIterator[KubeClient]:
    async with FakeApiServer() as server, KubeClient(server_config(server.url)) as made:
        yield made


async def create(client: KubeClient, name: str = "web") -> SeccompProfile:
    body = {"metadata": {"name": name}, "spec": {"defaultAction": "SCMP_ACT_LOG"}}
    return await client.create(SECCOMP_PROFILES, body, NS)


def cached(*profiles: SeccompProfile) -> Cache[SeccompProfile]:
    cache: Cache[SeccompProfile] = Cache("SeccompProfile")
    cache.update([(Key(NS, one.metadata.name), one) for one in profiles])
    return cache


def add_x(profile: SeccompProfile) -> list[str]:
    return [*profile.metadata.finalizers, "example.com/x"]


async def test_status_is_written_to_the_subresource_only(client: KubeClient) -> None:
    profile = await create(client)
    store = ProfileStore(client, cached(profile))
    await store.write_status(profile, SeccompProfileStatus(status="Pending"))
    stored = await client.get(SECCOMP_PROFILES, "web", NS)
    assert stored.status == SeccompProfileStatus(status="Pending")
    assert stored.spec == profile.spec
    assert stored.metadata.generation == 1


async def test_own_write_is_read_before_the_cache_has_it(client: KubeClient) -> None:
    profile = await create(client)
    store = ProfileStore(client, cached(profile))
    written = await store.write_status(profile, SeccompProfileStatus(status="Pending"))
    assert store.get(NS, "web") == written


async def test_newer_state_in_the_cache_wins(client: KubeClient) -> None:
    profile = await create(client)
    cache = cached(profile)
    store = ProfileStore(client, cache)
    await store.write_status(profile, SeccompProfileStatus(status="Pending"))
    newer = await client.patch(SECCOMP_PROFILES, "web", NS, {"spec": {"defaultAction": "SCMP_ACT_ALLOW"}})
    cache.update([(Key(NS, "web"), newer)])
    assert store.get(NS, "web") is newer


async def test_gone_from_the_cache_is_gone(client: KubeClient) -> None:
    profile = await create(client)
    cache = cached(profile)
    store = ProfileStore(client, cache)
    await store.write_status(profile, SeccompProfileStatus(status="Pending"))
    cache.update([(Key(NS, "web"), None)])
    assert store.get(NS, "web") is None


async def test_recreated_object_is_not_hidden_by_a_write_to_the_old_one(client: KubeClient) -> None:
    profile = await create(client)
    store_cache = cached(profile)
    store = ProfileStore(client, store_cache)
    await store.write_status(profile, SeccompProfileStatus(status="Pending"))
    await client.delete(SECCOMP_PROFILES, "web", NS)
    again = await create(client)
    store_cache.update([(Key(NS, "web"), again)])
    assert store.get(NS, "web") is again


async def test_finalizers_survive_a_conflict(client: KubeClient) -> None:
    stale = await create(client)
    await client.patch(SECCOMP_PROFILES, "web", NS, {"metadata": {"finalizers": ["example.com/other"]}})
    await ProfileStore(client, cached(stale)).change_finalizers(stale, add_x)
    stored = await client.get(SECCOMP_PROFILES, "web", NS)
    assert stored.metadata.finalizers == ["example.com/other", "example.com/x"]


async def test_finalizers_of_a_recreated_object_are_left_alone(client: KubeClient) -> None:
    old = await create(client)
    await client.delete(SECCOMP_PROFILES, "web", NS)
    await create(client)
    await ProfileStore(client, cached(old)).change_finalizers(old, add_x)
    assert (await client.get(SECCOMP_PROFILES, "web", NS)).metadata.finalizers == []


async def test_vanished_object_is_reported_as_such(client: KubeClient) -> None:
    profile = await create(client)
    await client.delete(SECCOMP_PROFILES, "web", NS)
    store = ProfileStore(client, cached(profile))
    with pytest.raises(NotFoundError):
        await store.change_finalizers(profile, add_x)
    with pytest.raises(NotFoundError):
        await store.write_status(profile, SeccompProfileStatus(status="Pending"))
