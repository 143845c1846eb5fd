"""Gives each Namespace its ``default`` ServiceAccount and the ConfigMap with the CA."""

from __future__ import annotations

from typing import Any, Final

from onenode.builtin_resources import NAMESPACES
from onenode.store import Store
from onenode.watch import Event

__all__ = ["ServiceAccounts"]

_CONFIG_MAP: Final = "kube-root-ca.crt"
_DESCRIPTION: Final = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints "
    "such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across "
    "distributions of Kubernetes clusters."
)


class ServiceAccounts:
    """The controller."""

    def __init__(self, store: Store, ca_text: str) -> None:
        self._store = store
        self._ca_text = ca_text

    def start(self) -> None:
        """Complete every Namespace."""
        for record in self._store.records(NAMESPACES):
            self._complete(record.name)

    def handle(self, event: Event) -> None:
        """React to a new Namespace, and to the loss or change of what we gave it."""
        record = event.record
        if record.resource == NAMESPACES and event.type == "ADDED":
            self._complete(record.name)
        elif record.namespace and (record.resource, record.name) in _OURS and event.type != "ADDED":
            self._complete(record.namespace)

    def _complete(self, name: str) -> None:
        namespace = self._store.record(NAMESPACES, None, name)
        if namespace is None or namespace.view["metadata"].get("deletionTimestamp"):
            return
        if self._store.record("serviceaccounts", name, "default") is None:
            account = {
                "kind": "ServiceAccount",
                "apiVersion": "v1",
                "metadata": {"name": "default", "namespace": name},
            }
            self._store.create("serviceaccounts", account)
        self._publish_ca(name)

    def _publish_ca(self, namespace: str) -> None:
        wanted = {"ca.crt": self._ca_text}
        current = self._store.get("configmaps", namespace, _CONFIG_MAP)
        if current is None:
            metadata: dict[str, Any] = {
                "name": _CONFIG_MAP,
                "namespace": namespace,
                "annotations": {"kubernetes.io/description": _DESCRIPTION},
            }
            config_map = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": wanted}
            self._store.create("configmaps", config_map)
        elif current.get("data") != wanted:
            current["data"] = wanted
            self._store.update("configmaps", current)


_OURS: Final = frozenset({("serviceaccounts", "default"), ("configmaps", _CONFIG_MAP)})
