"""Security settings of a container as Podman options."""

from onenode.kubelet.errors import ContainerConfigError
from onenode.kubelet.pod import Container, Pod, SelinuxOptions
from onenode.kubelet.state import Image


def security_options(pod: Pod, container: Container, image: Image) -> list[str]:
    """Options for user, groups, capabilities, privileges and SELinux; seccomp is decided elsewhere.

    Raises:
        ContainerConfigError: ``runAsNonRoot`` and the container would run as root.
    """
    context = container.security_context
    options = _user(pod, container, image)
    if context.privileged:
        options.append("--privileged")
    for name in context.capabilities.add if context.capabilities else ():
        options.append(f"--cap-add={_capability(name)}")
    for name in context.capabilities.drop if context.capabilities else ():
        options.append(f"--cap-drop={_capability(name)}")
    if context.read_only_root_filesystem:
        options += ["--read-only", "--read-only-tmpfs=false"]
    if context.allow_privilege_escalation is False:
        options.append("--security-opt=no-new-privileges")
    if context.proc_mount == "Unmasked":
        options.append("--security-opt=unmask=ALL")
    options += _label(context.se_linux_options or pod.spec.security_context.se_linux_options)
    return options


def effective_user(pod: Pod, container: Container) -> int | None:
    """``runAsUser`` that counts for a container."""
    own = container.security_context.run_as_user
    return pod.spec.security_context.run_as_user if own is None else own


def _user(pod: Pod, container: Container, image: Image) -> list[str]:
    common, own = pod.spec.security_context, container.security_context
    user = effective_user(pod, container)
    group = common.run_as_group if own.run_as_group is None else own.run_as_group
    non_root = common.run_as_non_root if own.run_as_non_root is None else own.run_as_non_root
    if non_root:
        _check_non_root(pod, container, image, user)
    options = []
    if user is not None or group is not None:
        name = str(user) if user is not None else image.user.partition(":")[0] or "0"
        options.append(f"--user={name}" if group is None else f"--user={name}:{group}")
    groups = list(common.supplemental_groups)
    if common.fs_group is not None:
        groups.append(common.fs_group)
    return options + [f"--group-add={number}" for number in groups]


def _check_non_root(pod: Pod, container: Container, image: Image, user: int | None) -> None:
    metadata = pod.metadata
    where = f'(pod: "{metadata.name}_{metadata.namespace}({metadata.uid})", container: {container.name})'
    if user == 0:
        raise ContainerConfigError(f"container's runAsUser breaks non-root policy {where}")
    if user is not None:
        return
    name = image.user.partition(":")[0]
    if name in ("", "0", "root"):
        raise ContainerConfigError(f"container has runAsNonRoot and image will run as root {where}")
    if not name.isdecimal():
        raise ContainerConfigError(
            f"container has runAsNonRoot and image has non-numeric user ({name}), "
            f"cannot verify user is non-root {where}"
        )


def _capability(name: str) -> str:
    if not name.replace("_", "").isalnum() or not name.isascii():
        raise ContainerConfigError(f"invalid capability name {name!r}")
    return name


def _label(options: SelinuxOptions | None) -> list[str]:
    if options is None:
        return []
    parts = {"user": options.user, "role": options.role, "type": options.type, "level": options.level}
    return [f"--security-opt=label={key}:{value}" for key, value in parts.items() if value]
