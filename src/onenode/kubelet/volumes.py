"""Volumes of a pod: directories below ``<state>/pods/<uid>/volumes`` and paths of the node."""

import os
import shutil
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

from onenode.kubelet.arguments import Mount
from onenode.kubelet.downward import PodFacts, field_value, resource_value
from onenode.kubelet.environment import Lookup, expand, object_data
from onenode.kubelet.errors import ContainerConfigError, VolumeError
from onenode.kubelet.names import check_label
from onenode.kubelet.pod import (
    ConfigMapSource,
    Container,
    DownwardSource,
    HostPathSource,
    Pod,
    ProjectedSource,
    SecretSource,
    TokenSource,
    Volume,
    VolumeMount,
)
from onenode.kubelet.security import effective_user
from onenode.kubelet.settings import KubeletSettings
from onenode.kubelet.volume_files import VolumeFile, checked_relative_path, write_files

_DEFAULT_MODE: Final = 0o644
_TYPE_CHECKS: Final[Mapping[str, tuple[Callable[[int], bool], str]]] = {
    "Directory": (stat.S_ISDIR, "a directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "a directory"),
    "File": (stat.S_ISREG, "a file"),
    "FileOrCreate": (stat.S_ISREG, "a file"),
    "Socket": (stat.S_ISSOCK, "a socket file"),
    "CharDevice": (stat.S_ISCHR, "a character device"),
    "BlockDevice": (stat.S_ISBLK, "a block device"),
}
_PROPAGATION: Final = {"HostToContainer": "rslave", "Bidirectional": "rshared"}

Files = dict[PurePosixPath, VolumeFile]


class TokenIssuer(Protocol):
    """Makes tokens for service accounts."""

    def issue(self, *, pod: Pod, audience: str, expiration_s: int) -> str:
        """A token of the pod's service account, bound to the pod.

        Raises:
            LookupError: there is no such service account.
        """


class Volumes:
    """Makes the volumes of pods ready and takes them away."""

    def __init__(
        self,
        settings: KubeletSettings,
        lookup: Lookup,
        tokens: TokenIssuer,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._lookup = lookup
        self._tokens = tokens
        self._clock = clock
        self._issued: dict[tuple[str, str, str], tuple[float, str]] = {}

    def prepare(self, pod: Pod, facts: PodFacts) -> dict[str, Path]:
        """Make every volume ready, or bring its files up to date.

        Returns:
            Path of each volume by name.

        Raises:
            VolumeError: one cannot be made ready now.
        """
        ready = {}
        for volume in pod.spec.volumes:
            try:
                check_label("volume", volume.name)
                ready[volume.name] = self._prepare(pod, volume, facts)
            except (ContainerConfigError, LookupError, ValueError, OSError) as error:
                raise VolumeError(volume.name, str(error)) from error
        return ready

    def remove(self, uid: str) -> None:
        """Remove everything of a pod below the state folder."""
        for key in [key for key in self._issued if key[0] == uid]:
            del self._issued[key]
        shutil.rmtree(self._settings.pod_folder(uid), ignore_errors=True)

    def _prepare(self, pod: Pod, volume: Volume, facts: PodFacts) -> Path:
        if volume.host_path:
            return _host_path(volume.host_path)
        group = pod.spec.security_context.fs_group
        directory = self._settings.pod_folder(pod.metadata.uid) / "volumes" / volume.name
        fresh = not directory.exists()
        directory.mkdir(parents=True, exist_ok=True)
        if volume.empty_dir and fresh:
            os.chown(directory, -1, -1 if group is None else group)
            directory.chmod(0o777 if group is None else 0o2777)
        elif not volume.empty_dir:
            write_files(directory, self._files(pod, volume, facts), group=group)
        return directory

    def _files(self, pod: Pod, volume: Volume, facts: PodFacts) -> Files:
        if volume.config_map:
            return self._object_files(pod, volume.config_map, volume.config_map.default_mode)
        if volume.secret:
            return self._object_files(pod, volume.secret, volume.secret.default_mode)
        if volume.downward_api:
            return _downward_files(pod, volume.downward_api, volume.downward_api.default_mode, facts)
        if volume.projected:
            return self._projected_files(pod, volume.name, volume.projected, facts)
        raise ContainerConfigError(
            "no volume plugin matched: this node knows hostPath, emptyDir, configMap, "
            "secret, downwardAPI and projected volumes"
        )

    def _projected_files(self, pod: Pod, name: str, volume: ProjectedSource, facts: PodFacts) -> Files:
        files: Files = {}
        for source in volume.sources:
            if source.config_map:
                files.update(self._object_files(pod, source.config_map, volume.default_mode))
            elif source.secret:
                files.update(self._object_files(pod, source.secret, volume.default_mode))
            elif source.downward_api:
                files.update(_downward_files(pod, source.downward_api, volume.default_mode, facts))
            elif source.service_account_token:
                files.update(self._token_file(pod, name, source.service_account_token, volume.default_mode))
        return files

    def _object_files(self, pod: Pod, source: ConfigMapSource | SecretSource, mode: int | None) -> Files:
        resource = "configmaps" if isinstance(source, ConfigMapSource) else "secrets"
        name = source.name if isinstance(source, ConfigMapSource) else source.secret_name or source.name
        data = object_data(self._lookup, resource, pod.metadata.namespace, name)
        if data is None:
            if source.optional:
                return {}
            raise LookupError(f'{resource.removesuffix("s")} "{name}" not found')
        common = _DEFAULT_MODE if mode is None else mode
        if not source.items:
            return {checked_relative_path(key): VolumeFile(data[key], common) for key in data}
        files: Files = {}
        for item in source.items:
            if item.key in data:
                file = VolumeFile(data[item.key], common if item.mode is None else item.mode)
                files[checked_relative_path(item.path)] = file
            elif not source.optional:
                raise LookupError(f"references non-existent {resource.removesuffix('s')} key: {item.key}")
        return files

    def _token_file(self, pod: Pod, volume: str, source: TokenSource, mode: int | None) -> Files:
        key = (pod.metadata.uid, volume, source.path)
        now = self._clock()
        renew_at, token = self._issued.get(key, (0.0, ""))
        if now >= renew_at:
            token = self._tokens.issue(
                pod=pod, audience=source.audience, expiration_s=source.expiration_seconds
            )
            # A new one well before the end, as clients read the file now and then only.
            self._issued[key] = (now + 0.8 * source.expiration_seconds, token)
        common = _DEFAULT_MODE if mode is None else mode
        owner = _common_user(pod)
        private = owner is not None or pod.spec.security_context.fs_group is not None
        file = VolumeFile(token.encode(), 0o600 if private else common, owner)
        return {checked_relative_path(source.path): file}


def container_mounts(
    pod: Pod, container: Container, ready: Mapping[str, Path], environment: Mapping[str, str]
) -> list[Mount]:
    """The mounts of a container on volumes that are ready.

    Raises:
        ContainerConfigError: a mount names no volume or its ``subPath`` leaves the volume.
    """
    mounts = []
    for wanted in container.volume_mounts:
        if wanted.name not in ready:
            raise ContainerConfigError(f'volume "{wanted.name}" not found in pod {pod.metadata.name}')
        mounts.append(
            Mount(
                source=_mount_source(ready[wanted.name], wanted, environment),
                target=wanted.mount_path,
                read_only=wanted.read_only,
                propagation=_PROPAGATION.get(wanted.mount_propagation or "", "rprivate"),
            )
        )
    return mounts


def _mount_source(volume: Path, mount: VolumeMount, environment: Mapping[str, str]) -> Path:
    text = expand(mount.sub_path_expr, environment) if mount.sub_path_expr else mount.sub_path
    if not text:
        return volume
    try:
        path = volume / checked_relative_path(text)
        root = volume.resolve()
        # A link inside the volume may lead inside only. The pod's own running containers could still swap
        # a directory afterwards; see docs/decisions/0052.
        if not path.resolve().is_relative_to(root):
            raise ContainerConfigError(f"subPath {text!r} leads out of volume {mount.name}")
        if not path.exists():
            path.mkdir(parents=True, mode=0o755)
        return path.resolve()
    except (ValueError, OSError) as error:
        raise ContainerConfigError(f"subPath {text!r} of volume {mount.name}: {error}") from error


def _host_path(source: HostPathSource) -> Path:
    path = Path(source.path)
    if not path.is_absolute() or ".." in path.parts or "\0" in source.path:
        raise ContainerConfigError(f"invalid hostPath {source.path!r}: must be absolute without '..'")
    if source.type in ("", "DirectoryOrCreate") and not path.exists():
        path.mkdir(parents=True, mode=0o755)
    if source.type == "FileOrCreate" and not path.exists():
        path.touch(mode=0o644)
    if source.type:
        if source.type not in _TYPE_CHECKS:
            raise ContainerConfigError(f"{source.type} is an invalid hostPath type")
        matches, description = _TYPE_CHECKS[source.type]
        if not path.exists() or not matches(path.stat().st_mode):
            raise ContainerConfigError(f"hostPath type check failed: {source.path} is not {description}")
    return path


def _downward_files(pod: Pod, source: DownwardSource, mode: int | None, facts: PodFacts) -> Files:
    common = _DEFAULT_MODE if mode is None else mode
    files: Files = {}
    for item in source.items:
        text = ""
        if item.field_ref:
            text = field_value(pod, item.field_ref, facts)
        elif item.resource_field_ref:
            named = pod.container(item.resource_field_ref.container_name or "")
            if named is None:
                raise ContainerConfigError(f"no container {item.resource_field_ref.container_name!r}")
            text = resource_value(named, item.resource_field_ref, facts)
        file = VolumeFile(text.encode(), common if item.mode is None else item.mode)
        files[checked_relative_path(item.path)] = file
    return files


def _common_user(pod: Pod) -> int | None:
    """The user of all containers, if it is one and the pod says so."""
    everything = (*pod.spec.init_containers, *pod.spec.containers)
    users = {effective_user(pod, container) for container in everything}
    return users.pop() if len(users) == 1 else None
