"""When a node may take pods, and what is done about its taint."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from spo.api.core import EVENTS
from spo.api.meta import ObjectMeta
from spo.api.node_status import PROFILE_NODE_STATUSES, NodeProfileState
from spo.api.seccomp_profile import SeccompProfile, SeccompProfileSpec
from spo.api.spod import NodeGate, SecurityProfilesOperatorDaemon, SpodSpec
from spo.controller import DONE, Request
from spo.kube.client import KubeClient
from spo.kube.config import server_config
from spo.kube.errors import ConflictError
from spo.kube.events import EventRecorder
from spo.manager.node_gate.decision import decide, timeout_of, wanted_profiles
from spo.manager.node_gate.objects import TAINTED_NODES, GatedNode, TaintedNode, TaintedSpec, gated
from spo.manager.node_gate.reconciler import NodeGateApi, NodeGateReconciler
from spo.manager.spod.installation import Installation
from spo.manager.spod.rendering import render
from spo.names import NODE_GATE_TAINT, PARTIAL_LABEL
from tests.fakes.api_server import Call, FakeApiServer
from tests.fakes.clock import FakeClock

NS = "security-profiles-operator"
WEB, DB = "SeccompProfile/team/web", "SeccompProfile/team/db"
TAINT = {"key": NODE_GATE_TAINT, "effect": "NoSchedule"}
OTHER = {"key": "other", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}


def entry(state: str = "Installed", generation: int = 1) -> NodeProfileState:
    return NodeProfileState(state=state, generation=generation)


@pytest.mark.parametrize(
    ("reported", "waited_s", "is_open", "missing"),
    [
        pytest.param({WEB: entry(), DB: entry()}, 0, True, (), id="all-installed"),
        pytest.param({WEB: entry(), DB: entry("Error")}, 0, True, (), id="refused-counts"),
        pytest.param({WEB: entry(), DB: entry("Pending")}, 0, False, ("team/db",), id="pending"),
        pytest.param({WEB: entry()}, 0, False, ("team/db",), id="not-taken-up"),
        pytest.param(
            {WEB: entry(), DB: entry(generation=2)}, 0, False, ("team/db",), id="another-generation"
        ),
        pytest.param(None, 0, False, ("team/db", "team/web"), id="no-report"),
        pytest.param({WEB: entry()}, 299.9, False, ("team/db",), id="just-before-the-end"),
        pytest.param({WEB: entry()}, 300, True, ("team/db",), id="timed-out"),
        pytest.param(None, 300, True, ("team/db", "team/web"), id="timed-out-without-report"),
    ],
)
def test_decision(
    reported: dict[str, NodeProfileState] | None, waited_s: float, is_open: bool, missing: tuple[str, ...]
) -> None:
    verdict = decide({WEB: 1, DB: 1}, reported, waited_s=waited_s, timeout_s=300)
    assert (verdict.is_open, verdict.missing) == (is_open, missing)
    assert verdict.has_reported == (reported is not None)


def test_without_profiles_the_daemon_must_have_reported() -> None:
    assert not decide({}, None, waited_s=0, timeout_s=300).is_open
    assert decide({}, {}, waited_s=0, timeout_s=300).is_open


def profile(name: str, **fields: Any) -> SeccompProfile:
    spec = SeccompProfileSpec(default_action="SCMP_ACT_ALLOW", disabled=fields.pop("disabled", False))
    return SeccompProfile(metadata=ObjectMeta(name=name, namespace="team", generation=3, **fields), spec=spec)


def test_profiles_that_should_be_on_a_node() -> None:
    profiles = [
        profile("web"),
        profile("going", deletion_timestamp="2026-01-01T00:00:00Z"),
        profile("off", disabled=True),
        profile("half", labels={PARTIAL_LABEL: "true"}),
    ]
    assert wanted_profiles(profiles) == {WEB: 3}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("1h30m", 5400), ("0s", 0), ("9" * 30 + "h", 7 * 24 * 3600)],
)
def test_timeout(text: str, seconds: float) -> None:
    spec = SpodSpec(node_gate=NodeGate(timeout=text))
    spod = SecurityProfilesOperatorDaemon(metadata=ObjectMeta(name="spod"), spec=spec)
    assert timeout_of(spod) == seconds


def test_timeout_that_is_not_set() -> None:
    assert timeout_of(None) == 300
    assert timeout_of(SecurityProfilesOperatorDaemon(metadata=ObjectMeta(name="spod"))) == 300


@pytest.mark.parametrize("effect", ["NoSchedule", "NoExecute"])
def test_node_waits_while_it_has_the_taint(effect: str) -> None:
    node = TaintedNode(
        metadata=ObjectMeta(name="n", uid="u"), spec=TaintedSpec(taints=[OTHER, {**TAINT, "effect": effect}])
    )
    assert gated(node) == GatedNode("n", "u")
    assert gated(TaintedNode(metadata=ObjectMeta(name="n"), spec=TaintedSpec(taints=[OTHER]))) is None


class World:
    """A node at an API server, and the reconciler."""

    def __init__(self, server: FakeApiServer, client: KubeClient) -> None:
        self.server = server
        self.client = client
        self.clock = FakeClock()
        self.events = EventRecorder(client, "node-gate", clock=self.clock)
        self.wanted = {WEB: 1}
        self.nodes: dict[str, GatedNode] = {}
        self.reconciler = NodeGateReconciler(
            NodeGateApi(client, NS),
            self.nodes.get,
            lambda: self.wanted,
            lambda: 300.0,
            self.events,
            self.clock,
        )

    async def start(self) -> None:
        body = {"metadata": {"name": "n"}, "spec": {"taints": [OTHER, TAINT]}}
        made = await self.client.create(TAINTED_NODES, body)
        self.nodes["n"] = GatedNode("n", made.metadata.uid)

    async def report(self, uid: str | None = None, **states: str) -> None:
        owner = {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": uid or self.nodes["n"].uid}
        entries = {
            f"SeccompProfile/team/{key}": {"state": one, "generation": 1} for key, one in states.items()
        }
        metadata = {"name": "n", "namespace": NS, "ownerReferences": [owner]}
        body = {"metadata": metadata, "nodeName": "n", "profiles": entries}
        await self.client.apply(PROFILE_NODE_STATUSES, body, "n", NS)

    async def reconcile(self) -> float | None:
        return (await self.reconciler.reconcile(Request("", "n"))).requeue_after

    async def taints(self) -> list[dict[str, Any]]:
        return (await self.client.get(TAINTED_NODES, "n")).spec.taints


async def eventually_written(world: World) -> None:
    while not world.events.stats.created:
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with FakeApiServer() as server, KubeClient(server_config(server.url)) as client:
        made = World(server, client)
        await made.start()
        yield made


async def test_taint_goes_with_the_last_profile_and_others_stay(world: World) -> None:
    assert await world.reconcile() == 300
    await world.report(web="Pending")
    assert await world.reconcile() == 300
    assert await world.taints() == [OTHER, TAINT]
    await world.report(web="Installed")
    assert await world.reconcile() is None
    assert await world.taints() == [OTHER]
    assert world.events.stats.recorded == 0


async def test_status_of_an_earlier_node_of_this_name_does_not_count(world: World) -> None:
    await world.report(uid="earlier", web="Installed")
    assert await world.reconcile() == 300
    assert await world.taints() == [OTHER, TAINT]


async def test_after_the_time_it_opens_with_a_warning(world: World) -> None:
    world.wanted = {f"SeccompProfile/team/p{index}": 1 for index in range(8)}
    await world.report()
    assert await world.reconcile() == 300
    await world.clock.advance(300)
    assert await world.reconcile() is None
    assert await world.taints() == [OTHER]
    writing = asyncio.create_task(world.events.run())
    await eventually_written(world)
    writing.cancel()
    (event,) = (await world.client.list_page(EVENTS, "default")).items
    assert (event.type, event.reason, event.involved_object.name) == ("Warning", "ProfilesNotReady", "n")
    assert event.message == (
        "takes pods after 300 s without all profiles: team/p0, team/p1, team/p2, team/p3, team/p4 and 3 more"
    )


async def test_time_begins_again_for_another_node_of_this_name(world: World) -> None:
    assert await world.reconcile() == 300
    await world.clock.advance(200)
    assert await world.reconcile() == 100
    world.nodes["n"] = GatedNode("n", "another")
    assert await world.reconcile() == 300
    del world.nodes["n"]
    assert await world.reconciler.reconcile(Request("", "n")) == DONE


async def test_change_by_somebody_else_is_a_conflict(world: World) -> None:
    await world.report(web="Installed")

    def is_patch(call: Call) -> bool:
        return call.method == "PATCH" and call.path.endswith("/nodes/n")

    await world.reconcile()
    (call,) = world.server.requests(is_patch)
    assert call.json()["metadata"]["resourceVersion"]
    with pytest.raises(ConflictError):
        await world.client.patch(TAINTED_NODES, "n", None, call.json())


async def test_node_that_is_gone_needs_nothing(world: World) -> None:
    await world.report(web="Installed")
    await world.client.delete(TAINTED_NODES, "n")
    assert await world.reconcile() is None


def test_daemons_run_on_nodes_that_wait() -> None:
    spod = SecurityProfilesOperatorDaemon(metadata=ObjectMeta(name="spod", uid="u"))
    toleration = {"key": NODE_GATE_TAINT, "operator": "Exists"}
    pods = [
        render(spod, Installation(image="i", node_gate=enabled))["spec"]["template"]["spec"]
        for enabled in (False, True)
    ]
    assert [toleration in one.get("tolerations", []) for one in pods] == [False, True]
