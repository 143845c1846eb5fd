"""The API server's side of a node status: one object, its versions, and failures on demand."""

import asyncio
from collections.abc import Callable, Iterable

from spo.api.meta import ObjectMeta
from spo.api.node_status import NodeProfileState, SecurityProfileNodeStatus
from spo.daemon.node_status import Entries
from spo.errors import SpoError
from spo.kube.errors import KubeError


class InMemoryNodeStatus:
    """See :class:`spo.daemon.node_status.NodeStatusApi`.

    With ``gate`` closed writes arrive but are not answered. ``failing`` makes them fail without effect,
    ``lost`` makes them fail after they took effect, as when a connection breaks.
    """

    def __init__(self, profiles: Entries | None = None) -> None:
        self.stored: SecurityProfileNodeStatus | None = None
        self.versions = 0
        self.writes: list[dict[str, NodeProfileState]] = []
        self.owner_uids: list[str | None] = []
        self.uid: str | None = "node-uid"
        self.arrived = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.failing: KubeError | None = None
        self.lost = False
        self.on_stored: Callable[[], None] = lambda: None
        if profiles is not None:
            self.edit(profiles)

    def edit(self, profiles: Entries) -> SecurityProfileNodeStatus:
        """Store something, whoever does it."""
        self.versions += 1
        self.stored = SecurityProfileNodeStatus(
            metadata=ObjectMeta(name="node-1", resource_version=str(self.versions)),
            node_name="node-1",
            profiles=dict(profiles),
        )
        return self.stored

    async def read(self) -> SecurityProfileNodeStatus | None:
        return self.stored

    async def node_uid(self) -> str | None:
        return self.uid

    async def apply(self, profiles: Entries, node_uid: str | None) -> str:
        self.arrived.set()
        await self.gate.wait()
        if self.failing and not self.lost:
            raise self.failing
        self.writes.append(dict(profiles))
        self.owner_uids.append(node_uid)
        stored = self.edit(profiles)
        self.on_stored()
        if self.failing:
            raise self.failing
        return stored.metadata.resource_version


class InMemoryClaims:
    """See :class:`spo.daemon.node_status.LocalClaims`; ``failing`` makes writes fail without effect."""

    def __init__(self, *keys: str) -> None:
        self.keys = set(keys)
        self.writes: list[set[str]] = []
        self.failing: SpoError | None = None

    async def read(self) -> tuple[str, ...]:
        return tuple(self.keys)

    async def write(self, claims: Iterable[str]) -> None:
        if self.failing:
            raise self.failing
        self.keys = set(claims)
        self.writes.append(self.keys)
