"""Take the taint off a node whose profiles are there, or that has waited long enough."""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from spo import klog
from spo.api.node_status import PROFILE_NODE_STATUSES, SecurityProfileNodeStatus
from spo.controller import DONE, Request, Result
from spo.kube.client import KubeClient
from spo.kube.clock import Clock
from spo.kube.errors import NotFoundError
from spo.kube.events import WARNING, EventRecorder, reference
from spo.manager.node_gate.decision import Entries, Verdict, decide
from spo.manager.node_gate.objects import TAINTED_NODES, GatedNode, TaintedNode, gated, other_taints

log = klog.get("node-gate")

TIMED_OUT: Final = "ProfilesNotReady"
MAX_NAMED: Final = 5


class GateApi(Protocol):
    """What is read and written; :class:`NodeGateApi` in production."""

    async def entries(self, node: GatedNode) -> Entries | None:
        """What the daemon of this very node has reported, ``None`` if nothing."""

    async def open(self, node: GatedNode) -> TaintedNode | None:
        """Take the taint off; ``None`` if the node is gone, or has been opened by somebody else."""


class NodeGateReconciler:
    """Knows since when each node waits: by this process's clock, so clocks of nodes do not matter."""

    def __init__(
        self,
        api: GateApi,
        nodes: Callable[[str], GatedNode | None],
        wanted: Callable[[], Mapping[str, int]],
        timeout_s: Callable[[], float],
        events: EventRecorder,
        clock: Clock,
    ) -> None:
        """Take what it works with.

        Args:
            nodes: a node by name if it waits.
            wanted: key of each profile -> its generation.
            timeout_s: after which a node opens in any case.
        """
        self._api = api
        self._nodes = nodes
        self._wanted = wanted
        self._timeout_s = timeout_s
        self._events = events
        self._clock = clock
        self._since: dict[GatedNode, float] = {}

    async def reconcile(self, request: Request) -> Result:
        """See :class:`spo.controller.Reconciler`."""
        node = self._nodes(request.name)
        if node is None:
            self._since = {one: since for one, since in self._since.items() if one.name != request.name}
            return DONE
        since = self._since.setdefault(node, self._clock.monotonic())
        reported = await self._api.entries(node)
        waited_s, timeout_s = self._clock.monotonic() - since, self._timeout_s()
        verdict = decide(self._wanted(), reported, waited_s=waited_s, timeout_s=timeout_s)
        if not verdict.is_open:
            return Result(timeout_s - waited_s)
        opened = await self._api.open(node)
        if opened is not None:
            self._tell(opened, verdict, waited_s)
        return DONE

    def _tell(self, node: TaintedNode, verdict: Verdict, waited_s: float) -> None:
        if verdict.has_reported and not verdict.missing:
            log.info("All profiles are on the node, it takes pods", node=node.metadata.name)
            return
        text = f"takes pods after {waited_s:.0f} s without all profiles: {_problem(verdict)}"
        log.warning("A node takes pods without all profiles", node=node.metadata.name, problem=text)
        self._events.event(reference(TAINTED_NODES, node), WARNING, TIMED_OUT, text)


class NodeGateApi:
    """See :class:`GateApi`."""

    def __init__(self, client: KubeClient, operator_namespace: str) -> None:
        self._client = client
        self._operator_namespace = operator_namespace

    async def entries(self, node: GatedNode) -> Entries | None:
        """What the daemon of this very node has reported.

        A node may come back under its name with an empty disk before the status of the old one is collected.
        """
        try:
            status = await self._client.get(PROFILE_NODE_STATUSES, node.name, self._operator_namespace)
        except NotFoundError:
            return None
        return status.profiles if _is_about(status, node) else None

    async def open(self, node: GatedNode) -> TaintedNode | None:
        """Take the taint off; taints that somebody else changes meanwhile make it a conflict."""
        try:
            present = await self._client.get(TAINTED_NODES, node.name)
            if present.metadata.uid != node.uid or gated(present) is None:
                return None
            body = {
                "metadata": {"resourceVersion": present.metadata.resource_version},
                "spec": {"taints": other_taints(present) or None},
            }
            return await self._client.patch(TAINTED_NODES, node.name, None, body)
        except NotFoundError:
            return None


def _is_about(status: SecurityProfileNodeStatus, node: GatedNode) -> bool:
    return any(one.kind == "Node" and one.uid == node.uid for one in status.metadata.owner_references)


def _problem(verdict: Verdict) -> str:
    if not verdict.has_reported:
        return "its daemon has not reported"
    count = len(verdict.missing) - MAX_NAMED
    more = f" and {count} more" if count > 0 else ""
    return f"{', '.join(verdict.missing[:MAX_NAMED])}{more}"
