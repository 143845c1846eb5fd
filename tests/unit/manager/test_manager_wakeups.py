"""Which profiles a change wakes."""

import pytest

from spo.api.meta import ObjectMeta
from spo.api.node_status import NodeProfileState, SecurityProfileNodeStatus
from spo.api.seccomp_profile import SeccompProfile
from spo.controller import Request
from spo.kube.cache import Cache, Key
from spo.manager.cluster_view import REFERENCE_INDEX, SPOD_INDEX, ClusterView, references_of, spod_node_of
from spo.manager.liveness import NodeLiveness
from spo.manager.records import NodeReport, NodeState, PodRecord, ReportProjection
from spo.manager.wakeups import ALL_DELAY_S, Wakeups
from spo.profiles.paths import ProfileKey
from tests.fakes.clock import FakeClock
from tests.fakes.profiles_objects import NS, profile, put


class Manager:
    def __init__(self, *profiles: SeccompProfile) -> None:
        self.clock = FakeClock()
        self.profiles: Cache[SeccompProfile] = Cache("SeccompProfile")
        put(self.profiles, *profiles)
        self.pods: Cache[PodRecord] = Cache("Pod")
        self.pods.add_index(REFERENCE_INDEX, references_of)
        self.pods.add_index(SPOD_INDEX, spod_node_of)
        self.liveness = NodeLiveness(300.0)
        reports: Cache[NodeReport] = Cache("SecurityProfileNodeStatus")
        view = ClusterView(self.pods, reports, self.liveness, self.clock, "operator-ns")
        self.woken: list[Request] = []
        self.wakeups = Wakeups(self.woken.append, self.profiles, view, self.liveness, self.clock)


def report(**states: str) -> NodeReport:
    profiles = {
        key.replace("_", "/"): NodeProfileState(state=state, generation=1) for key, state in states.items()
    }
    return ReportProjection()(
        SecurityProfileNodeStatus(metadata=ObjectMeta(name="n"), node_name="n", profiles=profiles)
    )


@pytest.mark.parametrize(
    ("old", "new", "woken"),
    [
        pytest.param(None, report(SeccompProfile_ns_a="Pending"), {"a"}, id="first-report"),
        pytest.param(report(SeccompProfile_ns_a="Pending"), None, {"a"}, id="report-gone"),
        pytest.param(
            report(SeccompProfile_ns_a="Pending", SeccompProfile_ns_b="Installed"),
            report(SeccompProfile_ns_a="Installed", SeccompProfile_ns_b="Installed"),
            {"a"},
            id="only-what-changed",
        ),
        pytest.param(None, report(SelinuxProfile_ns_a="Pending"), set(), id="another-kind"),
    ],
)
def test_reports(old: NodeReport | None, new: NodeReport | None, woken: set[str]) -> None:
    manager = Manager()
    manager.wakeups.report_changed(old, new)
    assert {request.name for request in manager.woken} == woken


def test_profile_that_comes_or_goes_wakes_the_other_one_with_its_file() -> None:
    manager = Manager()
    manager.wakeups.profile_changed(None, profile("web.json"))
    assert set(manager.woken) == {Request(NS, "web.json"), Request(NS, "web")}


def test_changed_profile_wakes_itself_only() -> None:
    manager = Manager()
    manager.wakeups.profile_changed(profile(), profile(generation=2))
    assert manager.woken == [Request(NS, "web")]


def test_pod_wakes_both_objects_that_its_file_may_belong_to() -> None:
    manager = Manager()
    manager.wakeups.pod_changed(None, PodRecord(f"{NS}/user", (ProfileKey(NS, "web"),), ""))
    assert set(manager.woken) == {Request(NS, "web"), Request(NS, "web.json")}


async def test_many_changed_nodes_wake_every_profile_once() -> None:
    manager = Manager(profile("a"), profile("b"))
    for n in range(50):
        spod = PodRecord(f"operator-ns/spod-{n}", (), f"node-{n}")
        manager.pods.update([(Key("operator-ns", f"spod-{n}"), spod)])
        manager.wakeups.node_changed(None, NodeState(f"node-{n}", ready=True))
        manager.wakeups.pod_changed(None, spod)
    assert manager.woken == []
    await manager.clock.advance(ALL_DELAY_S)
    assert sorted(request.name for request in manager.woken) == ["a", "b"]
    assert manager.liveness.gone_at("node-7") is None


async def test_node_that_goes_is_known_as_gone() -> None:
    manager = Manager(profile("a"))
    node = NodeState("node-1", ready=True)
    manager.wakeups.node_changed(None, node)
    manager.wakeups.node_changed(node, None)
    await manager.clock.advance(ALL_DELAY_S)
    assert manager.liveness.is_gone("node-1", manager.clock.monotonic())
    assert [request.name for request in manager.woken] == ["a"]


async def test_node_that_is_not_ready_starts_its_time() -> None:
    manager = Manager()
    manager.wakeups.node_changed(None, NodeState("node-1", ready=False))
    assert manager.liveness.gone_at("node-1") == 300.0
