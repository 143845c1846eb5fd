"""Wires recording on a node together; a part of the daemon."""

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, cast

from spo.controller import Controller, Request
from spo.daemon.metrics_recording import RecordingMetrics
from spo.daemon.recording.acceptor import Acceptor
from spo.daemon.recording.checkpoint import Checkpoint
from spo.daemon.recording.collector import Collector
from spo.daemon.recording.followed import Followed
from spo.daemon.recording.link import RecorderLink
from spo.daemon.recording.pods import PodBook, PodRecord
from spo.daemon.recording.reconciler import SWEEP, RecordingReconciler
from spo.daemon.recording.recorded_pods import RecordedPods
from spo.daemon.recording.recordings import RecordingRecord
from spo.daemon.recording.sightings import Sightings
from spo.daemon.recording.tracking import lost_since
from spo.host.recordings_file import RecordingsFile
from spo.kube.client import KubeClient
from spo.kube.clock import SYSTEM_CLOCK, Clock
from spo.kube.events import EventRecorder
from spo.names import TRACE_BPF_ANNOTATION
from spo.recording.profile import Machine
from spo.rpc.bpf_recorder import Identified, Losses
from spo.settings import DaemonSettings

WORKERS: Final = 8


class Recordings:
    """Everything that a node does for recordings.

    Args:
        followed: its informers run and are synced before :meth:`run`.
        root: directory of the profiles' directories.
        socket: of the recorder.
        server_uids: who may be the recorder.
    """

    def __init__(
        self,
        client: KubeClient,
        settings: DaemonSettings,
        followed: Followed,
        *,
        root: Path,
        socket: Path,
        clock: Clock = SYSTEM_CLOCK,
        server_uids: frozenset[int] = frozenset({0}),
        metrics: RecordingMetrics | None = None,
    ) -> None:
        self._saw: Callable[[Identified], None] | None = None
        node = settings.node_name
        self._events = EventRecorder(client, "profilerecorder", host=node, clock=clock)
        self._followed = followed
        self._clock = clock
        self._book = PodBook(self._pod_changed)
        self._sightings = Sightings()
        self._checkpoint = Checkpoint(
            RecordingsFile(root, settings.operator_namespace), self._decide_whether_to_record
        )
        self._link = RecorderLink(
            socket,
            f"spod/{settings.operator_namespace}",
            identified=self._identified,
            connected=self._connected,
            clock=clock,
            server_uids=server_uids,
        )
        self._pods = RecordedPods(
            self._book,
            Acceptor(followed.recordings, TRACE_BPF_ANNOTATION, self._events, clock),
            self._checkpoint,
            Collector(client, followed.profiles, self._events, cast("Machine", os.uname().machine), metrics),
            self._events,
            clock,
            lost=lambda pod: lost_since(pod.losses or Losses(), self._link.losses),
        )
        self._reconciler = RecordingReconciler(self._pods, self._sightings, self._link)
        self._controller = Controller("recorder-spod", self._reconciler, workers=WORKERS, clock=clock)

    @property
    def controllers(self) -> Sequence[Controller]:
        """Whose work ``/metrics`` shows."""
        return (self._controller,)

    def tell_of_processes(self, saw: Callable[[Identified], None]) -> None:
        """From now on, pass on what the recorder tells of processes in containers."""
        self._saw = saw

    async def run(self) -> None:
        """Work until cancelled."""
        await self._checkpoint.load()
        self._followed.listen(lambda pod: pod.bpf, self._book.observed, self._recording_changed)
        self._wake_tracked()
        async with asyncio.TaskGroup() as group:
            events = group.create_task(self._events.run())
            link = group.create_task(self._link.run())
            try:
                await self._controller.run()
            finally:
                link.cancel()
                events.cancel()

    def _pod_changed(self, pod: PodRecord) -> None:
        if pod.traces:
            self._controller.enqueue(Request(pod.namespace, pod.uid))

    def _recording_changed(self, old: RecordingRecord | None, new: RecordingRecord | None) -> None:
        self._decide_whether_to_record()
        for request in self._pods.concerned(old, new):
            self._controller.enqueue(request)

    def _decide_whether_to_record(self) -> None:
        """While there is a recording every namespace is recorded: a pod may start faster than we hear."""
        active = any(
            not one.deleted and one.rule.prefix == TRACE_BPF_ANNOTATION
            for one in self._followed.recordings.list()
        )
        self._link.want(active or bool(self._checkpoint.tracked.pods))

    def _identified(self, event: Identified) -> None:
        if self._saw is not None:
            self._saw(event)
        sighting = self._sightings.add(event, self._clock.monotonic())
        uid = sighting.pod_uid
        if self._book.get(uid) is None and self._checkpoint.get(uid) is None:
            # The cgroup names no pod, or one of a static pod, whose uid is another at the API server.
            uid = self._book.uid_of(sighting.container_id)
        pod, tracked = self._book.get(uid), self._checkpoint.get(uid)
        if tracked is not None:
            self._controller.enqueue(Request(tracked.namespace, uid))
        elif pod is not None and pod.traces:
            self._pod_changed(pod)
        else:
            self._controller.enqueue(SWEEP)

    def _connected(self) -> None:
        self._reconciler.reconnected()
        self._wake_tracked()
        for pod in self._book.traced():
            self._pod_changed(pod)

    def _wake_tracked(self) -> None:
        for request in self._pods.known():
            self._controller.enqueue(request)
        self._decide_whether_to_record()
