"""What the daemon does for the process ``log-enricher`` of its node: name containers, take counts."""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, Counter

from spo import klog
from spo.daemon.audit_metrics import AuditMetrics
from spo.daemon.enricher_pods import ENRICHER_PODS, ContainerDirectory, PodContainers, project_pod
from spo.daemon.seen_processes import SeenProcesses
from spo.kube.client import KubeClient
from spo.kube.clock import SYSTEM_CLOCK, Clock
from spo.kube.informer import Informer
from spo.names import ROOTLESS_UID
from spo.rpc.asyncio_server import AsyncioServer
from spo.rpc.errors import RpcError
from spo.rpc.listener import Listener, SocketPlace
from spo.rpc.log_enricher import PROTOCOL, Count, Counted, Drain, Drained, Find, Losses, Request, Trace
from spo.rpc.server import Peer

log = klog.get("enricher-spod")

CLIENT_UIDS: Final = frozenset({0, ROOTLESS_UID})
_MAX_SESSIONS: Final = 8
DRAIN_S: Final = 15.0
"""How long the enricher may take to tell everything; it gives up itself after some seconds."""

Observer = Callable[[Count], list[str]]
"""Told of every batch, once: recordings from the log are made of it. Returns ids of at most 100 containers of
which nothing more is wanted."""


class _Session:
    """One run of the process ``log-enricher``."""

    def __init__(self) -> None:
        self.number = 0
        self.losses = Losses()


class EnricherService:
    """Answers the enricher.

    Args:
        observe: see :data:`Observer`.
        processes: that the recorder saw.
    """

    def __init__(
        self,
        directory: ContainerDirectory,
        metrics: AuditMetrics,
        observe: Observer | None = None,
        processes: SeenProcesses | None = None,
    ) -> None:
        self._processes = processes or SeenProcesses(SYSTEM_CLOCK.monotonic)
        self._directory = directory
        self._metrics = metrics
        self._observe = observe
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._server: AsyncioServer | None = None
        self._last_drain = 0
        self._drains: dict[int, asyncio.Future[None]] = {}

    def handle(self, peer: Peer, request: Request) -> msgspec.Struct:
        """The answer to one request."""
        match request:
            case Find():
                return self._directory.find(request.containers)
            case Trace():
                return self._processes.find(request.pids)
            case Count():
                peer.subscribed = True
                return self._count(request)
            case Drained():
                return self._drained(request.number)

    async def drain(self) -> bool:
        """Have the enricher tell all that the kernel has logged up to now.

        Returns:
            False: it is not there, or does not answer in time.
        """
        self._last_drain += 1
        number = self._last_drain
        if self._server is None or not self._server.publish(Drain(number)):
            return False
        done = self._drains[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(DRAIN_S):
                await done
        except TimeoutError:
            return False
        finally:
            del self._drains[number]
        return True

    async def serve(self, socket: Path) -> None:
        """Listen until cancelled; without a place to listen the rest of the daemon goes on."""
        place = SocketPlace(path=socket, uid=os.getuid(), gid=os.getgid())
        try:
            with Listener(place) as listener:
                log.info("Starting GRPC API server", socket=str(socket))  # the line; it is msgpack
                self._server = AsyncioServer(
                    listener.socket, PROTOCOL, self.handle, allowed_uids={*CLIENT_UIDS, os.getuid()}
                )
                await self._server.run()
        except RpcError as error:
            log.error("Cannot serve the log enricher", error=error)
        finally:
            self._server = None

    def _drained(self, number: int) -> Counted:
        """Who answers a later question has answered the earlier ones."""
        for waiting, done in self._drains.items():
            if waiting <= number and not done.done():
                done.set_result(None)
        return Counted()

    def _count(self, batch: Count) -> Counted:
        session = self._sessions.setdefault(batch.session, _Session())
        self._sessions.move_to_end(batch.session)
        if len(self._sessions) > _MAX_SESSIONS:
            self._sessions.popitem(last=False)
        if batch.number <= session.number:
            return Counted()  # our answer got lost, not the batch
        session.number = batch.number
        for entry in batch.entries:
            self._metrics.add(entry)
        self._metrics.lost(session.losses, batch.losses)
        session.losses = batch.losses
        return Counted(self._observe(batch) if self._observe is not None else [])


class EnricherSide:
    """The part of the daemon that serves the enricher: its own look at the pods of the node, and the socket.

    Args:
        namespaces: whose pods are told apart; none: all.
        observe: see :data:`Observer`.
        merged: see :class:`AuditMetrics`.
    """

    def __init__(
        self,
        client: KubeClient,
        node: str,
        socket: Path,
        registry: CollectorRegistry,
        *,
        namespaces: Sequence[str] = (),
        observe: Observer | None = None,
        merged: Counter | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        directory = ContainerDirectory()
        self._pods: Informer[PodContainers] = Informer(
            client,
            ENRICHER_PODS,
            namespaces,
            project=project_pod,
            field_selector=f"spec.nodeName={node}",
            clock=clock,
        )
        self._pods.add_listener(directory.observed)
        self.processes: Final = SeenProcesses(clock.monotonic)
        """Of containers, as the recorder saw them."""
        metrics = AuditMetrics(registry, node, directory.has_pod, merged=merged)
        self._service = EnricherService(directory, metrics, observe, self.processes)
        self._socket = socket

    async def drain(self) -> bool:
        """See :meth:`EnricherService.drain`."""
        return await self._service.drain()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pods.run())
            group.create_task(self._service.serve(self._socket))
