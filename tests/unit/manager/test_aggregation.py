"""From what the nodes say to the status that users see."""

from collections.abc import Mapping

import pytest

from spo.api.meta import Condition
from spo.api.node_status import NodeProfileState, ProfileState
from spo.api.seccomp_profile import NodeCounts, SeccompProfile, SeccompProfileStatus
from spo.manager.aggregation import Observation, is_pressing, next_status
from tests.fakes.profiles_objects import NS, profile

NOW, LATER = "2026-01-03T00:00:00Z", "2026-01-04T00:00:00Z"
Nodes = Mapping[str, NodeProfileState | None]


def says(state: ProfileState, generation: int = 1, message: str = "") -> NodeProfileState:
    return NodeProfileState(state=state, generation=generation, message=message)


INSTALLED = says(ProfileState.INSTALLED)
PENDING = says(ProfileState.PENDING)
FAILED = says(ProfileState.ERROR, message="no space left")


def condition(status: SeccompProfileStatus, kind: str = "Ready") -> Condition | None:
    return next((one for one in status.conditions if one.type == kind), None)


def ready(status: SeccompProfileStatus) -> tuple[str, str]:
    found = condition(status)
    assert found is not None
    return found.status, found.reason


@pytest.mark.parametrize(
    ("nodes", "state", "is_ready"),
    [
        pytest.param({}, "Pending", ("False", "Creating"), id="no-node"),
        pytest.param({"a": None}, "Pending", ("False", "Creating"), id="node-says-nothing"),
        pytest.param({"a": PENDING}, "Pending", ("False", "Creating"), id="pending"),
        pytest.param({"a": INSTALLED}, "Installed", ("True", "Available"), id="installed"),
        pytest.param({"a": INSTALLED, "b": None}, "Pending", ("False", "Creating"), id="one-of-two"),
        pytest.param({"a": INSTALLED, "b": FAILED}, "Error", ("False", "Unavailable"), id="one-fails"),
        pytest.param({"a": PENDING, "b": FAILED}, "Error", ("False", "Unavailable"), id="worst-wins"),
        pytest.param(
            {"a": says(ProfileState.INSTALLED, 0)}, "Pending", ("False", "Creating"), id="older-generation"
        ),
        pytest.param(
            {"a": says(ProfileState.ERROR, 0)}, "Pending", ("False", "Creating"), id="error-of-an-older-one"
        ),
        pytest.param(
            {"a": says(ProfileState.IN_PROGRESS)}, "InProgress", ("False", "Creating"), id="in-progress"
        ),
        pytest.param({"a": says(ProfileState.PARTIAL)}, "Partial", ("False", "Unavailable"), id="partial"),
        pytest.param({"a": says(ProfileState.DISABLED)}, "Disabled", ("False", "Unavailable"), id="disabled"),
        pytest.param(
            {"a": says(ProfileState.TERMINATING), "b": says(ProfileState.PARTIAL)},
            "Terminating",
            ("False", "Deleting"),
            id="terminating-node",
        ),
    ],
)
def test_state_and_ready(nodes: Nodes, state: str, is_ready: tuple[str, str]) -> None:
    status = next_status(profile(), Observation(nodes=nodes), NOW)
    assert status.status == state
    assert ready(status) == is_ready


def with_status(one: SeccompProfile, nodes: Nodes) -> SeccompProfile:
    one.status = next_status(one, Observation(nodes=nodes), NOW)
    return one


def test_ready_stays_true_while_a_new_node_catches_up() -> None:
    present = with_status(profile(), {"a": INSTALLED})
    status = next_status(present, Observation(nodes={"a": INSTALLED, "b": None}), LATER)
    assert ready(status) == ("True", "Available")
    assert status.status == "Pending"
    assert status.nodes == NodeCounts(desired=2, installed=1, failed=0)


def test_ready_falls_when_the_new_node_fails() -> None:
    present = with_status(profile(), {"a": INSTALLED})
    status = next_status(present, Observation(nodes={"a": INSTALLED, "b": FAILED}), LATER)
    assert ready(status) == ("False", "Unavailable")


def test_ready_falls_when_the_spec_changes() -> None:
    present = with_status(profile(), {"a": INSTALLED})
    changed = profile(generation=2, status=present.status)
    status = next_status(changed, Observation(nodes={"a": INSTALLED}), LATER)
    assert ready(status) == ("False", "Creating")
    assert status.status == "Pending"
    assert status.observed_generation == 2


def test_state_stays_while_no_daemon_runs() -> None:
    present = with_status(profile(), {"a": INSTALLED})
    status = next_status(present, Observation(nodes={}), LATER)
    assert (status.status, ready(status)) == ("Installed", ("True", "Available"))


def test_unchanged_world_gives_an_equal_status_at_any_time() -> None:
    present = with_status(profile(), {"a": INSTALLED, "b": FAILED})
    assert next_status(present, Observation(nodes={"a": INSTALLED, "b": FAILED}), LATER) == present.status


def test_transition_time_moves_only_with_the_status() -> None:
    present = with_status(profile(), {"a": PENDING})
    same = condition(next_status(present, Observation(nodes={"a": None}), LATER))
    other = condition(next_status(present, Observation(nodes={"a": INSTALLED}), LATER))
    assert same is not None
    assert other is not None
    assert (same.last_transition_time, other.last_transition_time) == (NOW, LATER)


def test_paths_in_all_their_forms() -> None:
    status = next_status(profile(), Observation(nodes={}), NOW)
    path = f"operator/{NS}/web.json"
    assert status.localhost_profile == status.localhost_profile_key == path
    assert status.path == f"/var/lib/kubelet/seccomp/{path}"


def test_name_without_a_file_has_no_path() -> None:
    status = next_status(profile("n" * 251), Observation(nodes={}), NOW)
    assert (status.localhost_profile, status.localhost_profile_key, status.path) == (None, None, None)


def test_first_failing_nodes_are_named() -> None:
    nodes = {f"node-{n:02}": FAILED for n in range(14)}
    status = next_status(profile(), Observation(nodes=nodes), NOW)
    assert status.nodes == NodeCounts(desired=14, installed=0, failed=14)
    assert [one.node_name for one in status.failing_nodes] == [f"node-{n:02}" for n in range(10)]
    assert status.failing_nodes[0].message == "no space left"
    found = condition(status)
    assert found is not None
    assert found.message == "node-00: no space left"


def test_workloads_are_capped_and_counted() -> None:
    workloads = [f"{NS}/pod-{n:03}" for n in range(60)]
    status = next_status(profile(), Observation(nodes={}, workloads=workloads), NOW)
    assert status.active_workloads == workloads[:50]
    assert status.active_workload_count == 60


def test_warnings_are_passed_on() -> None:
    assert next_status(profile(), Observation(nodes={}, warnings=("odd",)), NOW).warnings == ["odd"]


def test_warnings_fit_into_the_crd() -> None:
    many = tuple(f"syscalls[{index}] names no syscall" for index in range(1000))
    assert next_status(profile(), Observation(nodes={}, warnings=many), NOW).warnings == list(many[:64])


@pytest.mark.parametrize(
    ("workloads", "released", "expected"),
    [
        pytest.param([f"{NS}/pod"], False, ("False", "InUse"), id="in-use"),
        pytest.param([f"{NS}/pod"], True, ("False", "InUse"), id="used-again-after-the-list"),
        pytest.param([], False, ("False", "InUse"), id="the-list-knows-a-pod"),
        pytest.param([], True, ("True", "Unused"), id="unused"),
    ],
)
def test_released(workloads: list[str], released: bool, expected: tuple[str, str]) -> None:
    seen = Observation(nodes={"a": INSTALLED}, workloads=workloads, released=released)
    status = next_status(profile(deleted=True, generation=3), seen, NOW)
    found = condition(status, "Released")
    assert found is not None
    assert (found.status, found.reason) == expected
    assert found.observed_generation == 3
    assert status.status == "Terminating"
    assert ready(status) == ("False", "Deleting")


def test_living_profile_has_no_released_condition() -> None:
    assert condition(next_status(profile(), Observation(nodes={}), NOW), "Released") is None


def observed(nodes: int, installed: int, workloads: int) -> SeccompProfileStatus:
    present = with_status(profile(), {"a": INSTALLED})  # so that Ready stays True
    seen = {f"n{n}": INSTALLED if n < installed else None for n in range(nodes)}
    return next_status(
        present, Observation(nodes=seen, workloads=[f"{NS}/pod-{n}" for n in range(workloads)]), NOW
    )


@pytest.mark.parametrize(
    ("present", "wanted", "pressing"),
    [
        pytest.param(None, observed(2, 0, 0), True, id="first-status"),
        pytest.param(observed(3, 1, 0), observed(3, 2, 0), False, id="one-more-node"),
        pytest.param(observed(3, 2, 0), observed(3, 3, 0), True, id="the-last-node"),
        pytest.param(observed(3, 3, 0), observed(3, 3, 1), True, id="first-pod"),
        pytest.param(observed(3, 3, 1), observed(3, 3, 2), False, id="one-more-pod"),
        pytest.param(observed(3, 3, 1), observed(3, 3, 0), True, id="last-pod-gone"),
    ],
)
def test_what_must_be_written_at_once(
    present: SeccompProfileStatus | None, wanted: SeccompProfileStatus, pressing: bool
) -> None:
    assert is_pressing(present, wanted) is pressing
