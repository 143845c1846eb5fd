"""A pod's containers as arguments of ``podman run``: pure translation, no value becomes an option.

Names are checked, everything else stands behind ``=``, inside a quoted CSV field or after the image.
"""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePosixPath

from onenode.kubelet.environment import expand
from onenode.kubelet.errors import ContainerConfigError
from onenode.kubelet.names import (
    ATTEMPT_LABEL,
    CONTAINER_NAME_LABEL,
    INSTANCE_LABEL,
    POD_NAME_LABEL,
    POD_NAMESPACE_LABEL,
    POD_UID_LABEL,
    SANDBOX_CONTAINER,
    check_label,
    check_pod_identity,
    runtime_name,
)
from onenode.kubelet.pod import Container, Pod
from onenode.kubelet.quantity import parse_quantity
from onenode.kubelet.security import security_options
from onenode.kubelet.state import Image

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_SYSCTL_NAME = re.compile(r"[a-z0-9]([-_a-z0-9./]*[a-z0-9])?")
_CPU_PERIOD_US = 100_000
_HOOK_ANNOTATION = "io.containers.trace-syscall"
"""For OCI hooks: of the container if the pod has it with ``/<container>``, as CRI-O hands it on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A path of the node that a container sees."""

    source: Path
    target: str
    read_only: bool = False
    propagation: str = "rprivate"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSetup:
    """What was found out and prepared before a container can be started."""

    attempt: int
    instance: str
    image: Image
    sandbox: str | None
    """Container id of the sandbox; ``None`` if the pod uses the node's network."""
    environment: Mapping[str, str]
    environment_file: Path
    """Holds ``environment_lines``; a file, so that Secrets do not show in the list of processes."""
    mounts: Sequence[Mount]
    log_file: Path
    seccomp: str | None
    """Value of ``--security-opt``; ``None`` is Podman's default profile."""


def sandbox_arguments(pod: Pod, *, instance: str, rootfs: Path, attempt: int) -> list[str]:
    """Arguments of ``podman run`` for the process that holds the pod's network, IPC and host name.

    Raises:
        ContainerConfigError: a name or kernel parameter is malformed.
    """
    metadata = pod.metadata
    arguments = _common(pod, instance=instance, container=SANDBOX_CONTAINER, attempt=attempt)
    arguments += [
        f"--hostname={(pod.spec.hostname or metadata.name)[:63].rstrip('-.')}",
        f"--ipc={'host' if pod.spec.host_ipc else 'shareable'}",
        "--no-hosts",
        "--read-only",
        "--log-driver=none",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
    ]
    if pod.spec.host_pid:
        arguments.append("--pid=host")
    for sysctl in pod.spec.security_context.sysctls:
        if not _SYSCTL_NAME.fullmatch(sysctl.name):
            raise ContainerConfigError(f"invalid sysctl name {sysctl.name!r}")
        arguments.append(f"--sysctl={sysctl.name}={sysctl.value}")
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        for port in container.ports:
            if port.host_port:
                address = f"{port.host_ip}:" if port.host_ip else ""
                target = f"{port.host_port}:{port.container_port}/{port.protocol.lower()}"
                arguments.append(f"--publish={address}{target}")
    return [*arguments, "--rootfs", str(rootfs), "/pause", "-P"]


def container_arguments(pod: Pod, container: Container, setup: ContainerSetup) -> list[str]:
    """Arguments of ``podman run`` for one container.

    Raises:
        ContainerConfigError: the pod's wishes are malformed or contradict each other.
    """
    check_label("container", container.name)
    arguments = _common(pod, instance=setup.instance, container=container.name, attempt=setup.attempt)
    arguments += _namespaces(pod, setup.sandbox)
    arguments += security_options(pod, container, setup.image)
    if setup.seccomp is not None:
        arguments.append(f"--security-opt={setup.seccomp}")
    arguments += _resources(container)
    trace = pod.metadata.annotations.get(f"{_HOOK_ANNOTATION}/{container.name}")
    if trace is not None:
        arguments.append(f"--annotation={_HOOK_ANNOTATION}={trace}")
    arguments += ["--log-driver=k8s-file", f"--log-opt=path={setup.log_file}", "--log-opt=max-size=10mb"]
    arguments.append(f"--env-file={setup.environment_file}")
    arguments += [
        f"--env={name}={value}" for name, value in setup.environment.items() if not _fits_file(name, value)
    ]
    arguments += [f"--mount={mount_option(mount)}" for mount in setup.mounts]
    if container.stdin:
        arguments.append("--interactive")
    if container.tty:
        arguments.append("--tty")
    if container.working_dir:
        arguments.append(f"--workdir={_absolute('workingDir', container.working_dir)}")
    command = [expand(part, setup.environment) for part in container.command]
    if command:
        arguments.append(f"--entrypoint={json.dumps(command)}")
    return [*arguments, setup.image.id, *(expand(part, setup.environment) for part in container.args)]


def environment_lines(environment: Mapping[str, str]) -> str:
    """Contents of the environment file; what has line breaks cannot be in it."""
    return "".join(f"{name}={value}\n" for name, value in environment.items() if _fits_file(name, value))


def mount_option(mount: Mount) -> str:
    """Value of ``--mount``: CSV, so a path may hold commas, colons and quotes.

    Raises:
        ContainerConfigError: the target is not an absolute path or a path has a control character.
    """
    fields = [
        "type=bind",
        f"source={mount.source}",
        f"destination={_absolute('mountPath', mount.target)}",
        f"bind-propagation={mount.propagation}",
    ]
    if mount.read_only:
        fields.append("ro=true")
    if any(character in field for field in fields for character in "\n\r\0"):
        raise ContainerConfigError(f"control character in the path of mount {mount.target!r}")
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()


def cgroup_parent(pod: Pod) -> str:
    """Control group of a pod, of the form that a real kubelet uses."""
    qos = quality_of_service(pod).lower()
    tier = "" if qos == "guaranteed" else f"/{qos}"
    return f"/kubepods{tier}/pod{pod.metadata.uid}"


def quality_of_service(pod: Pod) -> str:
    """``status.qosClass``: Guaranteed, Burstable or BestEffort."""
    everything = [container.resources for container in (*pod.spec.init_containers, *pod.spec.containers)]
    if not any(resources.limits or resources.requests for resources in everything):
        return "BestEffort"
    for resources in everything:
        for name in ("cpu", "memory"):
            limit = resources.limits.get(name)
            if limit is None or parse_quantity(resources.requests.get(name, limit)) != parse_quantity(limit):
                return "Burstable"
    return "Guaranteed"


def _common(pod: Pod, *, instance: str, container: str, attempt: int) -> list[str]:
    metadata = pod.metadata
    check_pod_identity(metadata.namespace, metadata.name, metadata.uid)
    labels = {
        INSTANCE_LABEL: instance,
        POD_NAME_LABEL: metadata.name,
        POD_NAMESPACE_LABEL: metadata.namespace,
        POD_UID_LABEL: metadata.uid,
        CONTAINER_NAME_LABEL: container,
        ATTEMPT_LABEL: str(attempt),
    }
    name = runtime_name(metadata.name, metadata.namespace, metadata.uid, container, attempt)
    return [
        "--detach",
        "--pull=never",
        f"--name={name}",
        *(f"--label={key}={value}" for key, value in labels.items()),
        f"--cgroup-parent={cgroup_parent(pod)}",
        "--systemd=false",
        "--http-proxy=false",
        "--restart=no",
    ]


def _namespaces(pod: Pod, sandbox: str | None) -> list[str]:
    spec = pod.spec
    if sandbox is None:
        options = ["--network=host", "--uts=host"]
    else:
        options = [f"--network=container:{sandbox}", f"--uts=container:{sandbox}", "--no-hosts"]
    if spec.host_pid:
        options.append("--pid=host")
    elif spec.share_process_namespace and sandbox is not None:
        options.append(f"--pid=container:{sandbox}")
    if spec.host_ipc:
        options.append("--ipc=host")
    elif sandbox is not None:
        options.append(f"--ipc=container:{sandbox}")
    return options


def _resources(container: Container) -> list[str]:
    limits, requests = container.resources.limits, container.resources.requests
    options = []
    if "memory" in limits:
        options.append(f"--memory={int(parse_quantity(limits['memory']))}b")
    if "cpu" in limits:
        quota = max(int(parse_quantity(limits["cpu"]) * _CPU_PERIOD_US), 1000)
        options += [f"--cpu-period={_CPU_PERIOD_US}", f"--cpu-quota={quota}"]
    share: Fraction | None = None
    if "cpu" in requests or "cpu" in limits:
        share = parse_quantity(requests.get("cpu", limits.get("cpu", 0)))
    options.append(f"--cpu-shares={max(int((share or 0) * 1024), 2)}")
    return options


def _fits_file(name: str, value: str) -> bool:
    # Podman's parser cuts lines and skips comments; a plain name and one line pass it unchanged.
    return bool(_PLAIN_NAME.fullmatch(name)) and "\n" not in value and "\r" not in value


def _absolute(field: str, path: str) -> str:
    if not PurePosixPath(path).is_absolute() or "\0" in path:
        raise ContainerConfigError(f"{field} {path!r} is not an absolute path")
    return path
