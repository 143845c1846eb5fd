"""The pod runner's view of the API: pods of one node, their status, events, the Node and its Lease.

The store is in this process and never waits, so reading and writing back needs no retry.
"""

from typing import Any, Final

from onenode.store import NotStoredError, Store, Watch

PODS: Final = "pods"
EVENTS: Final = "events"
NODES: Final = "nodes"
NAMESPACES: Final = "namespaces"
LEASES: Final = "leases.coordination.k8s.io"
LEASE_NAMESPACE: Final = "kube-node-lease"

Obj = dict[str, Any]


class Cluster:
    """Reads and writes of one kubelet."""

    def __init__(self, store: Store, node_name: str) -> None:
        self._store = store
        self._node_name = node_name

    def pods(self) -> list[Obj]:
        """The pods bound to this node."""
        return [record.copy() for record in self._store.records(PODS) if self.is_mine(record.view)]

    def is_mine(self, pod: Obj) -> bool:
        """Whether a pod is bound to this node."""
        return bool((pod.get("spec") or {}).get("nodeName") == self._node_name)

    def watch_pods(self) -> Watch:
        """Changes of pods from now on."""
        return self._store.watch(PODS)

    def pod(self, key: tuple[str, str]) -> Obj | None:
        """The pod as stored now."""
        return self._store.get(PODS, *key)

    def write_status(self, key: tuple[str, str], uid: str, status: Obj) -> None:
        """Replace the status; nothing happens if the pod is gone."""
        stored = self._store.get(PODS, *key)
        if stored is not None and stored["metadata"].get("uid") == uid:
            stored["status"] = status
            self._store.update(PODS, stored)

    def finish_deletion(self, key: tuple[str, str], uid: str) -> None:
        """The pod has stopped: remove it from the API (finalizers permitting)."""
        stored = self._store.record(PODS, *key)
        if stored is not None and stored.view["metadata"].get("uid") == uid:
            self._store.delete_now(PODS, *key)

    def lookup(self, resource: str, namespace: str, name: str) -> Obj | None:
        """A ConfigMap or Secret."""
        return self._store.get(resource, namespace, name)

    def create_event(self, event: Obj) -> None:
        """Store a new event, unless its namespace is gone or going."""
        namespace = self._store.record(NAMESPACES, None, event["metadata"]["namespace"])
        if namespace is not None and not namespace.view["metadata"].get("deletionTimestamp"):
            self._store.create(EVENTS, event)

    def repeat_event(self, namespace: str, name: str, *, count: int, last: str) -> bool:
        """Raise the count of a stored event; ``False`` if it is gone."""
        stored = self._store.get(EVENTS, namespace, name)
        if stored is None:
            return False
        stored["count"], stored["lastTimestamp"] = count, last
        self._store.update(EVENTS, stored)
        return True

    def node(self) -> Obj | None:
        """The Node object."""
        return self._store.get(NODES, None, self._node_name)

    def put_node(self, node: Obj) -> None:
        """Create or replace the Node object."""
        self._put(NODES, node)

    def lease(self) -> Obj | None:
        """The node's Lease."""
        return self._store.get(LEASES, LEASE_NAMESPACE, self._node_name)

    def put_lease(self, lease: Obj) -> None:
        """Create or replace the node's Lease, if its namespace exists."""
        if self._store.record(NAMESPACES, None, LEASE_NAMESPACE) is not None:
            self._put(LEASES, lease)

    def _put(self, resource: str, obj: Obj) -> None:
        try:
            self._store.update(resource, obj)
        except NotStoredError:
            self._store.create(resource, obj)
