"""Reads and writes the one API object that belongs to this node, and the copy on the disk."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from spo.api.core import NODES
from spo.api.node_status import PROFILE_NODE_STATUSES, ProfileState, SecurityProfileNodeStatus
from spo.daemon.node_status import Entries
from spo.host.claims_file import ClaimsFile
from spo.kube.client import KubeClient
from spo.kube.errors import NotFoundError
from spo.names import DAEMON_FIELD_MANAGER, NODE_NAME_LABEL

MAX_LABEL: Final = 63  # characters of a label value


class LocalCopy:
    """The claims in a file of this node; see :class:`spo.daemon.node_status.LocalClaims`."""

    def __init__(self, file: ClaimsFile) -> None:
        self._file = file

    async def read(self) -> tuple[str, ...]:
        """See :class:`spo.daemon.node_status.LocalClaims`."""
        return await asyncio.to_thread(self._file.read)

    async def write(self, claims: Iterable[str]) -> None:
        """See :class:`spo.daemon.node_status.LocalClaims`."""
        await asyncio.to_thread(self._file.write, claims)


class NodeStatusStore:
    """The SecurityProfileNodeStatus named like the node, in the operator's namespace."""

    def __init__(self, client: KubeClient, node_name: str, operator_namespace: str) -> None:
        self._client = client
        self._node_name = node_name
        self._namespace = operator_namespace

    async def read(self) -> SecurityProfileNodeStatus | None:
        """See :class:`spo.daemon.node_status.NodeStatusApi`."""
        try:
            return await self._client.get(PROFILE_NODE_STATUSES, self._node_name, self._namespace)
        except NotFoundError:
            return None

    async def node_uid(self) -> str | None:
        """See :class:`spo.daemon.node_status.NodeStatusApi`."""
        try:
            return (await self._client.get(NODES, self._node_name)).metadata.uid or None
        except NotFoundError:
            return None

    async def apply(self, profiles: Entries, node_uid: str | None) -> str:
        """See :class:`spo.daemon.node_status.NodeStatusApi`."""
        stored = await self._client.apply(
            PROFILE_NODE_STATUSES,
            node_status_object(self._node_name, profiles, node_uid),
            self._node_name,
            self._namespace,
            field_manager=DAEMON_FIELD_MANAGER,
        )
        return stored.metadata.resource_version


def node_status_object(node_name: str, profiles: Entries, node_uid: str | None) -> dict[str, Any]:
    """Everything this node says, as server-side apply takes it."""
    metadata: dict[str, Any] = {}
    if len(node_name) <= MAX_LABEL:
        metadata["labels"] = {NODE_NAME_LABEL: node_name}
    if node_uid:
        # Without blockOwnerDeletion: removing a node must not wait for its status.
        owner = {"apiVersion": NODES.api_version, "kind": NODES.kind, "name": node_name, "uid": node_uid}
        metadata["ownerReferences"] = [owner]
    states = [entry.state for entry in profiles.values()]
    return {
        "metadata": metadata,
        "nodeName": node_name,
        "profiles": msgspec.to_builtins(profiles),
        "installed": states.count(ProfileState.INSTALLED),
        "failed": states.count(ProfileState.ERROR),
    }
