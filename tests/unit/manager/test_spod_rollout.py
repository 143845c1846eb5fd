"""What the status says for every state of the DaemonSet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.api.meta import ObjectMeta
from spo.api.spod import SpodState
from spo.manager.spod.objects import DaemonSet, DaemonSetStatus
from spo.manager.spod.rollout import progress

RUNNING, CREATING, UPDATING = SpodState.RUNNING, SpodState.CREATING, SpodState.UPDATING


def daemon_set(desired: int, updated: int, ready: int, *, observed: int = 2) -> DaemonSet:
    status = DaemonSetStatus(
        observed_generation=observed,
        desired_number_scheduled=desired,
        updated_number_scheduled=updated,
        number_ready=ready,
    )
    return DaemonSet(metadata=ObjectMeta(name="spod", generation=2), status=status)


@pytest.mark.parametrize(
    ("found", "before", "state", "reason", "message"),
    [
        (daemon_set(0, 0, 0, observed=0), None, CREATING, "Creating", "has changed a moment ago"),
        (daemon_set(3, 3, 3, observed=1), RUNNING, UPDATING, "Updating", "has changed a moment ago"),
        (daemon_set(3, 1, 3), SpodState.PENDING, CREATING, "Creating", "ready on 1 of 3 nodes"),
        (daemon_set(3, 2, 3), UPDATING, UPDATING, "Updating", "ready on 2 of 3 nodes"),
        (daemon_set(3, 3, 2), SpodState.ERROR, UPDATING, "Updating", "ready on 2 of 3 nodes"),
        (daemon_set(3, 3, 3), CREATING, RUNNING, "Available", "ready on 3 nodes"),
        (daemon_set(1, 1, 1), RUNNING, RUNNING, "Available", "ready on 1 node"),
        (daemon_set(0, 0, 0), CREATING, RUNNING, "Available", "ready on 0 nodes"),
        (daemon_set(3, 3, 1), RUNNING, RUNNING, "Unavailable", "ready on 1 of 3 nodes"),
    ],
)
def test_state_and_reason(
    found: DaemonSet, before: SpodState | None, state: SpodState, reason: str, message: str
) -> None:
    said = progress(found, before)
    assert (said.state, said.reason) == (state, reason)
    assert message in said.message


@given(
    numbers=st.tuples(*[st.integers(0, 4)] * 3),
    observed=st.integers(0, 2),
    before=st.none() | st.sampled_from(SpodState),
)
def test_ready_means_every_node_runs_the_present_generation(
    numbers: tuple[int, int, int], observed: int, before: SpodState | None
) -> None:
    desired, updated, ready = numbers
    said = progress(daemon_set(desired, updated, ready, observed=observed), before)
    complete = observed == 2 and updated >= desired and ready >= desired
    assert (said.condition(7).status == "True") == complete
    assert said.condition(7).observed_generation == 7
