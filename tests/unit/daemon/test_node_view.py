"""When the caches are enough to remove a file."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from spo.api.core import PODS
from spo.api.seccomp_profile import SECCOMP_PROFILES
from spo.api.spod import SPODS
from spo.daemon.node_view import CachedNodeView, rules_of
from spo.daemon.wakeups import REFERENCE_INDEX, References, project_pod
from spo.kube.client import KubeClient
from spo.kube.config import server_config
from spo.kube.informer import Informer
from spo.kube.wire import KeyMeta, Unreadable
from spo.profiles.paths import ProfileKey
from tests.fakes.api_server import FakeApiServer
from tests.fakes.profiles_objects import NS, pod, profile

FILE = ProfileKey(NS, "web")


class Caches:
    """Informers of an empty cluster; the tests tell them what a watch would."""

    def __init__(self, client: KubeClient) -> None:
        self.profiles = Informer(client, SECCOMP_PROFILES)
        self.pods: Informer[References] = Informer(client, PODS, project=project_pod)
        self.pods.add_index(REFERENCE_INDEX, lambda references: references)
        self.view = CachedNodeView(self.profiles, self.pods, Informer(client, SPODS, project=rules_of))


@pytest.fixture
async def caches() -> AsyncIterator[Caches]:
    async with FakeApiServer() as server, KubeClient(server_config(server.url)) as client:
        made = Caches(client)
        assert not made.view.is_certain(FILE)
        running = [asyncio.create_task(informer.run()) for informer in (made.profiles, made.pods)]
        await made.profiles.synced()
        await made.pods.synced()
        yield made
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def unreadable(name: str) -> Unreadable:
    return Unreadable(KeyMeta(name, NS, "uid", "2"), "Expected `array`, got `str`")


async def test_profile_that_cannot_be_read_blocks_its_own_file_only(caches: Caches) -> None:
    caches.profiles.changed(profile("web"))
    assert caches.view.is_certain(FILE)
    for name, certain in (("other", True), ("web.json", False), ("web", False)):
        caches.profiles.not_readable(unreadable(name))
        assert caches.view.is_certain(FILE) is certain, name
        caches.profiles.deleted(KeyMeta(name, NS, "uid", "3"))
    assert caches.view.is_certain(FILE)


async def test_pod_that_cannot_be_read_may_use_any_file(caches: Caches) -> None:
    assert not caches.view.is_referenced(FILE)
    caches.pods.not_readable(unreadable("odd"))
    assert caches.view.is_referenced(FILE)
    caches.pods.deleted(KeyMeta("odd", NS, "uid", "3"))
    caches.pods.changed(pod("user", f"operator/{NS}/web.json"))
    assert caches.view.is_referenced(FILE)
    assert not caches.view.is_referenced(ProfileKey(NS, "other"))
