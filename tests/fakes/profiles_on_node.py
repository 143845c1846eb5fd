"""A daemon's parts around the reconciler of profiles, with a real directory."""

import asyncio
from pathlib import Path

from spo.api.node_status import NodeProfileState
from spo.api.seccomp_profile import SeccompProfile
from spo.controller import DONE, Request
from spo.daemon.node_status import NodeStatusReporter
from spo.daemon.seccomp_profile import SeccompProfileReconciler, profile_key
from spo.host.seccomp_dir import SeccompDir
from spo.kube.cache import Cache
from tests.fakes.clock import FakeClock
from tests.fakes.profiles_node_status import InMemoryClaims, InMemoryNodeStatus
from tests.fakes.profiles_node_view import FakeNodeView
from tests.fakes.profiles_objects import NS, put

WEB = Request(NS, "web")
KEY = profile_key(NS, "web")


class Told:
    """What users were told; see :class:`spo.daemon.seccomp_profile.Announcer`."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []

    def saved(self, profile: SeccompProfile) -> None:
        self.log.append(("SavedSeccompProfile", profile.metadata.name))

    def removed(self) -> None:
        self.log.append(("removed", ""))

    def failed(self, profile: SeccompProfile | None, reason: str, message: str) -> None:
        self.log.append((reason, profile.metadata.name if profile else ""))


class Node:
    """A daemon's parts around the reconciler, with a real directory."""

    def __init__(self, root: Path) -> None:
        self.root = root / "operator"
        self.root.mkdir(exist_ok=True)
        self.api = InMemoryNodeStatus()
        self.profiles: Cache[SeccompProfile] = Cache("SeccompProfile")
        self.view = FakeNodeView()
        self.namespaces: tuple[str, ...] = ()
        self.unsupported = ""
        self.start()

    def start(self) -> None:
        """A new process on the same disk, with the same API server."""
        self.told = Told()
        self.reporter = NodeStatusReporter(self.api, InMemoryClaims(), FakeClock(), report_delay_s=0)

    async def reconcile(self, request: Request = WEB) -> None:
        """Reconcile twice: the second time must change nothing."""
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(self.reporter.run())
            reconciler = self.reconciler()
            try:
                assert await reconciler.reconcile(request) == DONE
                before = self.state()
                assert await reconciler.reconcile(request) == DONE
                assert self.state() == before
            finally:
                await FakeClock().settle()
                writing.cancel()

    def reconciler(self) -> SeccompProfileReconciler:
        return SeccompProfileReconciler(
            self.profiles,
            self.view,
            self.reporter,
            SeccompDir(self.root),
            self.told,
            namespaces=self.namespaces,
            unsupported=self.unsupported,
        )

    def state(self) -> object:
        files = {path: path.read_bytes() for path in self.root.rglob("*") if path.is_file()}
        claims = {key: self.reporter.state(key) for key in self.reporter.claims()}
        return files, claims, list(self.told.log)

    def file(self, name: str = "web") -> Path:
        return self.root / NS / f"{name}.json"

    def entry(self, name: str = "web") -> NodeProfileState | None:
        return self.reporter.state(profile_key(NS, name))

    def state_of(self, name: str = "web") -> str | None:
        entry = self.entry(name)
        return entry.state if entry else None


async def installed(node: Node, *profiles: SeccompProfile) -> None:
    put(node.profiles, *profiles)
    for one in profiles:
        await node.reconcile(Request(NS, one.metadata.name.removesuffix(".json")))
    node.told.log.clear()
