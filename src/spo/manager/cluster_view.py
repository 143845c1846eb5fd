"""What the manager's caches say about one profile."""

from collections.abc import Iterable
from typing import Final, cast

from spo.api.node_status import NodeProfileState
from spo.kube.cache import Cache
from spo.kube.clock import Clock
from spo.manager.liveness import NodeLiveness
from spo.manager.records import NodeReport, PodRecord
from spo.profiles.paths import ProfileKey

REFERENCE_INDEX: Final = "reference"
SPOD_INDEX: Final = "spod-node"


def references_of(pod: PodRecord) -> Iterable[ProfileKey]:
    """Values of :data:`REFERENCE_INDEX`."""
    return pod.references


def spod_node_of(pod: PodRecord) -> Iterable[str]:
    """Value of :data:`SPOD_INDEX`."""
    return (pod.spod_node,) if pod.spod_node else ()


class ClusterView:
    """Pods, node statuses and nodes, seen from a profile."""

    def __init__(
        self,
        pods: Cache[PodRecord],
        reports: Cache[NodeReport],
        liveness: NodeLiveness,
        clock: Clock,
        operator_namespace: str,
    ) -> None:
        self._pods = pods
        self._reports = reports
        self._liveness = liveness
        self._clock = clock
        self._operator_namespace = operator_namespace

    def desired_nodes(self) -> list[str]:
        """Nodes with a pod of the spod DaemonSet."""
        return cast("list[str]", self._pods.index_values(SPOD_INDEX))

    def states(self, key: str) -> dict[str, NodeProfileState | None]:
        """What each desired node says about the profile with this key."""
        found: dict[str, NodeProfileState | None] = {}
        for node in self.desired_nodes():
            report = self._reports.get(self._operator_namespace, node)
            found[node] = report.states.by_key.get(key) if report else None
        return found

    def workloads(self, file: ProfileKey) -> list[str]:
        """``<namespace>/<pod>`` of the pods that reference the file, sorted."""
        return sorted(pod.name for pod in self._pods.by_index(REFERENCE_INDEX, file))

    def living_nodes_with(self, key: str) -> list[str]:
        """Nodes that list the profile and for which its deletion has to wait."""
        now = self._clock.monotonic()
        return [
            report.node
            for report in self._reports.list()
            if key in report.states.by_key and not self._liveness.is_gone(report.node, now)
        ]

    def next_gone_in_s(self, nodes: Iterable[str]) -> float | None:
        """Seconds until the first of these nodes counts as gone, ``None`` if all are well."""
        moments = [moment for node in nodes if (moment := self._liveness.gone_at(node)) is not None]
        return max(0.0, min(moments) - self._clock.monotonic()) if moments else None
