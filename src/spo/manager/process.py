"""Wire the manager together: informers, the reconciler, leader election."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any, Final

from spo.api.core import NODES, PODS
from spo.api.node_status import PROFILE_NODE_STATUSES
from spo.api.seccomp_profile import SECCOMP_PROFILES, SeccompProfile
from spo.controller import Controller, LeaderElection, Request, run_until_stopped
from spo.controller.cache_sync import caches_synced
from spo.controller.metrics import ClientMetrics, ControllerMetrics, runtime_registry
from spo.controller.metrics_access import ApiReviews, MetricsAccess
from spo.controller.metrics_endpoint import RUNTIME_PATH, MetricsPart
from spo.kube.client import KubeClient
from spo.kube.clock import SYSTEM_CLOCK, Clock
from spo.kube.informer import Informer
from spo.manager.admission_controllers import AdmissionControllers
from spo.manager.cluster_view import REFERENCE_INDEX, SPOD_INDEX, ClusterView, references_of, spod_node_of
from spo.manager.default_profiles import DefaultProfileControllers
from spo.manager.fresh_references import FreshReferences, list_references
from spo.manager.liveness import NodeLiveness
from spo.manager.log_profile import LogProfileControllers
from spo.manager.node_gate.controllers import NodeGateControllers
from spo.manager.polled_nodes import PolledNodes
from spo.manager.profile_store import ProfileStore
from spo.manager.recording.process import RecordingControllers
from spo.manager.records import (
    NodeReport,
    NodeState,
    PodProjection,
    PodRecord,
    ReportProjection,
    project_node,
)
from spo.manager.seccomp_profile import SeccompProfileReconciler
from spo.manager.service_monitor import MonitorControllers
from spo.manager.spod.controllers import SpodControllers
from spo.manager.wakeups import Wakeups
from spo.names import MANAGER_LEASE
from spo.settings import ManagerSettings

CERTIFICATE_S: Final = 15.0
"""How long the first daemons may wait for the certificate of their metrics."""
WORKERS = 16  # reconciles mostly wait for the API server


class Manager:
    """The work of the leader; :meth:`lead` starts from nothing each time."""

    def __init__(self, client: KubeClient, settings: ManagerSettings, clock: Clock = SYSTEM_CLOCK) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self.metrics: Final = ControllerMetrics()
        """Of the controllers of the leader; empty as long as another one leads."""

    async def run(self) -> None:
        """Wait for the Lease and lead, until cancelled."""
        settings = self._settings
        election = LeaderElection(
            self._client, MANAGER_LEASE, settings.operator_namespace, settings.identity, clock=self._clock
        )
        await election.run_always(self.lead)

    async def lead(self) -> None:
        """Follow the cluster and reconcile, until cancelled."""
        informers = _Informers(self._client, self._settings, self._clock)
        admission = AdmissionControllers(self._client, self._settings, informers.profiles, self._clock)
        recordings = RecordingControllers(self._client, informers.profiles, admission.recordings, self._clock)
        spods = SpodControllers(self._client, self._settings, self._clock)
        monitor = MonitorControllers(
            self._client,
            self._settings.operator_namespace,
            self._clock,
            is_restricted=bool(self._settings.namespaces),
        )
        profiles, nodes = self._controller(informers)
        log_profile = LogProfileControllers(
            self._client, self._settings.operator_namespace, admission.recordings, spods.spods, self._clock
        )
        defaults = DefaultProfileControllers(self._client, self._settings, self._clock)
        gate = NodeGateControllers(
            self._client, self._settings, informers.profiles, informers.reports, spods.spods, self._clock
        )
        for part in (admission, recordings, spods, monitor, log_profile, defaults, gate):
            self.metrics.follow(part.controllers)
        self.metrics.follow((profiles,))
        followed: tuple[Informer[Any], ...] = (
            *informers.all,
            *admission.informers,
            *spods.informers,
            *monitor.informers,
            *gate.informers,
        )
        async with asyncio.TaskGroup() as group:
            for informer in followed:
                group.create_task(informer.run())
            await caches_synced(followed, self._settings.cache_sync_timeout_s)
            group.create_task(admission.run())
            group.create_task(self._make_daemons(spods, admission.metrics_certificate))
            group.create_task(recordings.run())
            group.create_task(monitor.run())
            group.create_task(log_profile.run())
            group.create_task(defaults.run())
            group.create_task(gate.run())
            if nodes is not None:
                group.create_task(nodes.run())
            await profiles.run()

    async def _make_daemons(self, spods: SpodControllers, certificate: asyncio.Event) -> None:
        # A Secret that comes after the pod is looked for once a minute only; but nothing depends on it.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CERTIFICATE_S):
                await certificate.wait()
        await spods.run()

    def _controller(self, informers: "_Informers") -> tuple[Controller, PolledNodes | None]:
        settings, clock = self._settings, self._clock
        liveness = NodeLiveness(settings.node_gone_after_s)
        view = ClusterView(
            informers.pods.cache, informers.reports.cache, liveness, clock, settings.operator_namespace
        )
        fresh = FreshReferences(lambda: list_references(self._client, settings.namespaces))
        store = ProfileStore(self._client, informers.profiles.cache)
        reconciler = SeccompProfileReconciler(store, view, fresh.after_now, clock)
        controller = Controller("nodestatus", reconciler, workers=WORKERS, clock=clock)
        wakeups = Wakeups(controller.enqueue, informers.profiles.cache, view, liveness, clock)
        nodes = None
        if informers.nodes is not None:
            informers.nodes.add_listener(wakeups.node_changed)
        else:
            reports = informers.reports
            nodes = PolledNodes(self._client, reports.cache.list, wakeups.node_changed, clock)
            reports.add_listener(nodes.report_changed)
        informers.pods.add_listener(wakeups.pod_changed)
        informers.reports.add_listener(wakeups.report_changed)
        informers.profiles.add_listener(wakeups.profile_changed)
        informers.profiles.add_unreadable_listener(lambda key: controller.enqueue(Request(*key)))
        return controller, nodes


class _Informers:
    """Everything the manager watches."""

    def __init__(self, client: KubeClient, settings: ManagerSettings, clock: Clock) -> None:
        self.profiles: Informer[SeccompProfile] = Informer(
            client, SECCOMP_PROFILES, settings.namespaces, clock=clock
        )
        self.reports: Informer[NodeReport] = Informer(
            client,
            PROFILE_NODE_STATUSES,
            (settings.operator_namespace,),
            project=ReportProjection(),
            clock=clock,
        )
        self.pods: Informer[PodRecord] = Informer(
            client, PODS, settings.namespaces, project=PodProjection(settings.operator_namespace), clock=clock
        )
        self.pods.add_index(REFERENCE_INDEX, references_of)
        self.pods.add_index(SPOD_INDEX, spod_node_of)
        # Who looks after some namespaces only has no right to list nodes.
        self.nodes: Informer[NodeState] | None = (
            None if settings.namespaces else Informer(client, NODES, project=project_node, clock=clock)
        )
        followed: tuple[Informer[Any], ...] = (self.profiles, self.reports, self.pods)
        self.all = followed if self.nodes is None else (*followed, self.nodes)


async def run_manager(client: KubeClient, settings: ManagerSettings) -> None:
    """Run until SIGTERM."""
    async with client:
        manager = Manager(client, settings)
        runtime = runtime_registry(manager.metrics, ClientMetrics(client.server, client.counts))
        metrics = MetricsPart(
            settings.metrics_host,
            settings.metrics_port,
            Path(settings.metrics_certificate_dir),
            MetricsAccess(ApiReviews(client)),
            {RUNTIME_PATH: [runtime]},
        )
        await run_until_stopped(manager.run, metrics.run)
