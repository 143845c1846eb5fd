"""The nodes that matter, asked one by one: without a right to list them, and to watch them."""

from collections.abc import Callable, Iterable
from typing import Final

from spo import klog
from spo.api.core import NODES
from spo.kube.client import KubeClient
from spo.kube.clock import Clock
from spo.kube.errors import KubeError, NotFoundError
from spo.manager.records import NodeReport, NodeState, project_node

log = klog.get("nodestatus")

LOOK_AGAIN_S: Final = 60.0
"""A fifth of the time after which a node that is not ready counts as gone."""

Changed = Callable[[NodeState | None, NodeState | None], None]
"""Called with the state before and after; ``None``: there is no such Node."""


class PolledNodes:
    """Follows the nodes that have a report, as an informer of Nodes would."""

    def __init__(
        self, client: KubeClient, reports: Callable[[], Iterable[NodeReport]], changed: Changed, clock: Clock
    ) -> None:
        """Take what it works with.

        Args:
            reports: the present node statuses.
        """
        self._client = client
        self._reports = reports
        self._changed = changed
        self._clock = clock
        self._known: dict[str, NodeState] = {}

    def report_changed(self, _: NodeReport | None, new: NodeReport | None) -> None:
        """Listener of the reports: who has just written one is there, whatever we find out later."""
        if new is not None and new.node not in self._known:
            self._note(new.node, NodeState(new.node, ready=True))

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            for node in {report.node for report in self._reports()} | self._known.keys():
                await self._look_at(node)
            await self._clock.sleep(LOOK_AGAIN_S)

    async def _look_at(self, name: str) -> None:
        try:
            self._note(name, project_node(await self._client.get(NODES, name)))
        except NotFoundError:
            self._note(name, None)
        except KubeError as error:
            # What was known last holds: a node must not count as gone because nobody could be asked.
            log.warning("Cannot look at a node", node=name, error=error)

    def _note(self, name: str, state: NodeState | None) -> None:
        before = self._known.get(name)
        if state is None:
            self._known.pop(name, None)
        else:
            self._known[name] = state
        if before != state:
            self._changed(before, state)
