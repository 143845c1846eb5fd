"""The profiles that an installation has from the start."""

import asyncio
import contextlib
from pathlib import Path

import msgspec
import pytest
import yaml

from spo.api.seccomp_profile import SECCOMP_PROFILES, SeccompProfileSpec
from spo.kube.client import KubeClient
from spo.manager.default_profile_data import DEFAULT_PROFILES
from spo.manager.default_profiles import DefaultProfileControllers
from spo.profiles.validation import validate
from spo.settings import ManagerSettings
from tests.fakes.api_server_in_process import in_process_client
from tests.fakes.clock import FakeClock

OPERATOR = "security-profiles-operator"
EXAMPLES = Path(__file__).parents[3] / "examples"


async def lead(client: KubeClient, settings: ManagerSettings) -> None:
    clock = FakeClock()
    running = asyncio.create_task(DefaultProfileControllers(client, settings, clock).run())
    for _ in range(4):
        await clock.settle()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def names(client: KubeClient, namespace: str) -> set[str]:
    found = await client.list_page(SECCOMP_PROFILES, namespace)
    return {one.metadata.name for one in found.items}


@pytest.mark.parametrize(
    ("watched", "expected"),
    [
        pytest.param((), OPERATOR, id="all-namespaces"),
        pytest.param(("apps", OPERATOR), "apps", id="one-namespace"),
        pytest.param((OPERATOR,), OPERATOR, id="its-own"),
    ],
)
async def test_they_are_created_where_they_can_be_used(watched: tuple[str, ...], expected: str) -> None:
    client, _ = in_process_client()
    await lead(client, ManagerSettings(namespaces=watched))
    assert await names(client, expected) == set(DEFAULT_PROFILES)
    for other in {OPERATOR, "apps"} - {expected}:
        assert await names(client, other) == set()


async def test_they_need_not_be() -> None:
    client, transport = in_process_client()
    await lead(client, ManagerSettings(default_profiles=False))
    assert transport.requests == []


async def test_ours_is_brought_up_to_date_and_anothers_left() -> None:
    client, transport = in_process_client()
    ours = {
        "metadata": {"name": "nginx-1.19.1", "labels": {"app": OPERATOR}},
        "spec": {"defaultAction": "SCMP_ACT_LOG"},
    }
    theirs = {"metadata": {"name": "runc-v1.0.0"}, "spec": {"defaultAction": "SCMP_ACT_LOG"}}
    for one in (ours, theirs):
        await client.create(SECCOMP_PROFILES, one, OPERATOR)
    await lead(client, ManagerSettings())
    nginx = await client.get(SECCOMP_PROFILES, "nginx-1.19.1", OPERATOR)
    assert nginx.spec == msgspec.convert(DEFAULT_PROFILES["nginx-1.19.1"], SeccompProfileSpec)
    runc = await client.get(SECCOMP_PROFILES, "runc-v1.0.0", OPERATOR)
    assert runc.spec.default_action == "SCMP_ACT_LOG"

    transport.requests.clear()
    await lead(client, ManagerSettings())
    assert {one.method for one in transport.requests} == {"GET"}


@pytest.mark.parametrize(
    ("name", "example"),
    [
        ("nginx-1.19.1", "nginx-1.19.1.yaml"),
        ("runc-v1.0.0", "baseprofile-runc.yaml"),
        ("crun-v0.20.1", "baseprofile-crun.yaml"),
    ],
)
def test_they_are_those_of_the_examples(name: str, example: str) -> None:
    found = yaml.safe_load((EXAMPLES / example).read_text())
    assert (found["metadata"]["name"], found["spec"]) == (name, DEFAULT_PROFILES[name])


@pytest.mark.parametrize("name", DEFAULT_PROFILES)
def test_they_are_valid(name: str) -> None:
    assert validate(msgspec.convert(DEFAULT_PROFILES[name], SeccompProfileSpec)) == ()
