"""What the manager keeps of pods, node statuses and nodes."""

import pytest

from spo.api.core import Node, NodeStatus, Pod
from spo.api.meta import Condition, ObjectMeta
from spo.api.node_status import NodeProfileState, ProfileState, SecurityProfileNodeStatus
from spo.manager.records import NodeState, PodProjection, PodRecord, ReportProjection, project_node
from spo.profiles.paths import ProfileKey
from tests.fakes.profiles_objects import NS, pod

OPERATOR = "operator-ns"
PATH = f"operator/{NS}/web.json"


def spod(namespace: str = OPERATOR, node: str | None = "node-1", label: str = "spod") -> Pod:
    made = pod("spod-x", namespace=namespace)
    made.metadata.labels = {"name": label}
    made.spec.node_name = node
    return made


@pytest.mark.parametrize(
    ("one", "record"),
    [
        pytest.param(pod("plain"), None, id="plain"),
        pytest.param(
            pod("user", PATH, PATH), PodRecord(f"{NS}/user", (ProfileKey(NS, "web"),), ""), id="user"
        ),
        pytest.param(spod(), PodRecord(f"{OPERATOR}/spod-x", (), "node-1"), id="spod"),
        pytest.param(spod(node=None), None, id="spod-not-scheduled"),
        pytest.param(spod(namespace="elsewhere"), None, id="spod-of-somebody-else"),
        pytest.param(spod(label="webhook"), None, id="other-pod-of-ours"),
    ],
)
def test_pods(one: Pod, record: PodRecord | None) -> None:
    assert PodProjection(OPERATOR)(one) == record


def status(node: str, state: str) -> SecurityProfileNodeStatus:
    profiles = {"SeccompProfile/ns/a": NodeProfileState(state=state, generation=1)}
    return SecurityProfileNodeStatus(metadata=ObjectMeta(name=node), node_name=node, profiles=profiles)


def test_nodes_that_say_the_same_share_one_mapping() -> None:
    project = ReportProjection()
    one, other = project(status("a", "Installed")), project(status("b", "Installed"))
    assert one.states is other.states
    assert project(status("c", "Error")).states is not one.states
    assert (one.node, other.node) == ("a", "b")


def test_repeated_report_equals_the_one_before() -> None:
    project = ReportProjection()
    first = project(status("a", "Installed"))
    assert project(status("a", "Installed")) == first


def test_state_of_a_newer_daemon_counts_as_pending() -> None:
    report = ReportProjection()(status("a", "Hibernating"))
    assert report.states.by_key["SeccompProfile/ns/a"].state == ProfileState.PENDING


@pytest.mark.parametrize(
    ("conditions", "ready"),
    [
        pytest.param([], True, id="just-added"),
        pytest.param([Condition(type="Ready", status="True")], True, id="ready"),
        pytest.param([Condition(type="Ready", status="Unknown")], False, id="unknown"),
        pytest.param([Condition(type="MemoryPressure", status="False")], True, id="another-condition"),
    ],
)
def test_nodes(conditions: list[Condition], ready: bool) -> None:
    node = Node(metadata=ObjectMeta(name="a"), status=NodeStatus(conditions=conditions))
    assert project_node(node) == NodeState("a", ready)
