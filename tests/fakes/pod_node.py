"""A pod runner with real Podman on this machine, and what tests look at beside it."""

import asyncio
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onenode.instance import Instance
from onenode.kubelet import Kubelet, KubeletSettings, Podman
from onenode.kubelet.logs import LogOptions
from onenode.kubelet.pod import Pod
from onenode.kubelet.streams import StreamRequest
from onenode.store import Store

DEADLINE_S = 20.0
WAIT_FOR_TERM = 'trap "exit 0" TERM; echo started; while :; do sleep 0.1; done'


class FixedTokens:
    """Implements onenode.kubelet.volumes.TokenIssuer."""

    def issue(self, *, pod: Pod, audience: str, expiration_s: int) -> str:
        return f"token of {pod.spec.service_account_name}"


class Node:
    """A kubelet on this machine with an instance of its own."""

    def __init__(self, folder: Path, image: str) -> None:
        self.image = image
        self.instance = Instance(folder / "state")
        self.instance.prepare()
        self.store = Store(":memory:")
        self.store.create("namespaces", {"metadata": {"name": "ns"}})
        self.settings = KubeletSettings(
            node_name="n1",
            state=self.instance.state,
            seccomp_root=folder / "seccomp",
            instance=self.instance.identifier,
            start_backoff_s=0.2,
            start_backoff_max_s=0.4,
        )
        self.settings.seccomp_root.mkdir()
        self.podman: Podman
        self.kubelet: Kubelet
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.podman = self.instance.podman(os.environ)
        self.kubelet = Kubelet(self.store, self.podman, self.settings, FixedTokens())
        self._task = asyncio.create_task(self.kubelet.run())
        await asyncio.wait_for(self.kubelet.ready.wait(), DEADLINE_S)

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.podman.drain()

    def add(
        self, script: str = "", *, name: str = "p", container: dict[str, Any] | None = None, **spec: Any
    ) -> None:
        main = {"name": "c", "image": self.image, **(container or {})}
        if script:
            main["command"] = ["sh", "-c", script]
        wanted = {"nodeName": "n1", "restartPolicy": "Never", "containers": [main], **spec}
        self.store.create("pods", {"metadata": {"name": name, "namespace": "ns"}, "spec": wanted})

    def pod(self, name: str = "p") -> dict[str, Any]:
        return self.store.get("pods", "ns", name) or {}

    def status(self, name: str = "p") -> dict[str, Any]:
        status: dict[str, Any] = self.pod(name).get("status") or {}
        return status

    def container(self, name: str = "p") -> dict[str, Any]:
        statuses = self.status(name).get("containerStatuses") or [{}]
        container: dict[str, Any] = statuses[0]
        return container

    async def until(self, condition: Callable[[], object]) -> None:
        async def wait() -> None:
            watch = self.store.watch("pods", None)
            try:
                while not condition():
                    await anext(watch)
            finally:
                watch.close()

        try:
            await asyncio.wait_for(wait(), DEADLINE_S)
        except TimeoutError:
            pytest.fail(f"not within {DEADLINE_S} s; status: {json.dumps(self.status())}")

    async def phase(self, phase: str, name: str = "p") -> None:
        await self.until(lambda: self.status(name).get("phase") == phase)

    async def log(self, name: str = "p", container: str = "c", **options: Any) -> str:
        stream = await self.kubelet.read_logs(self.pod(name), container, LogOptions(**options))
        return b"".join([piece async for piece in stream]).decode()

    async def run(self, script: str, **spec: Any) -> str:
        """Run a script to its end; its output."""
        self.add(script, **spec)
        await self.until(lambda: self.status().get("phase") in ("Succeeded", "Failed"))
        assert self.status()["phase"] == "Succeeded", await self.log()
        return await self.log()

    def delete(self, grace_s: int) -> None:
        pod = self.pod()
        times = {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": grace_s}
        pod["metadata"] |= times
        self.store.update("pods", pod)

    def pid(self) -> int:
        """First process of the container, as the node sees it."""
        identifier = self.container()["containerID"].removeprefix("podman://")
        command = ["podman", "inspect", "--format={{.State.Pid}}", identifier]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def containers_of(instance: str) -> list[str]:
    label = f"--filter=label=onenode.instance={instance}"
    command = ["podman", "ps", "--all", "--quiet", label]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def wait_until(condition: Callable[[], bool]) -> None:
    """For what the kernel or Podman does a little later than the API says."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def process_status(pid: int) -> str:
    """What the kernel says about a process, empty if there is none."""
    file = Path(f"/proc/{pid}/status")
    return file.read_text() if file.exists() else ""


def own_namespace(kind: str) -> str:
    return str(Path(f"/proc/self/ns/{kind}").readlink())


def pod_groups(uid: str) -> list[Path]:
    """Control groups of a pod, in all hierarchies."""
    root, name = Path("/sys/fs/cgroup"), f"kubepods/besteffort/pod{uid}"
    return [*root.glob(name), *root.glob(f"*/{name}")]


async def session(node: Node, request: StreamRequest, *, send: bytes = b"") -> tuple[int, bytes, bytes]:
    """Run a command in the pod's container: exit code, output, error output."""
    process = await node.kubelet.open_stream(node.pod(), "c", request)
    written = {1: b"", 2: b""}
    if send:
        await process.write(send)
        await process.close_input()
    async with asyncio.timeout(DEADLINE_S):
        async for channel, data in process.output():
            written[channel] += data
        return await process.wait(), written[1], written[2]
