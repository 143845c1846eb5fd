"""Daemons and a manager in this process, against a small API server on a socket and real directories."""

import asyncio
import itertools
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path, PurePosixPath
from typing import Any

from prometheus_client import CollectorRegistry

from spo.api.core import NODES, PODS
from spo.api.node_status import PROFILE_NODE_STATUSES
from spo.api.seccomp_profile import SECCOMP_PROFILES, SeccompProfile
from spo.api.spod import SPODS
from spo.daemon.metrics import SeccompProfileMetrics
from spo.daemon.process import Daemon
from spo.kube.client import KubeClient
from spo.kube.config import server_config
from spo.kube.errors import NotFoundError
from spo.manager.process import Manager
from spo.settings import DaemonSettings, ManagerSettings
from tests.fakes.api_server import Call, FakeApiServer

OPERATOR, NS = "security-profiles-operator", "team-a"
DEADLINE_S = 20.0
NODE_COUNT = 3


NOT_OF_PROFILES = ("/events", "/leases", "/securityprofilesoperatordaemons", "/daemonsets")


def is_object_write(call: Call) -> bool:
    """A write, apart from events, the lease, and what installs the daemons."""
    return call.method != "GET" and not any(part in call.path for part in NOT_OF_PROFILES)


def pod_body(
    name: str, namespace: str, node: str, labels: dict[str, str] | None = None, path: str = ""
) -> dict[str, Any]:
    """A pod, as its creator sends it."""
    context = {"seccompProfile": {"type": "Localhost", "localhostProfile": path}} if path else {}
    spec = {"nodeName": node, "securityContext": context, "containers": [{"name": "c"}]}
    return {"metadata": {"name": name, "namespace": namespace, "labels": labels or {}}, "spec": spec}


class Cluster:
    """An API server with nodes, their daemons and a manager."""

    def __init__(self, server: FakeApiServer, root: Path, clients: AsyncExitStack) -> None:
        self.server = server
        self.clients = clients
        self.root = root
        self.client = self.connect("test")
        self.nodes = [f"node-{n}" for n in range(NODE_COUNT)]
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def connect(self, field_manager: str) -> KubeClient:
        client = KubeClient(server_config(self.server.url), field_manager=field_manager)
        self.clients.push_async_callback(client.aclose)
        return client

    async def start(self) -> None:
        for node in self.nodes:
            body = {
                "metadata": {"name": node},
                "status": {"conditions": [{"type": "Ready", "status": "True"}]},
            }
            await self.client.create(NODES, body)
            await self.add_pod(f"spod-{node}", OPERATOR, node, labels={"name": "spod"})
            (self.root / node / "var/lib/kubelet/seccomp/operator").mkdir(parents=True)
            self.start_daemon(node)
        self.start_manager()

    def start_manager(self) -> None:
        # Without the default profiles: tests count what others cost.
        settings = ManagerSettings(identity="manager-0", cert_manager=True, default_profiles=False)
        manager = Manager(self.connect("manager"), settings)
        self.tasks["manager"] = asyncio.create_task(manager.run())

    def start_daemon(self, node: str, *, operator: str = OPERATOR, namespaces: tuple[str, ...] = ()) -> None:
        settings = DaemonSettings(
            node_name=node,
            host_root=PurePosixPath(self.root / node),
            operator_namespace=operator,
            namespaces=namespaces,
        )
        daemon = Daemon(self.connect("spod"), settings, SeccompProfileMetrics(CollectorRegistry()))
        name = node if operator == OPERATOR else f"{node} of {operator}"
        self.tasks[name] = asyncio.create_task(daemon.run())

    async def stop(self, *names: str) -> None:
        tasks = [self.tasks.pop(name) for name in names or tuple(self.tasks)]
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, asyncio.CancelledError), result

    async def add_pod(
        self, name: str, namespace: str, node: str, labels: dict[str, str] | None = None, path: str = ""
    ) -> None:
        await self.client.create(PODS, pod_body(name, namespace, node, labels, path), namespace)

    async def add_profile(self, name: str, **spec: Any) -> None:
        metadata = {"name": name, "namespace": NS}
        body = {"metadata": metadata, "spec": {"defaultAction": "SCMP_ACT_ERRNO", **spec}}
        await self.client.create(SECCOMP_PROFILES, body, NS)

    async def profile(self, name: str) -> SeccompProfile | None:
        try:
            return await self.client.get(SECCOMP_PROFILES, name, NS)
        except NotFoundError:
            return None

    async def listed(self) -> dict[str, dict[str, Any]]:
        page = await self.client.list_page(PROFILE_NODE_STATUSES, OPERATOR)
        return {
            one.node_name: {key: entry.state for key, entry in one.profiles.items()} for one in page.items
        }

    async def has_spod(self) -> bool:
        """Whether the manager has made the settings of the daemons."""
        return bool((await self.client.list_page(SPODS, OPERATOR)).items)

    async def wait_for(self, name: str, condition: Callable[[SeccompProfile | None], bool]) -> None:
        await self.until(self._check(name, condition))

    def _check(self, name: str, condition: Callable[[SeccompProfile | None], bool]) -> Any:
        async def check() -> bool:
            return condition(await self.profile(name))

        return check

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until an asynchronous condition holds; each look is a request: the others get their turn."""
        async with asyncio.timeout(DEADLINE_S):
            for _ in itertools.count():
                if await condition():
                    return

    def file(self, node: str, name: str, namespace: str = NS) -> Path:
        return self.root / node / f"var/lib/kubelet/seccomp/operator/{namespace}/{name}.json"

    def object_writes(self) -> int:
        return len(self.server.requests(is_object_write))


def installed(profile: SeccompProfile | None) -> bool:
    return bool(profile and profile.status and profile.status.status == "Installed")


def failed_everywhere(profile: SeccompProfile | None) -> bool:
    return bool(profile and profile.status and len(profile.status.failing_nodes) == NODE_COUNT)


def terminating(profile: SeccompProfile | None) -> bool:
    return bool(profile and profile.status and profile.status.status == "Terminating")


def gone(profile: SeccompProfile | None) -> bool:
    return profile is None
