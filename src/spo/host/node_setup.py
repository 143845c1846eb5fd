"""What root prepares on a node, so that the daemon can work as uid 65535 (the ``non-root-enabler``)."""

import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

from spo.errors import TerminalError
from spo.host.atomic_file import opened_directory, read_file, replace_file
from spo.host.hook_files import HookFileError, HookFiles
from spo.host.seccomp_dir import DIRECTORY_MODE
from spo.names import (
    DAEMON_RUN_DIR,
    HOOK_RECORDINGS_DIR,
    KUBELET_SECCOMP_ROOT,
    OPERATOR_ROOT,
    PROFILE_PREFIX,
    PROFILES_ROOT,
    ROOTLESS_UID,
)

RUN_MODE = 0o750


class NodeSetupError(TerminalError):
    """A step was not possible; the ones before it are done, running all again does no harm."""

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(step, reason)
        self.step = step
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.step}: {self.reason}"


def prepare(root: Path, profiles_source: Path | None) -> list[str]:
    """Make the directories, the symbolic link and the ownership, and copy the shipped profiles.

    The daemon's sockets get a directory that belongs to it, beside those of root.

    Does nothing that is already done. A symbolic link where a directory of ours should be is refused:
    its target would be given to the daemon.

    Args:
        root: where the node's file system is seen.
        profiles_source: profiles for the operator's own containers; ``None``: there are none.

    Returns:
        The steps, as done, for the log.

    Raises:
        NodeSetupError: names the step.
    """
    seccomp_root = _below(root, KUBELET_SECCOMP_ROOT)
    operator_root = _below(root, OPERATOR_ROOT)
    link = _below(root, PROFILES_ROOT)
    recordings = _below(root, HOOK_RECORDINGS_DIR)
    sockets = _below(root, DAEMON_RUN_DIR)
    steps: list[tuple[str, Callable[[], None]]] = [
        (f"create {seccomp_root}", partial(_make_directories, seccomp_root)),
        (f"create {operator_root} with mode 0744", partial(_make_operator_root, operator_root)),
        (f"link {link} to {operator_root}", partial(_link, seccomp_root, operator_root)),
        (f"give {link} to {ROOTLESS_UID}:{ROOTLESS_UID}", partial(_hand_over, link, operator_root)),
        (f"create {recordings} with mode 0770", HookFiles(recordings).make_directory),
        (f"create {sockets} for {ROOTLESS_UID}:{ROOTLESS_UID}", partial(_make_socket_directory, sockets)),
    ]
    if profiles_source is not None:
        copy = partial(_copy_files, profiles_source, seccomp_root)
        steps.append((f"copy the files of {profiles_source} to {seccomp_root}", copy))
    done = []
    for step, action in steps:
        try:
            action()
        except (OSError, HookFileError) as error:
            raise NodeSetupError(step, str(error)) from error
        done.append(step)
    return done


def _below(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def _make_directories(path: Path) -> None:
    path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)


def _make_operator_root(path: Path) -> None:
    _make_directories(path)
    with opened_directory(path) as directory:
        os.fchmod(directory, DIRECTORY_MODE)  # defeats the umask


def _make_socket_directory(path: Path) -> None:
    path.mkdir(mode=RUN_MODE, parents=True, exist_ok=True)
    with opened_directory(path) as directory:
        os.fchmod(directory, RUN_MODE)
        os.fchown(directory, ROOTLESS_UID, ROOTLESS_UID)


def _link(seccomp_root: Path, operator_root: Path) -> None:
    with opened_directory(seccomp_root, follow=True) as directory:
        try:
            os.symlink(operator_root, PROFILE_PREFIX, dir_fd=directory)
        except FileExistsError:
            return  # the next step looks at what it is


def _hand_over(link: Path, operator_root: Path) -> None:
    """Change the owner of what the link leads to, if it is a directory of ours."""
    with opened_directory(link, follow=True) as directory, opened_directory(operator_root) as expected:
        found = os.fstat(directory)
        if link.is_symlink() and not os.path.samestat(found, os.fstat(expected)):
            raise NotADirectoryError(f"{link} leads to {link.readlink()}, not to {operator_root}; remove it")
        os.fchmod(directory, DIRECTORY_MODE)
        os.fchown(directory, ROOTLESS_UID, ROOTLESS_UID)


def _copy_files(source: Path, target: Path) -> None:
    """Copy regular files. A ConfigMap volume shows its files as links, and hides the rest behind two dots."""
    with opened_directory(target, follow=True) as directory:
        for file in sorted(source.iterdir()):
            if file.name.startswith("..") or not stat.S_ISREG(file.stat().st_mode):
                continue
            content = file.read_bytes()
            if read_file(file.name, directory) != content:
                replace_file(file.name, content, directory)
