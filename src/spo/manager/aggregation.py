"""Pure: from what the nodes say about one profile to the status that users see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from spo.api.meta import Condition, set_condition
from spo.api.node_status import NodeProfileState, ProfileState
from spo.api.seccomp_profile import FailingNode, NodeCounts, SeccompProfile, SeccompProfileStatus
from spo.names import KUBELET_SECCOMP_ROOT
from spo.profiles.paths import ProfileNameError, localhost_profile
from spo.profiles.release import READY, RELEASED, is_true

MAX_FAILING_NODES: Final = 10
MAX_WORKLOADS: Final = 50
MAX_WARNINGS: Final = 64
"""As in the CRD: the API server refuses a status with more, and nothing else would be reported either."""

_WORST_FIRST: Final = (
    ProfileState.ERROR,
    ProfileState.TERMINATING,
    ProfileState.PARTIAL,
    ProfileState.DISABLED,
    ProfileState.PENDING,
    ProfileState.IN_PROGRESS,
    ProfileState.INSTALLED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Everything about one profile, apart from the object, that its status depends on."""

    nodes: Mapping[str, NodeProfileState | None]
    """Each node that should have the profile -> what it says, ``None`` if it says nothing."""
    workloads: Sequence[str] = ()
    """``<namespace>/<pod>`` of every pod that references the profile, sorted."""
    released: bool = False
    """No pod referenced it in a list taken after its deletion was seen."""
    warnings: tuple[str, ...] = ()
    """What is odd about the spec, but no reason to refuse it."""


def next_status(profile: SeccompProfile, seen: Observation, now: str) -> SeccompProfileStatus:
    """The status of ``profile``; equal to the present one if nothing changed."""
    generation = profile.metadata.generation
    failing = _failing(seen.nodes, generation)
    present = profile.status.conditions if profile.status else []
    conditions = set_condition(present, _ready(profile, seen, failing), now)[0]
    if profile.metadata.deletion_timestamp:
        conditions = set_condition(conditions, _released(generation, seen), now)[0]
    path = _path(profile)
    installed = sum(state is ProfileState.INSTALLED for state in _states(seen.nodes, generation))
    return SeccompProfileStatus(
        conditions=conditions,
        status=overall_state(profile, seen.nodes),
        path=f"{KUBELET_SECCOMP_ROOT}/{path}" if path else None,
        localhost_profile=path,
        localhost_profile_key=path,
        active_workloads=list(seen.workloads[:MAX_WORKLOADS]),
        active_workload_count=len(seen.workloads),
        nodes=NodeCounts(desired=len(seen.nodes), installed=installed, failed=len(failing)),
        failing_nodes=failing[:MAX_FAILING_NODES],
        warnings=list(seen.warnings[:MAX_WARNINGS]),
        observed_generation=generation,
    )


def overall_state(profile: SeccompProfile, nodes: Mapping[str, NodeProfileState | None]) -> ProfileState:
    """The worst state of all nodes.

    Without any node the state stays as it is: while all daemons are replaced, the files stay too.
    """
    if profile.metadata.deletion_timestamp:
        return ProfileState.TERMINATING
    present, generation = profile.status, profile.metadata.generation
    if not nodes and present and present.status and present.observed_generation == generation:
        return ProfileState(present.status)
    states = _states(nodes, generation)
    return min(states, key=_WORST_FIRST.index, default=ProfileState.PENDING)


def is_pressing(present: SeccompProfileStatus | None, wanted: SeccompProfileStatus) -> bool:
    """Whether the difference must be written now.

    Mere progress (one more node of many, one more pod of many) may wait and join the next write, or
    a large cluster would write a status for every node and every pod.
    """
    if present is None:
        return True
    had_workloads, has_workloads = bool(present.active_workloads), bool(wanted.active_workloads)
    return had_workloads != has_workloads or _without_progress(present) != _without_progress(wanted)


def _without_progress(status: SeccompProfileStatus) -> SeccompProfileStatus:
    return msgspec.structs.replace(status, nodes=NodeCounts(), active_workloads=[], active_workload_count=0)


def _states(nodes: Mapping[str, NodeProfileState | None], generation: int) -> list[ProfileState]:
    return [
        # What a node says about another spec says nothing about this one.
        ProfileState(entry.state) if entry and entry.generation == generation else ProfileState.PENDING
        for entry in nodes.values()
    ]


def _failing(nodes: Mapping[str, NodeProfileState | None], generation: int) -> list[FailingNode]:
    return [
        FailingNode(node_name=name, message=entry.message)
        for name, entry in sorted(nodes.items())
        if entry and entry.generation == generation and entry.state == ProfileState.ERROR
    ]


def _ready(profile: SeccompProfile, seen: Observation, failing: Sequence[FailingNode]) -> Condition:
    generation = profile.metadata.generation
    state = overall_state(profile, seen.nodes)
    if state is ProfileState.TERMINATING:
        return _condition(READY, "False", "Deleting", "the profile is being deleted", generation)
    if failing:
        message = f"{failing[0].node_name}: {failing[0].message}"
        return _condition(READY, "False", "Unavailable", message, generation)
    if state in {ProfileState.PARTIAL, ProfileState.DISABLED}:
        return _condition(READY, "False", "Unavailable", f"the profile is {state.lower()}", generation)
    # This very spec was on every node before: then only a new node is catching up.
    if state is ProfileState.INSTALLED or is_true(profile, READY):
        return _condition(READY, "True", "Available", "", generation)
    message = "waiting for the nodes" if seen.nodes else "no node runs the operator's daemon"
    return _condition(READY, "False", "Creating", message, generation)


def _released(generation: int, seen: Observation) -> Condition:
    if seen.released and not seen.workloads:
        return _condition(RELEASED, "True", "Unused", "", generation)
    return _condition(RELEASED, "False", "InUse", "pods still reference the profile", generation)


def _condition(kind: str, status: str, reason: str, message: str, generation: int) -> Condition:
    return Condition(type=kind, status=status, reason=reason, message=message, observed_generation=generation)


def _path(profile: SeccompProfile) -> str | None:
    try:
        return localhost_profile(profile.metadata.namespace or "", profile.metadata.name)
    except ProfileNameError:
        return None
