"""Podman as the container runtime: one process per call, arguments as a list, no shell.

The end of a container is learned from the kernel (a pidfd of Podman's monitor process), so nothing polls.
"""

import asyncio
import json
import logging
import os
import resource
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from onenode.kubelet.errors import (
    ContainerCreateError,
    ContainerStartError,
    InvalidImageNameError,
    RuntimeCallError,
)
from onenode.kubelet.names import (
    ATTEMPT_LABEL,
    CONTAINER_NAME_LABEL,
    INSTANCE_LABEL,
    POD_NAME_LABEL,
    POD_NAMESPACE_LABEL,
    POD_UID_LABEL,
)
from onenode.kubelet.state import ContainerPhase, ContainerState, Image, parse_time
from onenode.kubelet.streams import StreamProcess, StreamRequest, start_stream, stream_arguments

log = logging.getLogger("onenode.kubelet")

_COMMAND_NOT_RUNNABLE: Final = (126, 127)
"""Exit codes of ``podman run`` when the container was made and its command could not start."""
_CALLS_AT_ONCE: Final = 4
"""More than this only makes Podman wait for its own locks."""
_DEFAULT_CAPABILITIES: Final = (
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
)
"""What runtimes under Kubernetes give; Podman's own default is smaller."""


@dataclass(frozen=True, slots=True)
class _Result:
    code: int
    stdout: bytes
    stderr: str


def containers_conf() -> str:
    """Contents of the ``containers.conf`` for all calls.

    Podman's own defaults are higher than our limits, and raising a limit needs a capability that may be
    missing. Podman also lowers its own limit of processes at start (by how much is not documented), so
    ours stay far below.
    """
    limits = []
    for name, number, wanted in (
        ("nofile", resource.RLIMIT_NOFILE, 4096),
        ("nproc", resource.RLIMIT_NPROC, 4096),
    ):
        hard = resource.getrlimit(number)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        limits.append(f'"{name}={value}:{value}"')
    capabilities = ", ".join(f'"{name}"' for name in _DEFAULT_CAPABILITIES)
    runtime = 'runtime = "runc"\n' if shutil.which("runc") else ""
    return (
        "[containers]\n"
        f"default_ulimits = [{', '.join(limits)}]\n"
        f"default_capabilities = [{capabilities}]\n"
        "pids_limit = 0\n"
        "[engine]\n"
        f'{runtime}cgroup_manager = "cgroupfs"\n'
        'events_logger = "none"\n'
    )


class Podman:
    """The containers of one onenode."""

    def __init__(
        self,
        *,
        instance: str,
        configuration: Path,
        environment: Mapping[str, str],
        hooks: Path | None = None,
    ) -> None:
        """Take what it works with.

        Args:
            instance: value of the label of our containers.
            configuration: ``containers.conf`` for all calls.
            environment: of all calls.
            hooks: directory of OCI hooks, looked for at each start; None: where Podman looks.
        """
        self._instance = instance
        self._hooks = hooks
        self._environment = {**environment, "CONTAINERS_CONF": str(configuration)}
        self._slots = asyncio.Semaphore(_CALLS_AT_ONCE)
        self._running: set[asyncio.Task[_Result]] = set()

    async def version(self) -> str:
        """Podman's version."""
        return (await self._call("version", "--format={{.Client.Version}}")).stdout.decode().strip()

    async def run(self, arguments: Sequence[str]) -> ContainerState:
        """Make and start a container.

        Raises:
            ContainerCreateError: it could not be made.
            ContainerStartError: it was made and is left behind, but its command could not start.
        """
        hooks = () if self._hooks is None or not self._hooks.is_dir() else (f"--hooks-dir={self._hooks}",)
        result = await self._try(*hooks, "run", *arguments)
        if result.code in _COMMAND_NOT_RUNNABLE:
            raise ContainerStartError(f"failed to start container: {result.stderr}")
        if result.code:
            raise ContainerCreateError(f"failed to create container: {result.stderr}")
        identifier = result.stdout.decode().split()[-1]
        states = await self.inspect([identifier])
        if not states:
            raise ContainerCreateError("failed to create container: it vanished")
        return states[0]

    async def containers(self, pod_uid: str | None = None) -> list[ContainerState]:
        """All containers of this onenode, or those of one pod."""
        filters = [f"--filter=label={INSTANCE_LABEL}={self._instance}"]
        if pod_uid is not None:
            filters.append(f"--filter=label={POD_UID_LABEL}={pod_uid}")
        output = (await self._call("ps", "--all", "--no-trunc", "--format={{.ID}}", *filters)).stdout
        return await self.inspect(output.decode().split())

    async def inspect(self, identifiers: Sequence[str]) -> list[ContainerState]:
        """Current states; containers that are gone are left out."""
        if not identifiers:
            return []
        result = await self._try("container", "inspect", *identifiers)
        try:
            documents = json.loads(result.stdout or b"[]")
        except ValueError as error:
            raise RuntimeCallError("container inspect", result.code, result.stderr) from error
        return [parse_container(document) for document in documents]

    async def remove(self, identifiers: Sequence[str]) -> None:
        """Remove containers, killing what still runs; those that are gone already are no error."""
        if identifiers:
            await self._call("rm", "--force", "--ignore", "--volumes", "--time=0", "--depend", *identifiers)

    async def image(self, name: str) -> Image | None:
        """The local image that a name means, by Podman's rules; ``None`` if there is none.

        Raises:
            InvalidImageNameError: the name cannot be an image reference.
        """
        if not name or name.startswith("-") or not name.isprintable() or " " in name:
            raise InvalidImageNameError(
                f'Failed to apply default image tag "{name}": invalid reference format'
            )
        result = await self._try("image", "inspect", name)
        if result.code:
            if "invalid reference" in result.stderr:
                raise InvalidImageNameError(f'Failed to apply default image tag "{name}": {result.stderr}')
            return None
        return parse_image(json.loads(result.stdout)[0], name)

    def on_exit(self, state: ContainerState, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back once when a container has ended and Podman has written that down.

        Returns:
            A function that ends the watch.
        """
        loop = asyncio.get_running_loop()
        for pid in (state.monitor_pid, state.pid):
            descriptor = _open_process(pid, state.id)
            if descriptor is not None:
                return _ExitWatch(loop, descriptor, callback).close
        handle = loop.call_soon(callback)
        return handle.cancel

    def send_signal(self, state: ContainerState, number: signal.Signals) -> bool:
        """Send a signal to a container's first process; ``False`` if it is gone."""
        descriptor = _open_process(state.pid, state.id)
        if descriptor is None:
            return False
        try:
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True

    async def open_stream(self, state: ContainerState, request: StreamRequest) -> StreamProcess:
        """Run a command inside a container, or attach to it; lives as long as the session."""
        return await start_stream(stream_arguments(state.id, request), self._environment, request)

    async def gateway(self) -> str | None:
        """Address of this machine on Podman's default bridge."""
        result = await self._try("network", "inspect", "podman")
        if result.code:
            return None
        for network in json.loads(result.stdout):
            for subnet in network.get("subnets") or ():
                address: str = subnet.get("gateway", "")
                if address.count(".") == 3:
                    return address
        return None

    async def drain(self) -> None:
        """Wait for calls whose callers were cancelled: a killed Podman leaves half-made containers."""
        while self._running:
            await asyncio.wait(self._running)

    async def _call(self, *arguments: str) -> _Result:
        result = await self._try(*arguments)
        if result.code:
            raise RuntimeCallError(arguments[0], result.code, result.stderr)
        return result

    async def _try(self, *arguments: str) -> _Result:
        task = asyncio.create_task(self._execute(arguments))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _execute(self, arguments: Sequence[str]) -> _Result:
        async with self._slots:
            process = await asyncio.create_subprocess_exec(
                "podman",
                *arguments,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,  # a terminal's Ctrl-C is ours to handle
            )
            stdout, stderr = await process.communicate()
        text = stderr.decode(errors="replace").strip()
        lines = [line.removeprefix("Error: ") for line in text.splitlines() if "level=warning" not in line]
        return _Result(process.returncode or 0, stdout, "\n".join(lines))


class _ExitWatch:
    """One pidfd in the event loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, descriptor: int, callback: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._descriptor: int | None = descriptor
        self._callback = callback
        loop.add_reader(descriptor, self._ended)

    def _ended(self) -> None:
        self.close()
        self._callback()

    def close(self) -> None:
        """Stop watching; harmless when the process has ended."""
        if self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None


def _open_process(pid: int, container_id: str) -> int | None:
    """A pidfd, if the process still belongs to the container: numbers are used again."""
    if pid <= 0:
        return None
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return None
    needle = container_id.encode()
    for file in ("cgroup", "cmdline"):
        try:
            if needle in Path(f"/proc/{pid}/{file}").read_bytes():
                return descriptor
        except OSError:
            break
    os.close(descriptor)
    return None


def parse_container(document: Mapping[str, Any]) -> ContainerState:
    """One element of ``podman container inspect``."""
    state, configuration = document["State"], document["Config"]
    labels = configuration.get("Labels") or {}
    status = state["Status"]
    phase = ContainerPhase.EXITED
    if status in ("running", "paused", "stopping"):
        phase = ContainerPhase.RUNNING
    elif status in ("created", "initialized", "configured"):
        phase = ContainerPhase.CREATED
    attempt = str(labels.get(ATTEMPT_LABEL, "0"))
    networks = (document.get("NetworkSettings") or {}).get("Networks") or {}
    addresses = [network.get("IPAddress") for network in networks.values()]
    return ContainerState(
        id=document["Id"],
        pod_uid=labels.get(POD_UID_LABEL, ""),
        pod_key=(labels.get(POD_NAMESPACE_LABEL, ""), labels.get(POD_NAME_LABEL, "")),
        name=labels.get(CONTAINER_NAME_LABEL, ""),
        attempt=int(attempt) if attempt.isdecimal() else 0,
        phase=phase,
        pid=state.get("Pid") or 0,
        monitor_pid=state.get("ConmonPid") or 0,
        exit_code=state.get("ExitCode") or 0,
        oom_killed=bool(state.get("OOMKilled")),
        started_s=parse_time(state.get("StartedAt") or ""),
        finished_s=parse_time(state.get("FinishedAt") or ""),
        image_id=document.get("Image") or "",
        ip=next((address for address in addresses if address), ""),
        stop_signal=_signal_name(configuration.get("StopSignal")),
    )


def parse_image(document: Mapping[str, Any], asked: str) -> Image:
    """One element of ``podman image inspect``."""
    tags = document.get("RepoTags") or []
    digests = document.get("RepoDigests") or []
    tail = asked.rpartition("/")[2]
    wanted = [tag for tag in tags if tag.endswith((asked, f"{asked}:latest", tail, f"{tail}:latest"))]
    reference = (wanted or tags or [asked])[0]
    repository = reference.rpartition(":")[0] or reference
    digest = next((item for item in digests if item.startswith(repository + "@")), "")
    return Image(
        id=document["Id"],
        reference=reference,
        digest=digest or (digests[0] if digests else f"sha256:{document['Id']}"),
        user=(document.get("Config") or {}).get("User") or "",
        size_bytes=document.get("Size") or 0,
    )


def _signal_name(value: object) -> str:
    try:
        if isinstance(value, int) or str(value).isdecimal():
            return signal.Signals(int(str(value))).name
        name = str(value)
        return signal.Signals[name if name.startswith("SIG") else f"SIG{name}"].name
    except (KeyError, ValueError):
        return "SIGTERM"
