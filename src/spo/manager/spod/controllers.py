"""Wire together what the manager does for the spod object."""

import asyncio
from typing import Any, Final

from spo.api.spod import SPODS, SecurityProfilesOperatorDaemon
from spo.controller import Controller, Request
from spo.kube.client import KubeClient
from spo.kube.clock import Clock
from spo.kube.events import EventRecorder
from spo.kube.informer import Informer
from spo.manager.object_store import ObjectStore
from spo.manager.spod.default import default_spod
from spo.manager.spod.installation import Installation
from spo.manager.spod.objects import DAEMON_SETS, DEPLOYMENTS, DaemonSet, Deployment
from spo.manager.spod.reconciler import SpodReconciler
from spo.manager.spod.store import WorkloadStore
from spo.names import MANAGER_FIELD_MANAGER, OPERATOR_NAME
from spo.settings import ManagerSettings

NAME: Final = "spod-config"


class SpodControllers:
    """The work of the leader for the spod object; made anew each time it leads."""

    def __init__(self, client: KubeClient, settings: ManagerSettings, clock: Clock) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        namespace = settings.operator_namespace
        self._spods: Informer[SecurityProfilesOperatorDaemon] = Informer(
            client, SPODS, (namespace,), clock=clock
        )
        self._daemon_sets: Informer[DaemonSet] = Informer(
            client,
            DAEMON_SETS,
            (namespace,),
            field_selector=f"metadata.name={settings.spod_name}",
            clock=clock,
        )
        self._deployments: Informer[Deployment] = Informer(
            client, DEPLOYMENTS, (namespace,), field_selector=f"metadata.name={OPERATOR_NAME}", clock=clock
        )
        self.informers: tuple[Informer[Any], ...] = (self._spods, self._daemon_sets, self._deployments)
        self._events = EventRecorder(client, NAME, clock=clock)
        self._workloads = WorkloadStore(
            client, self._daemon_sets.cache, self._deployments.cache, namespace, settings.spod_name
        )
        reconciler = SpodReconciler(
            ObjectStore(client, SPODS, self._spods.cache, MANAGER_FIELD_MANAGER),
            self._workloads,
            installation_of(settings),
            self._spods.cache.unreadable,
            default_spod(namespace, settings.spod_name, enable_selinux=settings.default_enable_selinux),
            self._events,
            clock,
        )
        self._controller = Controller(NAME, reconciler, clock=clock)
        self._main = Request(namespace, settings.spod_name)

    @property
    def spods(self) -> Informer[SecurityProfilesOperatorDaemon]:
        """One of :attr:`informers`: there need not be a second one."""
        return self._spods

    @property
    def controllers(self) -> tuple[Controller, ...]:
        """Whose work ``/metrics`` shows."""
        return (self._controller,)

    async def run(self) -> None:
        """Work until cancelled; :attr:`informers` run, and have their first lists."""
        self._daemon_sets.add_listener(self._workloads.observed)
        self._daemon_sets.add_listener(lambda *_: self._controller.enqueue(self._main))
        self._deployments.add_listener(lambda *_: self._controller.enqueue(self._main))
        self._spods.add_listener(self._spod_changed)
        self._spods.add_unreadable_listener(lambda key: self._controller.enqueue(Request(*key)))
        self._controller.enqueue(self._main)  # which may be absent
        async with asyncio.TaskGroup() as group:
            group.create_task(self._events.run())
            await self._controller.run()

    def _spod_changed(
        self, old: SecurityProfilesOperatorDaemon | None, new: SecurityProfilesOperatorDaemon | None
    ) -> None:
        if changed := new or old:
            self._controller.enqueue(Request(changed.metadata.namespace or "", changed.metadata.name))


def installation_of(settings: ManagerSettings) -> Installation:
    """What the manager's settings say about the DaemonSet; image and pull policy are not among them."""
    return Installation(
        image="",
        spod_name=settings.spod_name,
        operator_namespace=settings.operator_namespace,
        namespaces=settings.namespaces,
        host_network=settings.spod_host_network,
        health_host=settings.spod_health_host,
        health_port=settings.spod_health_port,
        metrics_host=settings.spod_metrics_host,
        metrics_port=settings.spod_metrics_port,
        host_root=settings.spod_host_root,
        node_gate=settings.node_gate,
        selinuxd_image=settings.selinuxd_image,
    )
