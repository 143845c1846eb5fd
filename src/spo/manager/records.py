"""What the manager keeps of the objects it watches: a few shared bytes of each."""

from collections.abc import Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

import msgspec

from spo.api.core import Node, Pod
from spo.api.node_status import NodeProfileState, ProfileState, SecurityProfileNodeStatus
from spo.names import SPOD_NAME
from spo.profiles.paths import ProfileKey, referenced_profiles

NAME_LABEL: Final = "name"
_KNOWN_STATES: Final = frozenset(ProfileState)


class PodRecord(NamedTuple):
    """A pod that matters: it uses a profile, or it is the operator's pod of a node."""

    name: str
    """``<namespace>/<name>``, as shown in ``activeWorkloads``."""
    references: tuple[ProfileKey, ...]
    spod_node: str
    """The node it looks after if it is a pod of the spod DaemonSet, else empty."""


class PodProjection:
    """Turns pods into records; pods that do not matter are not kept at all."""

    def __init__(self, operator_namespace: str) -> None:
        self._operator_namespace = operator_namespace

    def __call__(self, pod: Pod) -> PodRecord | None:
        """The record of a pod, ``None`` if it does not matter."""
        metadata = pod.metadata
        references = referenced_profiles(pod)
        is_spod = (
            metadata.namespace == self._operator_namespace and metadata.labels.get(NAME_LABEL) == SPOD_NAME
        )
        spod_node = (pod.spec.node_name or "") if is_spod else ""
        if not references and not spod_node:
            return None
        return PodRecord(f"{metadata.namespace}/{metadata.name}", references, spod_node)


class ProfileStates:
    """What one node says, or many nodes with the same words: equal ones are one object."""

    __slots__ = ("__weakref__", "by_key")

    def __init__(self, by_key: Mapping[str, NodeProfileState]) -> None:
        self.by_key: Final = by_key


class NodeReport(NamedTuple):
    """A node status."""

    node: str
    states: ProfileStates


class ReportProjection:
    """Turns node statuses into reports.

    Nodes mostly have the same profiles in the same state, so their reports share one mapping; without
    that, a large cluster would cost nodes x profiles entries of memory.
    """

    def __init__(self) -> None:
        self._shared: WeakValueDictionary[bytes, ProfileStates] = WeakValueDictionary()

    def __call__(self, status: SecurityProfileNodeStatus) -> NodeReport:
        """The report of a node."""
        known = {
            key: entry if entry.state in _KNOWN_STATES else _as_pending(entry)
            for key, entry in status.profiles.items()
        }
        fingerprint = blake2b(msgspec.json.encode(known, order="sorted"), digest_size=20).digest()
        states = self._shared.get(fingerprint)
        if states is None:
            states = ProfileStates(MappingProxyType(known))
            self._shared[fingerprint] = states
        return NodeReport(status.metadata.name, states)


def _as_pending(entry: NodeProfileState) -> NodeProfileState:
    """An entry with a state of a newer daemon that this manager does not know."""
    return NodeProfileState(state=ProfileState.PENDING, generation=entry.generation, message=entry.message)


class NodeState(NamedTuple):
    """A node: heartbeats change nothing here."""

    name: str
    ready: bool


def project_node(node: Node) -> NodeState:
    """The state of a node; one without a Ready condition has just been added."""
    ready = next((one for one in node.status.conditions if one.type == "Ready"), None)
    return NodeState(node.metadata.name, ready is None or ready.status == "True")
