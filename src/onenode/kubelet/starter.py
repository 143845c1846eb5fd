"""Starting the sandbox and the containers of a pod: everything between the spec and ``podman run``."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from onenode.kubelet.arguments import (
    ContainerSetup,
    Mount,
    container_arguments,
    environment_lines,
    sandbox_arguments,
)
from onenode.kubelet.downward import PodFacts
from onenode.kubelet.environment import EnvironmentSource, Lookup, container_environment
from onenode.kubelet.errors import ContainerCreateError, ImageMissingError, ImageNeverPullError
from onenode.kubelet.events import PodEvents
from onenode.kubelet.logs import container_log
from onenode.kubelet.names import check_label, check_pod_identity
from onenode.kubelet.pod import Container, Pod
from onenode.kubelet.runtime import Runtime
from onenode.kubelet.seccomp import seccomp_choice, seccomp_option
from onenode.kubelet.settings import KubeletSettings
from onenode.kubelet.state import ContainerState, Image
from onenode.kubelet.volumes import Volumes, container_mounts

_PAUSE: Final = ("/usr/libexec/podman/catatonit", "/usr/bin/catatonit")
"""Static program that sleeps until it is told to end; comes with Podman."""
_HOSTS: Final = "/etc/hosts"


@dataclass(frozen=True, slots=True)
class Starter:
    """Starts containers; keeps no state of its own."""

    runtime: Runtime
    volumes: Volumes
    events: PodEvents
    settings: KubeletSettings
    lookup: Lookup

    def pod_folder(self, pod: Pod) -> Path:
        """Folder of a pod, made if needed.

        Raises:
            ContainerConfigError: the pod's identity is malformed.
        """
        check_pod_identity(pod.metadata.namespace, pod.metadata.name, pod.metadata.uid)
        folder = self.settings.pod_folder(pod.metadata.uid)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def container_folder(self, pod: Pod, container: Container) -> Path:
        """Folder of a container's logs and termination messages."""
        check_label("container", container.name)
        folder = self.pod_folder(pod) / "containers" / container.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    async def start_sandbox(self, pod: Pod, attempt: int) -> ContainerState:
        """Start the process that holds the pod's network.

        Raises:
            ContainerError: it could not be started.
        """
        rootfs = _pause_rootfs(self.settings.state)
        arguments = sandbox_arguments(pod, instance=self.settings.instance, rootfs=rootfs, attempt=attempt)
        sandbox = await self.runtime.run(arguments)
        self._write_hosts(pod, sandbox.ip)
        return sandbox

    async def start_container(
        self, pod: Pod, container: Container, attempt: int, sandbox: ContainerState | None, facts: PodFacts
    ) -> tuple[ContainerState, Image]:
        """Start one container.

        Raises:
            ContainerError: it could not be started; the reason and message are for the status.
            VolumeError: a volume is not ready.
        """
        ready = self.volumes.prepare(pod, facts)
        image = await self._image(container)
        environment = container_environment(pod, container, self._environment_source(pod, facts))
        folder = self.container_folder(pod, container)
        _remove_old_runs(folder, attempt)
        environment_file = folder / f"{attempt}.env"
        _write_private(environment_file, environment_lines(environment))
        container_log(folder, attempt).unlink(missing_ok=True)
        setup = ContainerSetup(
            attempt=attempt,
            instance=self.settings.instance,
            image=image,
            sandbox=sandbox.id if sandbox else None,
            environment=environment,
            environment_file=environment_file,
            mounts=[
                *self._own_mounts(pod, container, folder, attempt, sandbox),
                *container_mounts(pod, container, ready, environment),
            ],
            log_file=container_log(folder, attempt),
            seccomp=seccomp_option(seccomp_choice(pod, container), self.settings.seccomp_root),
        )
        self.events.normal(
            pod,
            "Pulled",
            f'Container image "{container.image}" already present on machine',
            container=container.name,
        )
        try:
            state = await self.runtime.run(container_arguments(pod, container, setup))
        finally:
            environment_file.unlink(missing_ok=True)
        self.events.normal(pod, "Created", "Container created", container=container.name)
        self.events.normal(pod, "Started", "Container started", container=container.name)
        return state, image

    async def _image(self, container: Container) -> Image:
        image = await self.runtime.image(container.image)
        if image is not None:
            return image
        if container.image_pull_policy == "Never":
            raise ImageNeverPullError(
                f'Container image "{container.image}" is not present with pull policy of Never'
            )
        raise ImageMissingError(
            f'image "{container.image}" is not on this node, and onenode pulls from no registry: '
            "use podman build, load or import"
        )

    def _environment_source(self, pod: Pod, facts: PodFacts) -> EnvironmentSource:
        settings = self.settings
        address = settings.api_address if pod.spec.host_network else settings.bridge_api_address
        service: Mapping[str, str] = {}
        if address:
            port = str(settings.api_port)
            service = {
                "KUBERNETES_SERVICE_HOST": address,
                "KUBERNETES_SERVICE_PORT": port,
                "KUBERNETES_SERVICE_PORT_HTTPS": port,
                "KUBERNETES_PORT": f"tcp://{address}:{port}",
            }
        return EnvironmentSource(self.lookup, facts, service)

    def _own_mounts(
        self, pod: Pod, container: Container, folder: Path, attempt: int, sandbox: ContainerState | None
    ) -> list[Mount]:
        taken = {mount.mount_path.rstrip("/") for mount in container.volume_mounts}
        mounts = []
        hosts = self.pod_folder(pod) / "etc-hosts"
        if sandbox is not None and _HOSTS not in taken:
            if not hosts.exists():
                self._write_hosts(pod, sandbox.ip)
            mounts.append(Mount(source=hosts, target=_HOSTS))
        message_path = container.termination_message_path
        if message_path.startswith("/") and message_path not in taken:
            message = termination_file(folder, attempt)
            message.unlink(missing_ok=True)
            message.touch()
            message.chmod(0o666)
            mounts.append(Mount(source=message, target=message_path))
        return mounts

    def _write_hosts(self, pod: Pod, address: str) -> None:
        lines = ["# Kubernetes-managed hosts file.", "127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost"]
        if address:
            lines.append(f"{address}\t{pod.spec.hostname or pod.metadata.name}")
        lines += [f"{alias.ip}\t{' '.join(alias.hostnames)}" for alias in pod.spec.host_aliases]
        (self.pod_folder(pod) / "etc-hosts").write_text("\n".join(lines) + "\n")


def termination_file(folder: Path, attempt: int) -> Path:
    """File on the node behind ``terminationMessagePath``."""
    return folder / f"{attempt}.termination"


def _remove_old_runs(folder: Path, attempt: int) -> None:
    """Keep the files of the run before (``kubectl logs --previous``) and of no earlier one."""
    for file in folder.iterdir():
        number = file.name.partition(".")[0]
        if number.isdecimal() and int(number) < attempt - 1:
            file.unlink()


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)


def _pause_rootfs(state: Path) -> Path:
    """A root file system that holds nothing but the sandbox's program."""
    rootfs = state / "sandbox"
    program = rootfs / "pause"
    if not program.exists():
        source = next((path for path in map(Path, _PAUSE) if path.exists()), None)
        if source is None:
            raise ContainerCreateError(f"no sandbox program: install catatonit (looked for {_PAUSE[0]})")
        rootfs.mkdir(parents=True, exist_ok=True)
        fresh = rootfs / "pause.new"
        shutil.copyfile(source, fresh)
        fresh.chmod(0o755)
        fresh.replace(program)
    return rootfs
