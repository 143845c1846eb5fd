"""Where the file of a profile lies, and which profiles a pod references by their files."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from spo.api.core import Pod, SecurityContext
from spo.errors import TerminalError
from spo.names import PROFILE_PREFIX, SECCOMP_POD_ANNOTATION

SUFFIX: Final = ".json"
MAX_NAME_LENGTH: Final = 250
"""With ``.json`` a file name then has at most the 255 bytes that file systems allow."""
_LOCALHOST: Final = "localhost/"
_NAMESPACE: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")


class ProfileKey(NamedTuple):
    """A profile as its file names it: the name has no ``.json``."""

    namespace: str
    name: str


class ProfileNameError(TerminalError):
    """No file can have the name of this profile."""

    def __init__(self, namespace: str, name: str, problem: str) -> None:
        super().__init__(namespace, name, problem)
        self.namespace = namespace
        self.name = name
        self.problem = problem

    def __str__(self) -> str:
        return f"profile {self.namespace!r}/{self.name!r} cannot be a file: {self.problem}; use another name"


def localhost_profile(namespace: str, name: str) -> str:
    """Path of the profile's file, relative to the kubelet's seccomp root, as a pod cites it.

    Only the last path element of each counts, and ``.json`` is added unless it is there.

    Returns:
        ``operator/<namespace>/<name>.json``.

    Raises:
        ProfileNameError: what remains is no Kubernetes name, or is longer than ``MAX_NAME_LENGTH``.
    """
    directory, file = _last_element(namespace), _last_element(name)
    if not _NAMESPACE.fullmatch(directory):
        raise ProfileNameError(namespace, name, "the namespace is no DNS label")
    if len(file) > MAX_NAME_LENGTH:
        raise ProfileNameError(namespace, name, f"the name has over {MAX_NAME_LENGTH} characters")
    if not _NAME.fullmatch(file):
        raise ProfileNameError(namespace, name, "the name is no DNS subdomain")
    return path_of(ProfileKey(directory, file.removesuffix(SUFFIX)))


def path_of(key: ProfileKey) -> str:
    """Path of the file with this key: the inverse of :func:`parse_localhost_profile`.

    Unlike a name, the key of a file may end in ``.json`` and then has it twice in the path.
    """
    return f"{PROFILE_PREFIX}/{key.namespace}/{key.name}{SUFFIX}"


def parse_localhost_profile(path: str) -> ProfileKey | None:
    """The profile that a path from a pod names; ``None`` if the path is not one of ours."""
    prefix, *rest = path.split("/")
    if prefix != PROFILE_PREFIX or len(rest) != 2:
        return None
    namespace, file = rest
    name = file.removesuffix(SUFFIX)
    if name == file or len(name) > MAX_NAME_LENGTH:
        return None
    if not _NAMESPACE.fullmatch(namespace) or not _NAME.fullmatch(name):
        return None
    return ProfileKey(namespace, name)


def referenced_profiles(pod: Pod) -> tuple[ProfileKey, ...]:
    """Profiles that a pod references, each once.

    In this order: the pod's security context, its containers', its init containers', the annotation of old
    clusters. Ephemeral containers do not count: they are never started again, so nothing reads their
    profile once they run.
    """
    paths = map(_cleaned, _referenced_paths(pod))
    return tuple(dict.fromkeys(key for path in paths if (key := parse_localhost_profile(path))))


def _cleaned(path: str) -> str:
    """The path as the kubelet opens it: ``operator//ns/./a.json`` is the file of ``operator/ns/a.json``.

    The API refuses ``..`` in it.
    """
    return "/".join(element for element in path.split("/") if element not in {"", "."})


def _referenced_paths(pod: Pod) -> Iterator[str]:
    contexts: list[SecurityContext | None] = [pod.spec.security_context]
    contexts += [container.security_context for container in pod.spec.containers]
    contexts += [container.security_context for container in pod.spec.init_containers]
    for context in contexts:
        profile = context.seccomp_profile if context else None
        if profile and profile.type == "Localhost" and profile.localhost_profile:
            yield profile.localhost_profile
    annotation = pod.metadata.annotations.get(SECCOMP_POD_ANNOTATION, "")
    if annotation.startswith(_LOCALHOST):
        yield annotation.removeprefix(_LOCALHOST)


def _last_element(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
