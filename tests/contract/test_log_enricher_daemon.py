"""Both ends together: a pod as the API server has it, a container of this kernel, the metric."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from spo.daemon.enricher_service import EnricherSide
from spo.kube.client import KubeClient
from spo.kube.config import server_config
from tests.fakes.api_server import FakeApiServer
from tests.fakes.enricher_daemon import EnricherProcess, wait_until
from tests.fakes.rpc_server import short_folder

pytestmark = pytest.mark.root

PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        made.chmod(0o755)
        yield made


@pytest.fixture
def container(folder: Path, busybox_image: str) -> Iterator[str]:
    """Makes five directories, each in a process of its own, once the file /gate/go is there."""
    (folder / "gate").mkdir()
    os.mkfifo(folder / "gate" / "go")
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_LOG"}],
    }
    (folder / "log.json").write_text(json.dumps(profile))
    (folder / "containers.conf").write_text(
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n'
        '[engine]\nruntime = "runc"\n'
    )
    env = {**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf")}
    name = f"spo-enricher-{secrets.token_hex(4)}"
    script = "read -r go < /gate/go; for i in 1 2 3 4 5; do mkdir /tmp/$i; done; read -r go < /gate/go"
    command = (
        *("podman", "run", "--detach", f"--name={name}", f"--volume={folder}/gate:/gate"),
        *(f"--security-opt=seccomp={folder}/log.json", busybox_image, "sh", "-c", script),
    )
    yield subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run(("podman", "rm", "--force", "--time=0", name), env=env, check=True, capture_output=True)


async def test_audited_call_becomes_a_line_and_a_metric(folder: Path, container: str) -> None:
    registry = CollectorRegistry()
    async with FakeApiServer() as server, KubeClient(server_config(server.url)) as client:
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "log-pod", "namespace": "default"},
            "spec": {"nodeName": "node-1", "containers": [{"name": "log-container"}]},
            "status": {
                "containerStatuses": [
                    {"name": "log-container", "state": {"waiting": {"reason": "ContainerCreating"}}}
                ]
            },
        }
        server.objects.create(server.objects.locate(PODS), pod)
        side = EnricherSide(client, "node-1", folder / "daemon" / "e.sock", registry)
        serving = asyncio.create_task(side.run())
        process = await asyncio.to_thread(EnricherProcess, folder, "--source=netlink", "--host-netns=own")
        try:
            await asyncio.to_thread(process.wait_for, "Connected to the daemon")
            await asyncio.to_thread((folder / "gate" / "go").write_text, "go\n")
            # The kubelet reports the id after the container has begun.
            status = {"containerStatuses": [{"name": "log-container", "containerID": f"cri-o://{container}"}]}
            server.objects.merge(server.objects.locate(f"{PODS}/log-pod"), {"status": status})
            lines = await asyncio.to_thread(process.wait_for, '"pod"="log-pod".*"syscallName"="mkdir"', 5)
            assert all('"container"="log-container"' in line for line in lines)
            labels = {
                "node": "node-1",
                "namespace": "default",
                "pod": "log-pod",
                "container": "log-container",
                "executable": "/bin/busybox",
                "syscall": "mkdir",
            }
            await asyncio.to_thread(wait_until, lambda: _count(registry, labels) == 5)
        finally:
            await asyncio.to_thread(process.stop)
            serving.cancel()
            await asyncio.wait((serving,))


def _count(registry: CollectorRegistry, labels: dict[str, str]) -> float | None:
    return registry.get_sample_value("security_profiles_operator_seccomp_profile_audit_total", labels)


STRANGER = """
import os, sys
from pathlib import Path
from spo.rpc.blocking import BlockingClient
from spo.rpc.log_enricher import PROTOCOL
os.setgroups([])
os.setuid(4711)
try:
    BlockingClient(Path(sys.argv[1]), PROTOCOL, server_uids={0})
except Exception as error:
    print(type(error).__name__, error)
"""


async def test_stranger_with_the_right_group_is_turned_away_and_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    socket = folder / "daemon" / "e.sock"
    async with FakeApiServer() as server, KubeClient(server_config(server.url)) as client:
        side = EnricherSide(client, "node-1", socket, CollectorRegistry())
        serving = asyncio.create_task(side.run())
        await asyncio.to_thread(wait_until, socket.exists)
        try:
            run = (sys.executable, "-c", STRANGER, str(socket))
            done = await asyncio.to_thread(subprocess.run, run, capture_output=True, text=True, check=False)
        finally:
            serving.cancel()
            await asyncio.wait((serving,))
    assert done.stdout.startswith("RefusedError"), done.stdout + done.stderr
    assert "4711" in done.stdout
