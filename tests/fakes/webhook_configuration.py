"""What tests about webhooks send: configurations and pods."""

from __future__ import annotations

from typing import Any

import httpx2

from tests.fakes.onenode_api import Api
from tests.fakes.webhook_server import WebhookServer

__all__ = ["GROUP", "MERGE", "MUTATING", "POD", "PODS", "configure", "create", "rule", "webhook"]

Obj = dict[str, Any]

GROUP = "/apis/admissionregistration.k8s.io/v1"
MUTATING = f"{GROUP}/mutatingwebhookconfigurations"
PODS = "/api/v1/namespaces/default/pods"
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p"},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}
MERGE = {"Content-Type": "application/merge-patch+json"}


def rule(*resources: str, operations: tuple[str, ...] = ("*",), group: str = "") -> Obj:
    return {
        "operations": list(operations),
        "apiGroups": [group],
        "apiVersions": ["*"],
        "resources": list(resources),
    }


def webhook(hook: WebhookServer, name: str = "w.example.com", **more: Any) -> Obj:
    return {
        "name": name,
        "clientConfig": hook.client_config(f"/{name}"),
        "rules": [rule("pods")],
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 1,
        **more,
    }


async def configure(api: Api, *webhooks: Obj, name: str = "w", kind: str = "Mutating") -> None:
    body = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": list(webhooks),
    }
    await api.call("POST", f"{GROUP}/{kind.lower()}webhookconfigurations", body, 201)


async def create(api: Api, body: Obj = POD, path: str = PODS) -> httpx2.Response:
    return await api.client.post(path, json=body)
