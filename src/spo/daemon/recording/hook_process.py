"""Wires recording by OCI hooks together; a part of the daemon."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

from spo import klog
from spo.controller import Controller, Request
from spo.daemon.metrics_recording import RecordingMetrics
from spo.daemon.recording.acceptor import Acceptor
from spo.daemon.recording.checkpoint import Checkpoint
from spo.daemon.recording.collector import Collector
from spo.daemon.recording.followed import Followed
from spo.daemon.recording.hook_reconciler import SWEEP, HookReconciler
from spo.daemon.recording.hook_source import HookSource
from spo.daemon.recording.pods import PodBook, PodRecord
from spo.daemon.recording.recorded_pods import RecordedPods
from spo.daemon.recording.recordings import RecordingRecord
from spo.host.dir_watch import DirWatch
from spo.host.hook_files import HookFiles
from spo.host.recordings_file import RecordingsFile
from spo.kube.client import KubeClient
from spo.kube.clock import SYSTEM_CLOCK, Clock
from spo.kube.events import EventRecorder
from spo.names import TRACE_SYSCALL_ANNOTATION
from spo.recording.profile import Machine
from spo.settings import DaemonSettings

log = klog.get("recorder-spod")

WORKERS: Final = 8


class HookRecordings:
    """Everything that a node does for recordings by OCI hooks.

    Args:
        followed: its informers run and are synced before :meth:`run`.
        root: directory of the profiles' directories.
        directory: where hooks leave their files.
        writer_uid: whose files are taken.
    """

    def __init__(
        self,
        client: KubeClient,
        settings: DaemonSettings,
        followed: Followed,
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
        self._followed = followed
        self._book = PodBook(self._pod_changed)
        self._checkpoint = Checkpoint(RecordingsFile(root, settings.operator_namespace, "hook"))
        self._directory = directory
        self._pods = RecordedPods(
            self._book,
            Acceptor(followed.recordings, TRACE_SYSCALL_ANNOTATION, self._events, clock),
            self._checkpoint,
            Collector(client, followed.profiles, self._events, machine, metrics),
            self._events,
            clock,
        )
        source = HookSource(HookFiles(directory, writer_uid=writer_uid), machine)
        self._reconciler = HookReconciler(self._pods, source)
        self._controller = Controller("recorder-hook-spod", self._reconciler, workers=WORKERS, clock=clock)

    @property
    def controllers(self) -> Sequence[Controller]:
        """Whose work ``/metrics`` shows."""
        return (self._controller,)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._checkpoint.load()
        self._followed.listen(lambda pod: pod.hook, self._book.observed, self._recording_changed)
        self._reconciler.begin()
        for request in self._pods.known():
            self._controller.enqueue(request)
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
        for request in self._pods.concerned(old, new):
            self._controller.enqueue(request)
