"""One node that records from the audit log: the daemon's part, between a fake API server and enricher."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from spo.api.profile_recording import PROFILE_RECORDINGS
from spo.api.seccomp_profile import SECCOMP_PROFILES, SeccompProfile
from spo.controller.cache_sync import caches_synced
from spo.daemon.recording.followed import Followed
from spo.daemon.recording.logs_process import LogRecordings
from spo.daemon.recording.pods import TRACED_PODS
from spo.kube.client import KubeClient
from spo.kube.clock import SYSTEM_CLOCK
from spo.kube.config import server_config
from spo.kube.errors import NotFoundError
from spo.kube.informer import Informer
from spo.profiles.syscall_tables import syscall_names
from spo.rpc.log_enricher import Count, Losses, SeenCalls
from spo.settings import DaemonSettings
from tests.fakes.api_server import FakeApiServer

NS, NODE = "team", "node-1"
DEADLINE_S = 10.0
LABELS = {"app": "x"}
NUMBERS = {name: number for number, name in syscall_names("SCMP_ARCH_X86_64").items()}


class FakeEnricher:
    """Remembers what containers did; tells news, all after a connection, and when it is asked."""

    def __init__(self, session: str = "one") -> None:
        self.session = session
        self.began_ms = 0
        self.lost = 0
        self.first_serial, self.last_serial = 1, 10
        self.known: dict[tuple[str, bool], set[int]] = {}
        self.told: dict[tuple[str, bool], set[int]] = {}
        self.running = True
        self.node: LogRecordings | None = None

    def calls(self, container_id: str, *names: str, by_runtime: bool = False) -> None:
        """The kernel logs; nothing is told yet."""
        known = self.known.setdefault((container_id, by_runtime), set())
        known |= {NUMBERS[name] for name in names}
        self.last_serial += len(names)

    def connect(self, node: LogRecordings) -> None:
        self.node = node
        node.drain_by(self.drain)
        self.told.clear()
        self.tell()

    def tell(self) -> None:
        """What is due once a second."""
        assert self.node is not None
        seen = []
        for (container_id, by_runtime), numbers in self.known.items():
            told = self.told.setdefault((container_id, by_runtime), set())
            if news := numbers - told:
                seen.append(SeenCalls(container_id, "SCMP_ARCH_X86_64", sorted(news), by_runtime))
                told |= news
        batch = Count(
            self.session,
            1,
            [],
            Losses(gaps=self.lost),
            seen,
            self.first_serial,
            self.began_ms,
            self.last_serial,
        )
        for container_id in self.node.observe(batch):
            self.known = {key: calls for key, calls in self.known.items() if key[0] != container_id}

    async def drain(self) -> bool:
        if self.running:
            self.tell()
        return self.running


class LogsNode:
    """``async with LogsNode(folder) as node``."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "operator"
        self.root.mkdir()
        self.enricher: FakeEnricher | None = FakeEnricher()
        self._stack = AsyncExitStack()
        self._daemon: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "LogsNode":
        self.api = await self._stack.enter_async_context(FakeApiServer())
        self.client = KubeClient(server_config(self.api.url))
        self._stack.push_async_callback(self.client.aclose)
        await self.start_daemon()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_daemon()
        await self._stack.aclose()

    async def start_daemon(self) -> None:
        profiles: Informer[SeccompProfile] = Informer(self.client, SECCOMP_PROFILES)
        settings = DaemonSettings(node_name=NODE)
        followed = Followed(self.client, settings, profiles.cache, SYSTEM_CLOCK)
        self.daemon = LogRecordings(self.client, settings, followed, root=self.root)

        async def run() -> None:
            informers = (profiles, *followed.informers)
            async with asyncio.TaskGroup() as group:
                for informer in informers:
                    group.create_task(informer.run())
                await caches_synced(informers, DEADLINE_S)
                await self.daemon.run()

        self._daemon = asyncio.create_task(run())
        if self.enricher is not None:
            self.enricher.connect(self.daemon)

    async def stop_daemon(self) -> None:
        if self._daemon is not None:
            self._daemon.cancel()
            await asyncio.gather(self._daemon, return_exceptions=True)
            self._daemon = None

    def replace_enricher(self, enricher: FakeEnricher) -> None:
        """Another run of the process."""
        self.enricher = enricher
        enricher.connect(self.daemon)

    # What users and kubelets do.

    async def record(self, name: str = "rec", **spec: Any) -> None:
        selector = {"matchLabels": LABELS}
        body = {
            "metadata": {"name": name, "namespace": NS},
            "spec": {"kind": "SeccompProfile", "recorder": "logs", "podSelector": selector, **spec},
        }
        await self.client.create(PROFILE_RECORDINGS, body, NS)

    async def add_pod(
        self, name: str, *containers: str, annotations: dict[str, str] | None = None, **metadata: Any
    ) -> str:
        """A pod of this node as the webhook leaves it; returns its uid."""
        traces = {f"io.containers.trace-logs/{one}": f"rec-{one}-1700000000" for one in containers}
        log_profile = {"type": "Localhost", "localhostProfile": "operator/spo/log-enricher-trace.json"}
        body = {
            "metadata": {
                "name": name,
                "labels": LABELS,
                "namespace": NS,
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {**traces, **(annotations or {})},
                **metadata,
            },
            "spec": {
                "nodeName": NODE,
                "containers": [
                    {"name": one, "securityContext": {"seccompProfile": log_profile}} for one in containers
                ],
            },
        }
        return (await self.client.create(TRACED_PODS, body, NS)).metadata.uid

    async def report(self, pod: str, phase: str = "Running", *, ended: bool = False, **ids: str) -> None:
        """What a kubelet says: ids of containers, whether they have ended."""
        statuses = []
        for name, container_id in ids.items():
            identity = f"containerd://{container_id}"
            state = {"terminated": {"containerID": identity}} if ended else {"running": {}}
            statuses.append({"name": name, "containerID": identity, "state": state})
        status = {"phase": phase, "containerStatuses": statuses}
        await self.client.patch(TRACED_PODS, pod, NS, {"status": status}, subresource="status")

    async def remove_pod(self, name: str) -> None:
        await self.client.delete(TRACED_PODS, name, NS)

    # What tests look at.

    async def profile_when(self, name: str) -> SeccompProfile:
        """The profile as soon as it is there."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    return await self.client.get(SECCOMP_PROFILES, name, NS)
                except NotFoundError:
                    pass

    async def names(self) -> list[str]:
        page = await self.client.list_page(SECCOMP_PROFILES, NS)
        return sorted(one.metadata.name for one in page.items)

    async def until(self, condition: Any) -> None:
        """Wait until a condition holds; each look is a request: the others get their turn."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                await self.names()

    async def settled(self) -> None:
        """Nothing is tracked any more."""
        await self.until(lambda: not (self.root / ".recordings").exists())

    def stored(self) -> str:
        """What a new process would find."""
        try:
            return (self.root / ".recordings/logs-security-profiles-operator.json").read_text()
        except FileNotFoundError:
            return ""

    def reasons(self) -> list[str]:
        """Reasons of all events that were written."""
        posts = [call for call in self.api.calls if call.method == "POST" and call.path.endswith("/events")]
        return [call.json()["reason"] for call in posts]
