"""What the spod controller reads from and writes to the API, never reading behind its own writes."""

from typing import Any

from spo.kube.cache import Cache
from spo.kube.client import KubeClient
from spo.manager.spod.objects import DAEMON_SETS, DaemonSet, Deployment
from spo.names import OPERATOR_NAME

Json = dict[str, Any]


class WorkloadStore:
    """The DaemonSet, and the manager's own Deployment."""

    def __init__(
        self,
        client: KubeClient,
        daemon_sets: Cache[DaemonSet],
        deployments: Cache[Deployment],
        namespace: str,
        name: str,
    ) -> None:
        """Take what it works with.

        Args:
            name: of the DaemonSet.
        """
        self._client = client
        self._daemon_sets = daemon_sets
        self._deployments = deployments
        self._namespace = namespace
        self._name = name
        self._written: DaemonSet | None = None

    def deployment(self) -> Deployment | None:
        """The manager's Deployment."""
        return self._deployments.get(self._namespace, OPERATOR_NAME)

    def daemon_set(self) -> DaemonSet | None:
        """The newest state we know, our own write included."""
        cached = self._daemon_sets.get(self._namespace, self._name)
        return self._written or cached

    def observed(self, _: DaemonSet | None, new: DaemonSet | None) -> None:
        """Listener of the cache: what it has is newer than our own write, or not yet as new."""
        if new is None or self._written is None or _version(new) >= _version(self._written):
            self._written = None

    async def create(self, body: Json) -> DaemonSet:
        """Create the DaemonSet.

        Raises:
            AlreadyExistsError: somebody was faster.
        """
        self._written = await self._client.create(DAEMON_SETS, body, self._namespace)
        return self._written

    async def replace(self, body: Json, version: str) -> DaemonSet:
        """Store exactly this; what else was in its spec is gone.

        Raises:
            ConflictError: the DaemonSet is no longer of this version.
        """
        metadata = {**body["metadata"], "resourceVersion": version}
        self._written = await self._client.update(
            DAEMON_SETS, {**body, "metadata": metadata}, self._name, self._namespace
        )
        return self._written


def _version(daemon_set: DaemonSet) -> int:
    text = daemon_set.metadata.resource_version
    return int(text) if text.isdecimal() else 0
