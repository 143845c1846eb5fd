"""Wires recording from the audit log together; a part of the daemon."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

from spo.controller import Controller, Request
from spo.daemon.metrics_recording import RecordingMetrics
from spo.daemon.recording.acceptor import Acceptor
from spo.daemon.recording.checkpoint import Checkpoint
from spo.daemon.recording.collector import Collector
from spo.daemon.recording.followed import Followed
from spo.daemon.recording.logged_pods import LoggedPod
from spo.daemon.recording.logs import Drain, LogBook, may_lack
from spo.daemon.recording.logs_reconciler import MAX_SHOWN, PATIENCE_S, LogsReconciler
from spo.daemon.recording.pods import PodBook, PodRecord, reference_of
from spo.daemon.recording.recorded_pods import RecordedPods
from spo.daemon.recording.recordings import RecordingRecord
from spo.host.recordings_file import RecordingsFile
from spo.kube.client import KubeClient
from spo.kube.clock import SYSTEM_CLOCK, Clock
from spo.kube.events import WARNING, EventRecorder
from spo.names import TRACE_LOGS_ANNOTATION
from spo.recording.profile import Machine
from spo.rpc.log_enricher import Count
from spo.settings import DaemonSettings

WORKERS: Final = 8
UNSUPPORTED: Final = "RecordingNotSupported"
MAX_TOLD: Final = 1000
"""Pods whose users were told."""


class LogRecordings:
    """Everything that a node does for recordings from the audit log.

    Args:
        followed: its informers run and are synced before :meth:`run`.
        root: directory of the profiles' directories.
    """

    def __init__(
        self,
        client: KubeClient,
        settings: DaemonSettings,
        followed: Followed,
        *,
        root: Path,
        clock: Clock = SYSTEM_CLOCK,
        metrics: RecordingMetrics | None = None,
    ) -> None:
        node = settings.node_name
        machine = cast("Machine", os.uname().machine)
        self._events = EventRecorder(client, "profilerecorder", host=node, clock=clock)
        self._followed = followed
        self._book = PodBook(self._pod_changed)
        self._checkpoint = Checkpoint(RecordingsFile(root, settings.operator_namespace, "logs"))
        self._calls = LogBook(machine, self._container_changed, self._progressed)
        self._drain: Drain | None = None
        self._told: dict[str, None] = {}
        self._pods = RecordedPods(
            self._book,
            Acceptor(followed.recordings, TRACE_LOGS_ANNOTATION, self._events, clock),
            self._checkpoint,
            Collector(client, followed.profiles, self._events, machine, metrics),
            self._events,
            clock,
            lost=lambda pod: may_lack(pod.log, self._calls.position),
        )
        self._reconciler = LogsReconciler(self._pods, self._calls, self._drain_if_possible)
        self._controller = Controller("recorder-logs-spod", self._reconciler, workers=WORKERS, clock=clock)

    @property
    def controllers(self) -> Sequence[Controller]:
        """Whose work ``/metrics`` shows."""
        return (self._controller,)

    def drain_by(self, drain: Drain) -> None:
        """Take how the log enricher is asked for all it knows; without it none runs."""
        self._drain = drain
        self._reconciler.patience_s = PATIENCE_S

    def observe(self, batch: Count) -> list[str]:
        """Take what the log enricher tells; see :data:`spo.daemon.enricher_service.Observer`."""
        return self._calls.observe(batch)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._checkpoint.load()
        self._progressed()
        self._followed.listen(lambda pod: pod.logs, self._book.observed, self._recording_changed)
        for request in self._pods.known():
            self._controller.enqueue(request)
        async with asyncio.TaskGroup() as group:
            events = group.create_task(self._events.run())
            try:
                await self._controller.run()
            finally:
                events.cancel()

    async def _drain_if_possible(self) -> bool | None:
        return None if self._drain is None else await self._drain()

    def _progressed(self) -> None:
        self._reconciler.progressed()

    def _pod_changed(self, pod: PodRecord) -> None:
        if pod.traces:
            self._controller.enqueue(Request(pod.namespace, pod.uid))
        if isinstance(pod, LoggedPod):
            self._tell_unsupported(pod)

    def _container_changed(self, container_id: str) -> None:
        pod = self._book.get(self._book.uid_of(container_id))
        if pod is not None and pod.traces:
            self._controller.enqueue(Request(pod.namespace, pod.uid))

    def _recording_changed(self, old: RecordingRecord | None, new: RecordingRecord | None) -> None:
        for request in self._pods.concerned(old, new):
            self._controller.enqueue(request)

    def _tell_unsupported(self, pod: LoggedPod) -> None:
        """Say that nothing comes of it, rather than nothing."""
        if not pod.denials or pod.uid in self._told:
            return
        self._told[pod.uid] = None
        if len(self._told) > MAX_TOLD:
            del self._told[next(iter(self._told))]
        names = ", ".join(sorted(pod.denials))[:MAX_SHOWN]
        problem = f"profiles of kind SelinuxProfile cannot be recorded yet: nothing comes of {names}"
        self._events.event(reference_of(pod.namespace, pod.name, pod.uid), WARNING, UNSUPPORTED, problem)
