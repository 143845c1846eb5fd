"""Wires recording by OCI hooks together; a part of the daemon."""

import asyncio
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from spo import klog
from spo.api.profile_recording import PROFILE_RECORDINGS
from spo.api.seccomp_profile import SeccompProfile
from spo.controller import Controller, Request
from spo.daemon.metrics_recording import RecordingMetrics
from spo.daemon.recording.acceptor import Acceptor
from spo.daemon.recording.checkpoint import Checkpoint
from spo.daemon.recording.collector import Collector
from spo.daemon.recording.hook_reconciler import SWEEP, HookReconciler
from spo.daemon.recording.hook_source import HookSource
from spo.daemon.recording.pods import TRACED_PODS, PodBook, PodRecord, project_pod
from spo.daemon.recording.recordings import RecordingRecord, project_recording
from spo.host.dir_watch import DirWatch
from spo.host.hook_files import HookFiles
from spo.host.recordings_file import RecordingsFile
from spo.kube.cache import Cache
from spo.kube.client import KubeClient
from spo.kube.clock import SYSTEM_CLOCK, Clock
from spo.kube.events import EventRecorder
from spo.kube.informer import Informer
from spo.names import TRACE_SYSCALL_ANNOTATION
from spo.recording.profile import Machine
from spo.settings import DaemonSettings

log = klog.get("recorder-spod")

WORKERS: Final = 8


class HookRecordings:
    """Everything that a node does for recordings by OCI hooks.

    Args:
        profiles: of the daemon's own informer.
        root: directory of the profiles' directories.
        directory: where hooks leave their files.
        writer_uid: whose files are taken.
    """

    def __init__(
        self,
        client: KubeClient,
        settings: DaemonSettings,
        profiles: Cache[SeccompProfile],
        *,
        root: Path,
        directory: Path,
        clock: Clock = SYSTEM_CLOCK,
        writer_uid: int = 0,
        metrics: RecordingMetrics | None = None,
    ) -> None:
        node = settings.node_name
        machine = cast("Machine", os.uname().machine)
        self._events = EventRecorder(client, "profilerecorder", host=node, clock=clock)
        self._pods: Informer[PodRecord] = Informer(
            client,
            TRACED_PODS,
            settings.namespaces,
            project=partial(project_pod, prefix=TRACE_SYSCALL_ANNOTATION),
            field_selector=f"spec.nodeName={node}",
            clock=clock,
        )
        self._recordings: Informer[RecordingRecord] = Informer(
            client,
            PROFILE_RECORDINGS,
            settings.namespaces,
            project=partial(project_recording, prefix=TRACE_SYSCALL_ANNOTATION),
            clock=clock,
        )
        self._book = PodBook(self._pod_changed)
        self._checkpoint = Checkpoint(RecordingsFile(root, settings.operator_namespace, "hook"))
        self._directory = directory
        self._reconciler = HookReconciler(
            self._book,
            Acceptor(self._recordings.cache, self._events, clock),
            HookSource(HookFiles(directory, writer_uid=writer_uid), machine),
            self._checkpoint,
            Collector(client, profiles, self._events, machine, metrics),
            self._events,
            clock,
        )
        self._controller = Controller("recorder-hook-spod", self._reconciler, workers=WORKERS, clock=clock)

    @property
    def informers(self) -> Sequence[Informer[Any]]:
        """What has to be followed, and known before :meth:`run`."""
        return (self._pods, self._recordings)

    @property
    def controllers(self) -> Sequence[Controller]:
        """Whose work ``/metrics`` shows."""
        return (self._controller,)

    async def run(self) -> None:
        """Work until cancelled. The informers run and are synced."""
        await self._checkpoint.load()
        self._pods.add_listener(self._book.observed)
        self._recordings.add_listener(self._recording_changed)
        # Pods that were recorded when the last process looked: some may be gone.
        for pod in self._checkpoint.tracked.pods.values():
            self._controller.enqueue(Request(pod.namespace, pod.uid))
        self._controller.enqueue(SWEEP)
        async with asyncio.TaskGroup() as group:
            others = [group.create_task(one) for one in (self._events.run(), self._watch())]
            try:
                await self._controller.run()
            finally:
                for one in others:
                    one.cancel()

    async def _watch(self) -> None:
        """Without the watch files are found all the same, at the end of the time that is given to them."""
        try:
            await DirWatch(self._directory.parent, self._file_changed).run()
        except OSError as error:
            log.error("Cannot watch for recordings of OCI hooks", error=error)

    def _file_changed(self, directory: str | None, file: str | None) -> None:
        if directory in {None, self._directory.name}:
            for request in self._reconciler.waiting_for(file):
                self._controller.enqueue(request)

    def _pod_changed(self, pod: PodRecord) -> None:
        if pod.traces:
            self._controller.enqueue(Request(pod.namespace, pod.uid))

    def _recording_changed(self, old: RecordingRecord | None, new: RecordingRecord | None) -> None:
        changed = new or old
        for pod in self._book.traced():
            if changed is not None and pod.namespace == changed.namespace:
                self._controller.enqueue(Request(pod.namespace, pod.uid))
