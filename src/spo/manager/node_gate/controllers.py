"""Wire together what the manager does for nodes that wait for their profiles."""

import asyncio
from typing import Any, Final

from spo.api.seccomp_profile import SeccompProfile
from spo.api.spod import SecurityProfilesOperatorDaemon
from spo.controller import Controller, Request
from spo.kube.client import KubeClient
from spo.kube.clock import Clock
from spo.kube.events import EventRecorder
from spo.kube.informer import Informer
from spo.manager.node_gate.decision import timeout_of, wanted_profiles
from spo.manager.node_gate.objects import TAINTED_NODES, GatedNode, gated
from spo.manager.node_gate.reconciler import NodeGateApi, NodeGateReconciler
from spo.manager.records import NodeReport
from spo.settings import ManagerSettings

NAME: Final = "node-gate"


class NodeGateControllers:
    """The work of the leader for these nodes; made anew each time it leads."""

    def __init__(
        self,
        client: KubeClient,
        settings: ManagerSettings,
        profiles: Informer[SeccompProfile],
        reports: Informer[NodeReport],
        spods: Informer[SecurityProfilesOperatorDaemon],
        clock: Clock,
    ) -> None:
        self._profiles = profiles
        self._reports = reports
        self._spods = spods
        self._key: Final = (settings.operator_namespace, settings.spod_name)
        self._nodes: Informer[GatedNode] = Informer(client, TAINTED_NODES, project=gated, clock=clock)
        self.informers: tuple[Informer[Any], ...] = (self._nodes,) if settings.node_gate else ()
        self._events = EventRecorder(client, NAME, clock=clock)
        reconciler = NodeGateReconciler(
            NodeGateApi(client, settings.operator_namespace),
            lambda name: self._nodes.cache.get("", name),
            lambda: wanted_profiles(profiles.cache.list()),
            lambda: timeout_of(spods.cache.get(*self._key)),
            self._events,
            clock,
        )
        self._controller = Controller(NAME, reconciler, clock=clock)

    @property
    def controllers(self) -> tuple[Controller, ...]:
        """Whose work ``/metrics`` shows."""
        return (self._controller,) if self.informers else ()

    async def run(self) -> None:
        """Work until cancelled, if it is enabled; :attr:`informers` run, and have their first lists."""
        if not self.informers:
            return
        self._nodes.add_listener(self._node_changed)
        self._reports.add_listener(self._report_changed)
        self._profiles.add_listener(lambda *_: self._enqueue_all())
        self._spods.add_listener(lambda *_: self._enqueue_all())
        async with asyncio.TaskGroup() as group:
            group.create_task(self._events.run())
            await self._controller.run()

    def _node_changed(self, old: GatedNode | None, new: GatedNode | None) -> None:
        if changed := new or old:
            self._controller.enqueue(Request("", changed.name))

    def _report_changed(self, old: NodeReport | None, new: NodeReport | None) -> None:
        changed = new or old
        if changed is not None and self._nodes.cache.get("", changed.node) is not None:
            self._controller.enqueue(Request("", changed.node))

    def _enqueue_all(self) -> None:
        for node in self._nodes.cache.list():
            self._controller.enqueue(Request("", node.name))
