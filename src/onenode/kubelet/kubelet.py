"""The pod runner of one node: sees every pod bound to it and keeps one worker per pod.

Level-based: a change only wakes the worker, which reads the pod anew. After a restart, containers that
still run are taken over and those whose pod is gone are removed.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from onenode.kubelet.cgroups import remove_pod_cgroup, remove_pod_cgroups
from onenode.kubelet.cluster import Cluster
from onenode.kubelet.downward import PodFacts
from onenode.kubelet.errors import ContainerConfigError, LogError, StreamError
from onenode.kubelet.events import PodEvents
from onenode.kubelet.logs import LogOptions, container_log, read_log
from onenode.kubelet.names import check_pod_identity
from onenode.kubelet.node import lease_object, memory_bytes, node_object
from onenode.kubelet.runtime import Runtime
from onenode.kubelet.settings import KubeletSettings
from onenode.kubelet.starter import Starter
from onenode.kubelet.state import ContainerPhase, ContainerState
from onenode.kubelet.streams import StreamProcess, StreamRequest
from onenode.kubelet.volumes import TokenIssuer, Volumes
from onenode.kubelet.worker import PodWorker, WorkerParts
from onenode.store import Store

log = logging.getLogger("onenode.kubelet")

_NODE_REPORT_S: Final = 300.0


class Kubelet:
    """Runs the pods of one node."""

    def __init__(
        self,
        store: Store,
        runtime: Runtime,
        settings: KubeletSettings,
        tokens: TokenIssuer,
        *,
        runtime_version: str = "",
        clock: Callable[[], float] = time.time,
        remove_cgroup: Callable[[str], Awaitable[bool]] = remove_pod_cgroup,
    ) -> None:
        self._cluster = Cluster(store, settings.node_name)
        self._runtime = runtime
        self._runtime_version = runtime_version
        self._settings = settings
        self._clock = clock
        volumes = Volumes(settings, self._cluster.lookup, tokens, clock)
        events = PodEvents(self._cluster, settings.node_name, clock)
        self._parts = WorkerParts(
            store=self._cluster,
            starter=Starter(runtime, volumes, events, settings, self._cluster.lookup),
            facts=PodFacts(host_ip=settings.host_ip, cpus=os.cpu_count() or 1, memory_bytes=memory_bytes()),
            remove_cgroup=remove_cgroup,
            clock=clock,
        )
        self._workers: dict[str, PodWorker] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.ready = asyncio.Event()
        """Set when earlier containers are taken over and the Node is reported."""

    async def run(self) -> None:
        """Work until cancelled; containers stay, for the next run to take over."""
        watch = self._cluster.watch_pods()
        try:
            await self._take_over()
            # One turn for every worker: it reports what is left of its pod before anybody asks.
            await asyncio.sleep(0)
            self._report_node()
            self.ready.set()
            heartbeat = asyncio.create_task(self._heartbeat())
            self._tasks.add(heartbeat)
            async for event in watch:
                self._notice(event.record.view)
        finally:
            watch.close()
            await self._stop()

    async def read_logs(
        self, pod: dict[str, Any], container: str, options: LogOptions, *, previous: bool = False
    ) -> AsyncIterator[bytes]:
        """Log text of a container that was checked to be one of the pod.

        Raises:
            LogError: the container has not run (yet); the message is the API's.
        """
        metadata = pod["metadata"]
        attempt, live = self._log_attempt(pod, container, previous=previous)
        folder = self._settings.pod_folder(metadata["uid"]) / "containers" / container
        worker = self._workers.get(metadata["uid"])

        def ended() -> bool:
            record = worker.record(container) if worker is not None else None
            return not live or record is None or record.running is None or record.running.attempt != attempt

        return read_log(container_log(folder, attempt), options, ended)

    async def open_stream(self, pod: dict[str, Any], container: str, request: StreamRequest) -> StreamProcess:
        """Start a command in a running container, or attach to it if the request has no command.

        Raises:
            StreamError: the container does not run.
        """
        worker = self._workers.get(pod["metadata"]["uid"])
        record = worker.record(container) if worker is not None else None
        if record is None or record.running is None:
            raise StreamError(f'container not found ("{container}")')
        return await self._runtime.open_stream(record.running, request)

    def _log_attempt(self, pod: dict[str, Any], container: str, *, previous: bool) -> tuple[int, bool]:
        status = _container_status(pod, container)
        name = pod["metadata"]["name"]
        state = status.get("state") or {}
        restarts = int(status.get("restartCount") or 0)
        last = (status.get("lastState") or {}).get("terminated")
        if previous:
            if last is None:
                raise LogError(f'previous terminated container "{container}" in pod "{name}" not found')
            # A container that waits for its next start has not got its new number yet.
            return (restarts if "waiting" in state else restarts - 1), False
        if "running" in state or "terminated" in state:
            return restarts, "running" in state
        if last is not None:
            return restarts, False
        reason = (state.get("waiting") or {}).get("reason") or "ContainerCreating"
        raise LogError(f'container "{container}" in pod "{name}" is waiting to start: {reason}')

    # ---- pods ----

    async def _take_over(self) -> None:
        by_pod: dict[str, list[ContainerState]] = defaultdict(list)
        unfinished = []
        for state in await self._runtime.containers():
            if state.phase is ContainerPhase.CREATED:
                unfinished.append(state.id)  # an earlier run was killed while starting it
            else:
                by_pod[state.pod_uid].append(state)
        await self._runtime.remove(unfinished)
        pods = {pod["metadata"]["uid"]: pod for pod in self._cluster.pods()}
        gone = [state.id for uid, states in by_pod.items() if uid not in pods for state in states]
        if gone:
            log.info("removing containers of pods that are gone count=%d", len(gone))
            await self._runtime.remove(gone)
        if self._settings.pods.is_dir():
            for folder in self._settings.pods.iterdir():
                if folder.name not in pods:
                    await remove_pod_cgroups(folder.name, self._parts.remove_cgroup)
                    self._parts.starter.volumes.remove(folder.name)
        for uid, pod in pods.items():
            self._start_worker(pod, by_pod.get(uid, []))

    def _notice(self, pod: dict[str, Any]) -> None:
        worker = self._workers.get(pod["metadata"]["uid"])
        if worker is not None:
            worker.wake()
        elif self._cluster.is_mine(pod):
            self._start_worker(pod, [])

    def _start_worker(self, pod: dict[str, Any], adopted: list[ContainerState]) -> None:
        metadata = pod["metadata"]
        uid, key = metadata["uid"], (metadata["namespace"], metadata["name"])
        if self._cluster.pod(key) is None:
            return
        try:
            # They become paths and arguments: what the API should not have let pass goes no further.
            check_pod_identity(*key, uid)
        except ContainerConfigError as error:
            log.error("pod is ignored pod=%s/%s error=%s", *key, error)
            return
        worker = PodWorker(key, uid, self._parts, adopted)
        self._workers[uid] = worker
        task = asyncio.create_task(worker.run(), name=f"pod {key[0]}/{key[1]}")
        self._tasks.add(task)

        def done(finished: asyncio.Task[None]) -> None:
            self._tasks.discard(finished)
            self._workers.pop(uid, None)
            if not finished.cancelled() and finished.exception() is not None:
                log.error("pod worker failed pod=%s/%s", *key, exc_info=finished.exception())

        task.add_done_callback(done)

    async def _stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    # ---- node ----

    def _report_node(self) -> None:
        now = self._clock()
        self._cluster.put_node(node_object(self._settings, self._cluster.node(), self._runtime_version, now))
        self._renew_lease()

    def _renew_lease(self) -> None:
        node = self._cluster.node()
        if node is not None:
            self._cluster.put_lease(lease_object(self._settings, self._cluster.lease(), node, self._clock()))

    async def _heartbeat(self) -> None:
        reported_s = self._clock()
        while True:
            await asyncio.sleep(self._settings.lease_renew_s)
            if self._clock() - reported_s >= _NODE_REPORT_S or self._cluster.node() is None:
                reported_s = self._clock()
                self._report_node()
            else:
                self._renew_lease()


def _container_status(pod: dict[str, Any], container: str) -> dict[str, Any]:
    status = pod.get("status") or {}
    for field in ("initContainerStatuses", "containerStatuses"):
        for item in status.get(field) or ():
            if item.get("name") == container:
                return dict(item)
    return {}
