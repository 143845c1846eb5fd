"""``spoc recording`` against a small API server."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from spo.api.profile_recording import PROFILE_RECORDINGS
from spo.api.seccomp_profile import SECCOMP_PROFILES
from spo.cli.__main__ import run_cli
from spo.kube.client import KubeClient
from spo.kube.config import server_config
from tests.fakes.api_server import FakeApiServer

NS = "team"
SNAPSHOT = "spo.x-k8s.io/snapshot"


@pytest.fixture
async def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubeClient]:
    async with FakeApiServer() as server, KubeClient(server_config(server.url)) as made:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": server.url}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": NS}}],
            "current-context": "x",
        }
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(config))
        monkeypatch.setenv("KUBECONFIG", str(path))
        yield made


async def spoc(*arguments: str) -> int:
    return await asyncio.to_thread(run_cli, ["recording", *arguments])


async def record(client: KubeClient, name: str, namespace: str = NS, **status: Any) -> None:
    body = {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"kind": "SeccompProfile", "recorder": "bpf", "podSelector": {}},
    }
    await client.create(PROFILE_RECORDINGS, body, namespace)
    if status:
        await client.patch(PROFILE_RECORDINGS, name, namespace, {"status": status}, subresource="status")


async def collect(client: KubeClient, pod: str, **annotations: str) -> None:
    metadata = {
        "name": "rec-c",
        "namespace": NS,
        "labels": {"spo.x-k8s.io/recording-id": "rec", "spo.x-k8s.io/recorded-pod": pod},
        "annotations": {f"spo.x-k8s.io/{key.replace('_', '-')}": value for key, value in annotations.items()},
    }
    rules = [{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"}]
    spec = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}
    await client.create(SECCOMP_PROFILES, {"metadata": metadata, "spec": spec}, NS)


async def test_list_is_a_table(client: KubeClient, capsys: pytest.CaptureFixture[str]) -> None:
    containers = [{"name": "c", "syscalls": 12, "lost": 3}, {"name": "d", "syscalls": 7, "lost": 1}]
    await record(client, "rec", activeWorkloadCount=2, containers=containers)
    await record(client, "far", namespace="other")
    assert await spoc("list") == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["NAMESPACE", "NAME", "RECORDER", "PODS", "CONTAINERS", "SYSCALLS", "LOST"]
    assert [row.split() for row in rows] == [["team", "rec", "bpf", "2", "2", "12", "4"]]
    assert await spoc("list", "-A") == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


async def test_show_tells_all(client: KubeClient, capsys: pytest.CaptureFixture[str]) -> None:
    containers = [{"name": "c", "pods": 1, "syscalls": 2, "lastNewSyscallTime": "2026-01-01T00:00:00Z"}]
    await record(client, "rec", activeWorkloadCount=1, activeWorkloads=["web"], containers=containers)
    await collect(client, "p", recording_lost="4")
    assert await spoc("show", "rec") == 0
    assert capsys.readouterr().out.splitlines() == [
        "team/rec: SeccompProfile by bpf, merge none",
        "Pods being recorded: 1",
        "  web",
        "Containers:",
        "  c: 2 syscalls in 1 pods, the last new one 2026-01-01T00:00:00Z, 0 lost",
        "Profiles:",
        "  rec-c: Pending, 2 syscalls allowed, 4 lost",
    ]


async def test_snapshot_waits_for_the_profiles(
    client: KubeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    await record(client, "rec", activeWorkloadCount=1)
    asked = asyncio.create_task(spoc("snapshot", "rec"))
    while not (when := await wanted(client)):
        pass
    await collect(client, "p", snapshot_of=when)
    assert await asked == 0
    captured = capsys.readouterr()
    assert captured.out == f"rec-c: Pending, 2 syscalls allowed, snapshot of {when}, 0 lost\n"
    assert captured.err == f"Snapshot {when} of 1 pods\n"


async def test_snapshot_that_does_not_come_is_an_error(
    client: KubeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    await record(client, "rec", activeWorkloadCount=2)
    assert await spoc("snapshot", "--timeout", "0.1", "rec") == 1
    assert "profiles of 0 of 2 pods within 0.1 s" in capsys.readouterr().err
    assert await wanted(client)


async def test_recording_that_is_not_there(client: KubeClient, capsys: pytest.CaptureFixture[str]) -> None:
    assert await spoc("show", "none") == 1
    error = capsys.readouterr().err
    assert error.startswith("Unable to run: ")
    assert len(error.splitlines()) == 1


async def wanted(client: KubeClient) -> str:
    return (await client.get(PROFILE_RECORDINGS, "rec", NS)).metadata.annotations.get(SNAPSHOT, "")
