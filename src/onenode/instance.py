"""One onenode on this machine: its state folder, who runs it, and how to take everything away.

The process that serves holds a lock on ``<state>/lock`` as long as it lives, so a killed one is never taken
for a running one.
"""

import asyncio
import contextlib
import fcntl
import os
import re
import secrets
import select
import shutil
import signal
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from onenode.kubelet.cgroups import remove_pod_cgroups
from onenode.kubelet.podman import Podman, containers_conf

_STOP_S: Final = 15.0
_INSTANCE_ID: Final = re.compile(r"[0-9a-f]{8,32}")


class InstanceError(Exception):
    """The instance cannot be started or stopped; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """What ``serve`` and ``up`` are asked."""

    crds: Path | None
    node_name: str
    node_root: Path
    port: int
    ready_fd: int | None = None
    """File descriptor that gets a line when requests are answered."""
    access_log: Path | None = None
    """File for what service accounts ask for."""

    def arguments(self) -> list[str]:
        """For ``serve`` on the command line; also how two sets of options are compared."""
        arguments = [
            f"--node-name={self.node_name}",
            f"--node-root={self.node_root}",
            f"--port={self.port}",
        ]
        files = (("crds", self.crds), ("access-log", self.access_log))
        return [*arguments, *(f"--{name}={path}" for name, path in files if path)]


@dataclass(frozen=True, slots=True)
class Instance:
    """Paths and identity of one onenode."""

    state: Path

    @property
    def kubeconfig(self) -> Path:
        """For ``KUBECONFIG``."""
        return self.state / "kubeconfig"

    @property
    def database(self) -> Path:
        """Objects of the API."""
        return self.state / "objects.db"

    @property
    def certificates(self) -> Path:
        """Folder of keys and certificates."""
        return self.state / "pki"

    @property
    def log_file(self) -> Path:
        """What a server in the background writes."""
        return self.state / "onenode.log"

    @property
    def containers_conf(self) -> Path:
        """Podman's settings for our calls."""
        return self.state / "containers.conf"

    @property
    def identifier(self) -> str:
        """Unique id; labels the containers. Made at first use."""
        file = self.state / "instance-id"
        try:
            known = file.read_text().strip()
        except FileNotFoundError:
            known = secrets.token_hex(8)
            file.write_text(known + "\n")
        if not _INSTANCE_ID.fullmatch(known):
            raise InstanceError(f"{file} does not hold an instance id; remove the folder and start anew")
        return known

    def prepare(self) -> None:
        """Make the state folder with what Podman needs."""
        self.state.mkdir(parents=True, exist_ok=True)
        # Objects hold secrets and the folder holds keys; containers see only what is mounted into them.
        self.state.chmod(0o700)
        self.containers_conf.write_text(containers_conf())

    def podman(self, environment: Mapping[str, str], hooks: Path | None = None) -> Podman:
        """Podman with this instance's settings and label; ``hooks`` is a directory of OCI hooks."""
        return Podman(
            instance=self.identifier,
            configuration=self.containers_conf,
            environment=environment,
            hooks=hooks,
        )

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Be the one process that serves this state.

        Raises:
            InstanceError: another process does.
        """
        descriptor = os.open(self.state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InstanceError(
                    f"onenode runs already with state {self.state} (process {self.running_pid()})"
                ) from error
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def running_pid(self) -> int | None:
        """Process that serves this state, ``None`` if nobody does."""
        try:
            descriptor = os.open(self.state / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(descriptor, 32, 0).decode(errors="replace")
            return int(text) if text.isdecimal() else None
        else:
            return None
        finally:
            os.close(descriptor)

    def note_options(self, options: ServeOptions) -> None:
        """Remember what the running server was asked."""
        self._options_file.write_text("\n".join(options.arguments()) + "\n")

    def check_options(self, options: ServeOptions) -> None:
        """Whether the running server is the wanted one.

        Raises:
            InstanceError: it was started with other options.
        """
        try:
            running = self._options_file.read_text().splitlines()
        except FileNotFoundError:
            return  # it is just starting
        if running != options.arguments():
            raise InstanceError(
                f"onenode runs already with other options ({' '.join(running)}): use `onenode down` first"
            )

    @property
    def _options_file(self) -> Path:
        return self.state / "options"

    def stop(self) -> bool:
        """End the serving process, by force after a while; ``False`` if there was none.

        Raises:
            InstanceError: it does not end.
        """
        pid = self.running_pid()
        if pid is None:
            return False
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        try:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(process, number)
                if select.select([process], [], [], _STOP_S)[0]:
                    return True
        finally:
            os.close(process)
        raise InstanceError(f"process {pid} does not end")

    def remove_pods(self, environment: Mapping[str, str]) -> int:
        """Remove all containers and control groups of this instance; the number of containers.

        The objects stay: the next start runs the pods again.
        """
        if not self.containers_conf.exists() or shutil.which("podman") is None:
            return 0
        pods = self.state / "pods"
        uids = [folder.name for folder in pods.iterdir()] if pods.is_dir() else []
        return asyncio.run(_remove_containers(self.podman(environment), uids))

    def purge(self) -> None:
        """Remove the state folder.

        Raises:
            InstanceError: the folder is not one of ours.
        """
        if not self.state.exists():
            return
        ours = {"instance-id", "containers.conf", "lock"}
        present = {path.name for path in self.state.iterdir()}
        if present and not ours & present:
            raise InstanceError(f"{self.state} is not a state folder of onenode: it is left alone")
        shutil.rmtree(self.state)


async def _remove_containers(podman: Podman, uids: Iterable[str]) -> int:
    # Twice: a call that a killed server left behind may finish in between.
    count = 0
    for _ in range(2):
        states = await podman.containers()
        if not states:
            break
        count += len(states)
        await podman.remove([state.id for state in states])
    await asyncio.gather(*(remove_pod_cgroups(uid) for uid in uids))
    return count
