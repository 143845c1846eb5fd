"""Wire the daemon together: informers, the reconciler, the node status, events."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry

from spo import klog
from spo.api.core import PODS
from spo.api.node_status import PROFILE_NODE_STATUSES, ProfileState, SecurityProfileNodeStatus
from spo.api.seccomp_profile import SECCOMP_PROFILES, SeccompProfile
from spo.api.spod import SPODS
from spo.controller import Controller, run_until_stopped
from spo.controller.cache_sync import caches_synced
from spo.controller.health import Check, HealthServer
from spo.controller.metrics import ClientMetrics, ControllerMetrics, process_registry, runtime_registry
from spo.controller.metrics_access import ApiReviews, MetricsAccess
from spo.controller.metrics_endpoint import RUNTIME_PATH, SPOD_PATH, MetricsPart
from spo.daemon.enricher_service import EnricherSide
from spo.daemon.file_changes import FileChanges
from spo.daemon.metrics import AppArmorProfileMetrics, SeccompProfileMetrics, SelinuxProfileMetrics
from spo.daemon.metrics_recording import RecordingMetrics
from spo.daemon.node_status import NodeStatusReporter
from spo.daemon.node_status_store import LocalCopy, NodeStatusStore
from spo.daemon.node_view import CachedNodeView, SpodRules, rules_of
from spo.daemon.recording.followed import Followed
from spo.daemon.recording.hook_process import HookRecordings
from spo.daemon.recording.logs_process import LogRecordings
from spo.daemon.recording.process import Recordings
from spo.daemon.seccomp_events import SeccompProfileEvents
from spo.daemon.seccomp_profile import SeccompProfileReconciler
from spo.daemon.wakeups import BASE_INDEX, REFERENCE_INDEX, References, Wakeups, base_of, project_pod
from spo.host.claims_file import ClaimsFile
from spo.host.hook_files import below
from spo.host.seccomp_dir import SeccompDir, SeccompDirError
from spo.host.seccomp_support import seccomp_supported
from spo.kube.client import KubeClient
from spo.kube.clock import SYSTEM_CLOCK, Clock
from spo.kube.errors import is_transient
from spo.kube.events import EventRecorder
from spo.kube.informer import Informer
from spo.kube.retry import retry
from spo.names import HOOK_RECORDINGS_DIR, PROFILES_ROOT
from spo.profiles.paths import ProfileKey, parse_localhost_profile, path_of
from spo.rpc.bpf_recorder import recorder_socket
from spo.settings import DaemonSettings

log = klog.get("seccomp-spod")

WORKERS: Final = 32
"""Many profiles at once share the writes of the node status only if their reconciles run side by side."""
DISK_THREADS: Final = 4
FIRST_READ_ATTEMPTS: Final = 10


class Daemon:
    """One node's daemon."""

    def __init__(
        self,
        client: KubeClient,
        settings: DaemonSettings,
        metrics: SeccompProfileMetrics,
        *,
        recording: RecordingMetrics | None = None,
        unsupported: str = "",
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._settings = settings
        self._clock = clock
        node, namespace = settings.node_name, settings.operator_namespace
        self._recorder = EventRecorder(client, "profile", host=node, clock=clock)
        self._root = Path(settings.host_root) / PROFILES_ROOT.lstrip("/")
        self._dir = SeccompDir(self._root)
        events = SeccompProfileEvents(self._recorder, metrics, node, namespace)
        self._reporter = NodeStatusReporter(
            NodeStatusStore(client, node, namespace),
            LocalCopy(ClaimsFile(self._root, namespace)),
            clock,
            report_delay_s=settings.report_delay_s,
            on_failure=events.node_status_failed,
        )
        self._profiles: Informer[SeccompProfile] = Informer(
            client, SECCOMP_PROFILES, settings.namespaces, clock=clock
        )
        self._profiles.add_index(BASE_INDEX, base_of)
        # Pods of all namespaces may cite a profile; who is restricted to some has no right to see others.
        self._pods: Informer[References] = Informer(
            client,
            PODS,
            settings.namespaces,
            project=project_pod,
            field_selector=f"spec.nodeName={node}",
            clock=clock,
        )
        self._pods.add_index(REFERENCE_INDEX, lambda references: references)
        self._own_status: Informer[SecurityProfileNodeStatus] = Informer(
            client, PROFILE_NODE_STATUSES, (namespace,), field_selector=f"metadata.name={node}", clock=clock
        )
        self._rules: Informer[SpodRules] = Informer(
            client,
            SPODS,
            (namespace,),
            project=rules_of,
            field_selector=f"metadata.name={settings.spod_name}",
            clock=clock,
        )
        traced = Followed(client, settings, self._profiles.cache, clock)
        self.recordings: Final = Recordings(
            client,
            settings,
            traced,
            root=self._root,
            socket=Path(settings.host_root) / recorder_socket(namespace).lstrip("/"),
            clock=clock,
            metrics=recording,
        )
        followed: tuple[Informer[Any], ...] = (self._profiles, self._pods, self._own_status, self._rules)
        self.logs: Final = LogRecordings(
            client, settings, traced, root=self._root, clock=clock, metrics=recording
        )
        """Fed by the log enricher, if there is one."""
        self._hooks = HookRecordings(
            client,
            settings,
            traced,
            root=self._root,
            directory=below(Path(settings.host_root), Path(HOOK_RECORDINGS_DIR)),
            clock=clock,
            metrics=recording,
        )
        self._recorders = (self.recordings, self.logs, self._hooks)
        self._informers = (*followed, *traced.informers)
        reconciler = SeccompProfileReconciler(
            self._profiles.cache,
            CachedNodeView(self._profiles, self._pods, self._rules),
            self._reporter,
            self._dir,
            events,
            namespaces=settings.namespaces,
            unsupported=unsupported,
        )
        self._missing = "the lists of what this node has to know are not complete"
        self._controller = Controller("seccomp-spod", reconciler, workers=WORKERS, clock=clock)

    @property
    def controllers(self) -> tuple[Controller, ...]:
        """Whose work ``/metrics`` shows."""
        return (self._controller, *(one for each in self._recorders for one in each.controllers))

    async def run(self) -> None:
        """Work until cancelled; reconciles under way end before the rest stops."""
        await retry(self._reporter.load, is_transient, attempts=FIRST_READ_ATTEMPTS, clock=self._clock)
        await self._tidy_up()
        async with asyncio.TaskGroup() as group:
            for informer in self._informers:
                group.create_task(informer.run())
            group.create_task(self._recorder.run())
            reporting = group.create_task(self._reporter.run())
            await caches_synced(self._informers, self._settings.cache_sync_timeout_s)
            wakeups = Wakeups(self._controller.enqueue, self._profiles.cache, self._has_error)
            self._listen(wakeups)
            files = FileChanges(
                self._root, self._reporter.claims, self._is_as_left, wakeups.claimed, self._clock
            )
            watching = group.create_task(files.run())
            recordings = [group.create_task(one.run()) for one in self._recorders]
            self._missing = ""
            try:
                await self._controller.run()
            finally:
                for task in (reporting, watching, *recordings):
                    task.cancel()

    def what_is_missing(self) -> str:
        """Why this daemon cannot look after profiles yet, empty if it does."""
        return self._missing

    def _has_error(self, key: str) -> bool:
        known = self._reporter.state(key)
        return known is not None and known.state == ProfileState.ERROR

    def _is_as_left(self, file: ProfileKey) -> bool:
        path = path_of(file)
        return parse_localhost_profile(path) == file and self._dir.is_as_left(path)

    def _listen(self, wakeups: Wakeups) -> None:
        self._profiles.add_listener(wakeups.profile_changed)
        self._pods.add_listener(wakeups.pod_changed)
        self._own_status.add_listener(lambda _, status: self._reporter.observed(status))
        self._profiles.add_unreadable_listener(lambda key: wakeups.file_of(*key))
        self._pods.add_unreadable_listener(lambda _: self._wake_claims(wakeups))
        self._rules.add_listener(lambda old, new: wakeups.all_profiles() if old != new else None)
        self._wake_claims(wakeups)

    def _wake_claims(self, wakeups: Wakeups) -> None:
        """Look at every file that this node says it has, its object may be gone."""
        for key in self._reporter.claims():
            wakeups.claimed(key)

    async def _tidy_up(self) -> None:
        try:
            removed = await asyncio.to_thread(self._dir.remove_stale_temp_files)
        except SeccompDirError as error:
            log.warning("Cannot look for files of an earlier run", problem=str(error))
        else:
            if removed:
                log.info("Removed unfinished files of an earlier run", count=removed)


async def run_daemon(client: KubeClient, settings: DaemonSettings) -> None:
    """Run until SIGTERM."""
    threads = ThreadPoolExecutor(DISK_THREADS, thread_name_prefix="disk")
    asyncio.get_running_loop().set_default_executor(threads)
    unsupported = "" if seccomp_supported() else f'node "{settings.node_name}" does not support seccomp'
    if unsupported:
        log.error("profile not added", problem=unsupported)
    registry = process_registry()
    metrics = SeccompProfileMetrics(registry)
    for kind in (SelinuxProfileMetrics, AppArmorProfileMetrics):
        kind(registry)  # dashboards and alerts find them, at 0 where no such profile is looked after
    recording = RecordingMetrics(registry, settings.node_name)
    async with client:
        daemon = Daemon(client, settings, metrics, recording=recording, unsupported=unsupported)
        # Alive while the event loop answers: an API server that is away is no reason for a restart.
        checks: dict[str, Check] = {"/healthz": str, "/readyz": daemon.what_is_missing}
        health = HealthServer(settings.health_host, settings.health_port, checks)
        controllers = ControllerMetrics()
        controllers.follow(daemon.controllers)
        runtime = runtime_registry(controllers, ClientMetrics(client.server, client.counts))
        parts = [daemon.run, health.run, _endpoint(client, settings, runtime, registry).run]
        if settings.enricher_socket is not None:
            socket = Path(settings.enricher_socket)
            enricher = EnricherSide(
                client,
                settings.node_name,
                socket,
                registry,
                namespaces=settings.namespaces,
                merged=recording.merged,
                observe=daemon.logs.observe,
            )
            daemon.logs.drain_by(enricher.drain)
            daemon.recordings.tell_of_processes(enricher.processes.add)
            parts.append(enricher.run)
        await run_until_stopped(*parts)


def _endpoint(
    client: KubeClient, settings: DaemonSettings, runtime: CollectorRegistry, spod: CollectorRegistry
) -> MetricsPart:
    pages = {RUNTIME_PATH: [runtime], SPOD_PATH: [spod]}
    access = MetricsAccess(ApiReviews(client))
    directory = Path(settings.metrics_certificate_dir)
    return MetricsPart(settings.metrics_host, settings.metrics_port, directory, access, pages)
