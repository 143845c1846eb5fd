"""A container of this kernel that is recorded from the log, while each of the two processes is restarted."""

import asyncio
import json
import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from spo.daemon.enricher_service import EnricherSide
from spo.names import RECORDING_LOST_ANNOTATION
from tests.fakes.enricher_daemon import EnricherProcess, wait_until
from tests.fakes.logs_node import LogsNode
from tests.fakes.recording_node import NODE, allowed
from tests.fakes.rpc_server import short_folder

pytestmark = pytest.mark.root

SCRIPT = """\
step() { read -r go < /gate/go; "$@"; echo > "/gate/did-$1"; }
step mkdir /tmp/x; step ln -s a /tmp/y; step chmod 700 /tmp/x
"""
CALLS = {"mkdir": 83, "ln": 88, "chmod": 90}
"""Command -> number of its syscall."""


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        made.chmod(0o755)
        yield made


class Node(LogsNode):
    """With the real process log-enricher, and the daemon's real socket."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.enricher = None
        self._side: asyncio.Task[None] | None = None

    async def start_daemon(self) -> None:
        await super().start_daemon()
        side = EnricherSide(
            self.client,
            NODE,
            self.folder / "daemon" / "e.sock",
            CollectorRegistry(),
            observe=self.daemon.observe,
        )
        self.daemon.drain_by(side.drain)
        self._side = asyncio.create_task(side.run())

    async def stop_daemon(self) -> None:
        if self._side is not None:
            self._side.cancel()
            await asyncio.wait((self._side,))
            self._side = None
        await super().stop_daemon()

    async def start_enricher(self) -> EnricherProcess:
        process = await asyncio.to_thread(
            EnricherProcess, self.folder, "--source=netlink", "--host-netns=own"
        )
        await asyncio.to_thread(process.wait_for, "Connected to the daemon")
        return process

    async def let(self, command: str) -> None:
        """The container runs the next command; returns when it has."""
        gate = self.folder / "gate"
        await asyncio.to_thread((gate / "go").write_text, "go\n")
        await asyncio.to_thread(wait_until, (gate / f"did-{command}").exists)

    def has_stored(self, *commands: str) -> bool:
        """Whether the daemon has stored what these commands did."""
        pods = json.loads(self.stored() or "{}").get("pods", {}).values()
        numbers = {
            number
            for pod in pods
            for one in pod["containers"]
            for seen in one.get("seen", ())
            for number in seen["numbers"]
        }
        return {CALLS[one] for one in commands} <= numbers


@pytest.fixture
async def node(folder: Path) -> AsyncIterator[Node]:
    async with Node(folder) as made:
        await made.record(recorder="logs")
        yield made


@pytest.fixture
def container(folder: Path, busybox_image: str) -> Iterator[str]:
    """Does a step for each line in /gate/go."""
    (folder / "gate").mkdir()
    os.mkfifo(folder / "gate" / "go")
    (folder / "log.json").write_text(json.dumps({"defaultAction": "SCMP_ACT_LOG"}))
    (folder / "containers.conf").write_text(
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n'
        '[engine]\nruntime = "runc"\n'
    )
    env = {**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf")}
    name = f"spo-logs-{secrets.token_hex(4)}"
    command = (
        *("podman", "create", f"--name={name}", f"--volume={folder}/gate:/gate"),
        *(f"--security-opt=seccomp={folder}/log.json", busybox_image, "sh", "-c", SCRIPT),
    )
    yield subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run(("podman", "rm", "--force", "--time=0", name), env=env, check=True, capture_output=True)


async def started(node: Node, container: str) -> None:
    """The container runs, as one of a pod that is recorded, and its first step is stored."""
    await node.add_logged("web", "c")
    env = {**os.environ, "CONTAINERS_CONF": str(node.folder / "containers.conf")}
    command = ("podman", "start", container)
    await asyncio.to_thread(subprocess.run, command, env=env, check=True, capture_output=True)
    await node.report("web", c=container)
    await node.let("mkdir")
    await node.until(lambda: node.has_stored("mkdir"))


async def lost(node: Node) -> int:
    profile = await node.profile_when("rec-c")
    return int(profile.metadata.annotations[RECORDING_LOST_ANNOTATION])


async def test_daemon_that_was_away_misses_nothing(node: Node, container: str) -> None:
    process = await node.start_enricher()
    try:
        await started(node, container)
        await node.stop_daemon()
        await node.let("ln")
        await node.start_daemon()
        await node.let("chmod")
        await node.report("web", "Succeeded", ended=True, c=container)
        profile = await node.profile_when("rec-c")
    finally:
        await asyncio.to_thread(process.stop)
    assert {"mkdir", "symlink", "chmod", "execve", "exit_group"} <= allowed(profile)
    assert not {"ptrace", "rmdir"} & allowed(profile)


async def test_enricher_tells_what_it_knows_before_it_ends(node: Node, container: str) -> None:
    """What the kernel logs between two runs is lost, and said to be."""
    process = await node.start_enricher()
    try:
        await started(node, container)
        await node.let("ln")
        await asyncio.to_thread(process.stop)
        await node.until(lambda: node.has_stored("mkdir", "ln"))
        await node.let("chmod")
        process = await node.start_enricher()
        await node.report("web", "Succeeded", ended=True, c=container)
        assert {"mkdir", "symlink"} <= allowed(await node.profile_when("rec-c"))
        assert await lost(node) > 0
    finally:
        await asyncio.to_thread(process.stop)
