"""Admission webhooks and what the controllers of onenode make."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.onenode_api import Api, running_api
from tests.fakes.webhook_configuration import PODS, configure, rule, webhook
from tests.fakes.webhook_server import WebhookServer, patch, webhook_server

Obj = dict[str, Any]


@pytest.fixture
async def hook(tmp_path: Path) -> AsyncIterator[WebhookServer]:
    async with webhook_server(tmp_path) as server:
        yield server


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with running_api() as running:
        yield running


def deployment(replicas: int = 3) -> Obj:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"a": "b"}}, "template": template},
    }


async def until_pods(api: Api, count: int) -> list[Obj]:
    items: list[Obj] = []
    for _ in range(2000):
        items = (await api.call("GET", PODS))["items"]
        if len(items) == count:
            break
        await asyncio.sleep(0.002)
    assert len(items) == count
    return items


async def test_pods_of_a_deployment_are_reviewed_each_once(api: Api, hook: WebhookServer) -> None:
    hook.handler = patch({"op": "add", "path": "/metadata/annotations", "value": {"seen": "yes"}})
    await configure(api, webhook(hook, rules=[rule("pods", operations=("CREATE",))]))
    await api.call("POST", "/apis/apps/v1/namespaces/default/deployments", deployment(), 201)
    pods = await until_pods(api, 3)
    assert all(pod["metadata"]["annotations"] == {"seen": "yes"} for pod in pods)
    assert len(hook.calls) == 3
    user = hook.calls[0].request["userInfo"]["username"]
    assert user == "system:serviceaccount:kube-system:replicaset-controller"


async def test_job_and_daemon_set_pods_are_reviewed(api: Api, hook: WebhookServer) -> None:
    await configure(api, webhook(hook, rules=[rule("pods", operations=("CREATE",))]))
    await api.call("POST", "/api/v1/nodes", {"metadata": {"name": "n"}}, 201)
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    daemon_set = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d"}, "spec": spec}
    await api.call("POST", "/apis/apps/v1/namespaces/default/daemonsets", daemon_set, 201)
    await until_pods(api, 1)
    job_spec = {"template": {"spec": {**template["spec"], "restartPolicy": "Never"}}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": job_spec}
    await api.call("POST", "/apis/batch/v1/namespaces/default/jobs", job, 201)
    await until_pods(api, 2)
    users = {call.request["userInfo"]["username"].rpartition(":")[2] for call in hook.calls}
    assert users == {"daemon-set-controller", "job-controller"}


async def test_refused_pods_come_when_the_webhook_is_there(api: Api, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    async with webhook_server(tmp_path) as certificates:
        config = {**certificates.client_config(), "url": f"https://127.0.0.1:{port}/"}
        await configure(api, webhook(certificates, clientConfig=config))
    await api.call("POST", "/apis/apps/v1/namespaces/default/deployments", deployment(2), 201)
    for _ in range(2000):
        sets = (await api.call("GET", "/apis/apps/v1/namespaces/default/replicasets"))["items"]
        if sets and sets[0]["status"].get("conditions"):
            break
        await asyncio.sleep(0.002)
    assert "connection refused" in json.dumps(sets[0]["status"]["conditions"])
    assert not (await api.call("GET", PODS))["items"]
    async with webhook_server(tmp_path, port=port):
        await until_pods(api, 2)
