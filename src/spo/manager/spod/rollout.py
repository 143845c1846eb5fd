"""Pure: what the status of a spod object says about its DaemonSet."""

from dataclasses import dataclass
from typing import Final

from spo.api.meta import Condition
from spo.api.spod import SpodState
from spo.manager.spod.objects import DaemonSet
from spo.profiles.release import READY

AVAILABLE: Final = "Available"
CREATING: Final = "Creating"
IGNORED: Final = "Ignored"
INVALID: Final = "Invalid"
PENDING: Final = "Pending"
UNAVAILABLE: Final = "Unavailable"
UPDATING: Final = "Updating"


@dataclass(frozen=True, slots=True)
class Progress:
    """State and condition ``Ready``."""

    state: SpodState | None
    reason: str
    message: str = ""

    def condition(self, generation: int) -> Condition:
        """The condition, said about a generation of the spod object."""
        return Condition(
            type=READY,
            status="True" if self.reason == AVAILABLE else "False",
            reason=self.reason,
            message=self.message,
            observed_generation=generation,
        )


def waiting(message: str) -> Progress:
    """Nothing is done yet."""
    return Progress(SpodState.PENDING, PENDING, message)


def invalid(problem: str) -> Progress:
    """The settings cannot be carried out."""
    return Progress(SpodState.ERROR, INVALID, f"{problem}; the DaemonSet is left as it was")


def ignored(name: str) -> Progress:
    """Another object counts."""
    return Progress(None, IGNORED, f"only the object {name} of this namespace counts; delete this one")


def progress(daemon_set: DaemonSet, before: SpodState | None) -> Progress:
    """How far the DaemonSet is, of which the API server has the wanted spec.

    Args:
        daemon_set: newest state that is known.
        before: what the status says so far; a roll-out that has ended does not begin again because a pod
            is replaced.
    """
    status = daemon_set.status
    desired, ready = status.desired_number_scheduled, status.number_ready
    current = status.observed_generation >= daemon_set.metadata.generation
    updated = current and status.updated_number_scheduled >= desired
    nodes = "1 node" if desired == 1 else f"{desired} nodes"
    if updated and ready >= desired:
        return Progress(SpodState.RUNNING, AVAILABLE, f"ready on {nodes}")
    if updated and before == SpodState.RUNNING:
        return Progress(SpodState.RUNNING, UNAVAILABLE, f"ready on {ready} of {nodes}")
    if before in {None, SpodState.PENDING, SpodState.CREATING}:
        state, reason = SpodState.CREATING, CREATING
    else:
        state, reason = SpodState.UPDATING, UPDATING
    if not current:
        return Progress(state, reason, "the DaemonSet has changed a moment ago")
    done = min(ready, status.updated_number_scheduled)
    return Progress(state, reason, f"ready on {done} of {nodes}")
