"""Which seccomp profile a container runs under."""

import os
import stat
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Final

from onenode.kubelet.errors import ContainerConfigError, ContainerCreateError
from onenode.kubelet.pod import Container, Pod

POD_ANNOTATION: Final = "seccomp.security.alpha.kubernetes.io/pod"
CONTAINER_ANNOTATION_PREFIX: Final = "container.seccomp.security.alpha.kubernetes.io/"
"""The forms used before the field existed; the field wins."""


class SeccompKind(StrEnum):
    """The three words of ``seccompProfile.type``."""

    UNCONFINED = "Unconfined"
    RUNTIME_DEFAULT = "RuntimeDefault"
    LOCALHOST = "Localhost"


@dataclass(frozen=True, slots=True)
class SeccompChoice:
    """The profile of one container."""

    kind: SeccompKind
    path: PurePosixPath | None = None
    """Of ``Localhost``: relative to the kubelet's seccomp root."""


UNCONFINED: Final = SeccompChoice(SeccompKind.UNCONFINED)
RUNTIME_DEFAULT: Final = SeccompChoice(SeccompKind.RUNTIME_DEFAULT)


def seccomp_choice(pod: Pod, container: Container) -> SeccompChoice:
    """The profile a container asks for: its own field, the pod's field, then the annotations.

    A privileged container has none, as with other runtimes; nor has one that asks for nothing.

    Raises:
        ContainerConfigError: an unknown word, or a path that is absolute or leads upwards.
    """
    if container.security_context.privileged:
        return UNCONFINED
    own, common = container.security_context.seccomp_profile, pod.spec.security_context.seccomp_profile
    field = own or common
    if field is not None:
        return _from_field(field.type, field.localhost_profile)
    annotations = pod.metadata.annotations
    text = annotations.get(CONTAINER_ANNOTATION_PREFIX + container.name) or annotations.get(POD_ANNOTATION)
    return _from_annotation(text) if text else UNCONFINED


def _from_field(kind: str, localhost_profile: str | None) -> SeccompChoice:
    match kind:
        case SeccompKind.UNCONFINED:
            return UNCONFINED
        case SeccompKind.RUNTIME_DEFAULT:
            return RUNTIME_DEFAULT
        case SeccompKind.LOCALHOST:
            return SeccompChoice(SeccompKind.LOCALHOST, checked_profile_path(localhost_profile or ""))
    raise ContainerConfigError(f"unknown seccomp profile type {kind!r}")


def _from_annotation(text: str) -> SeccompChoice:
    if text == "unconfined":
        return UNCONFINED
    if text in ("runtime/default", "docker/default"):
        return RUNTIME_DEFAULT
    if text.startswith("localhost/"):
        path = checked_profile_path(text.removeprefix("localhost/"))
        return SeccompChoice(SeccompKind.LOCALHOST, path)
    raise ContainerConfigError(f"unknown seccomp profile {text!r} in an annotation")


def checked_profile_path(text: str) -> PurePosixPath:
    """A profile path that stays below the seccomp root.

    Raises:
        ContainerConfigError: it is empty, absolute, has a ``..`` part or a control character.
    """
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts or not text.isprintable():
        raise ContainerConfigError(
            f"invalid seccomp profile path {text!r}: must lead downwards from the seccomp root"
        )
    return path


def seccomp_option(choice: SeccompChoice, seccomp_root: Path) -> str | None:
    """Value of Podman's ``--security-opt`` for a choice; ``None`` leaves Podman's default profile.

    Raises:
        ContainerCreateError: the profile is not on the node (yet); the text is that of other runtimes.
    """
    if choice.kind is SeccompKind.UNCONFINED:
        return "seccomp=unconfined"
    if choice.path is None:
        return None
    path = seccomp_root / choice.path
    try:
        # Not blocking: whoever writes profiles might have put a pipe there.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
        raise ContainerCreateError(f'cannot load seccomp profile "{path}": open {path}: {problem}') from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ContainerCreateError(f'cannot load seccomp profile "{path}": not a regular file')
    finally:
        os.close(descriptor)
    return f"seccomp={path}"
