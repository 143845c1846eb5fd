"""Which files a change wakes."""

import pytest

from spo.api.seccomp_profile import SeccompProfile
from spo.controller import Request
from spo.daemon.wakeups import BASE_INDEX, Wakeups, base_of, project_pod
from spo.kube.cache import Cache
from spo.profiles.paths import ProfileKey
from tests.fakes.profiles_objects import NS, pod, profile, put, released


class Node:
    def __init__(self, *profiles: SeccompProfile) -> None:
        self.cache: Cache[SeccompProfile] = Cache("SeccompProfile")
        self.cache.add_index(BASE_INDEX, base_of)
        put(self.cache, *profiles)
        self.woken: list[Request] = []
        self.wakeups = Wakeups(self.woken.append, self.cache)

    @property
    def names(self) -> list[str]:
        return [request.name for request in self.woken]


@pytest.mark.parametrize(
    ("old", "new", "woken"),
    [
        pytest.param(None, profile(), True, id="created"),
        pytest.param(profile(), None, True, id="gone"),
        pytest.param(profile(), profile(generation=2), True, id="spec-changed"),
        pytest.param(profile(), profile(deleted=True), True, id="deletion-begins"),
        pytest.param(profile(deleted=True), released(profile()), True, id="released"),
        pytest.param(profile(), profile(finalizers=("x",)), False, id="metadata-only"),
    ],
)
def test_profile_change(old: SeccompProfile | None, new: SeccompProfile | None, woken: bool) -> None:
    node = Node()
    node.wakeups.profile_changed(old, new)
    assert node.woken == ([Request(NS, "web")] if woken else [])


def test_both_names_of_a_file_wake_the_same_file() -> None:
    node = Node()
    node.wakeups.profile_changed(None, profile("web.json"))
    assert node.names == ["web"]


def test_changed_base_wakes_everything_that_builds_on_it_once() -> None:
    node = Node(
        profile("middle", base="base"), profile("top", base="middle"), profile("top-2", base="middle")
    )
    node.wakeups.profile_changed(profile("base"), profile("base", generation=2))
    assert sorted(node.names) == ["base", "middle", "top", "top-2"]


def test_base_that_appears_wakes_its_users() -> None:
    node = Node(profile("user", base="base"))
    node.wakeups.profile_changed(None, profile("base"))
    assert node.names == ["base", "user"]


def test_base_in_deletion_does_not_wake_its_users() -> None:
    node = Node(profile("user", base="base"))
    node.wakeups.profile_changed(profile("base"), profile("base", deleted=True))
    assert node.names == ["base"]


def test_cycle_of_bases_ends() -> None:
    node = Node(profile("a", base="b"), profile("b", base="a"))
    node.wakeups.profile_changed(profile("a", base="b"), profile("a", base="b", generation=2))
    assert sorted(node.names) == ["a", "b"]


USED = (ProfileKey(NS, "web"),)


def test_last_pod_of_a_living_profile_wakes_nothing() -> None:
    node = Node(profile())
    node.wakeups.pod_changed(USED, None)
    assert node.woken == []


@pytest.mark.parametrize(
    "profiles", [pytest.param((), id="absent"), pytest.param((profile(deleted=True),), id="being-deleted")]
)
def test_gone_pod_wakes_the_file_that_may_go(profiles: tuple[SeccompProfile, ...]) -> None:
    node = Node(*profiles)
    node.wakeups.pod_changed(USED, None)
    assert node.names == ["web"]


@pytest.mark.parametrize(
    ("key", "woken"),
    [
        pytest.param(f"SeccompProfile/{NS}/web", [Request(NS, "web")], id="ours"),
        pytest.param(f"SeccompProfile/{NS}/web.json", [Request(NS, "web")], id="with-suffix"),
        pytest.param(f"SelinuxProfile/{NS}/web", [], id="another-kind"),
        pytest.param("SeccompProfile", [], id="broken"),
        pytest.param("SeccompProfile//web", [], id="no-namespace"),
    ],
)
def test_claims(key: str, woken: list[Request]) -> None:
    node = Node()
    node.wakeups.claimed(key)
    assert node.woken == woken


def test_only_pods_that_use_a_profile_are_kept() -> None:
    assert project_pod(pod("plain")) is None
    assert project_pod(pod("foreign", "some/other.json")) is None
    assert project_pod(pod("user", f"operator/{NS}/web.json")) == USED
