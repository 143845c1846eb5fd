"""Take from a node what the operator put there: files, symbolic link, sockets, pins, directories.

Runs as root where the daemon, which is not trusted, has made the directories: nothing is followed, and what
was not made by the operator stays and is named.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from spo.host.atomic_file import opened_directory, read_file
from spo.host.claims_file import ClaimsFile
from spo.names import (
    HOOK_RECORDINGS_DIR,
    KUBELET_SECCOMP_ROOT,
    LISTENER_DIR,
    OPERATOR_ROOT,
    PROFILE_PREFIX,
    RECORDINGS_DIR,
    ROOTLESS_UID,
    apart,
)
from spo.profiles.paths import SUFFIX

RUN_DIRS: Final = (LISTENER_DIR, str(PurePosixPath(HOOK_RECORDINGS_DIR).parent))
"""Mostly one directory under two names."""
OUR_RUN_DIRS: Final = ("daemon", "probes", "recordings")
"""Below each of :data:`RUN_DIRS`; what else is there, users have made."""
MAX_NAMED: Final = 20
"""Things that were left are named up to this number."""
_CLAIMS: Final = ".claims-"


@dataclass(slots=True)
class Cleaned:
    """What was done."""

    removed: int = 0
    """Files, links and directories that are gone."""
    kept: list[str] = field(default_factory=list)
    """What is still there, and why; at most :data:`MAX_NAMED`."""

    def keep(self, path: object, why: str) -> None:
        """Say that something stays."""
        if len(self.kept) < MAX_NAMED:
            self.kept.append(f"{path}: {why}")


def clean(
    root: Path,
    operator_namespace: str,
    pins: Path,
    shipped: Path | None = None,
    *,
    owner: int = ROOTLESS_UID,
) -> Cleaned:
    """Remove everything of the operator of a namespace; doing it again does no harm.

    Args:
        root: where the node's file system is seen.
        operator_namespace: another operator's files stay, and with them what both share.
        pins: directory in which its recorder pinned its programs and maps.
        shipped: profiles that were copied to the node at its set-up; ``None``: none were.
        owner: uid of the daemon, which has made all profile files.

    Returns:
        What is gone and what is not; an error of the file system is a reason to stay.
    """
    cleaned = Cleaned()
    operator_root = root / OPERATOR_ROOT.lstrip("/")
    others = _other_operators(operator_root, operator_namespace)
    if others:
        _remove_claimed(operator_root, operator_namespace, cleaned)
        _remove_sockets(root, operator_namespace, cleaned)
        _remove_tree(pins, cleaned, None)
        cleaned.keep(operator_root, f"the operator of namespace {', '.join(others)} uses it")
        return cleaned
    _remove_tree(operator_root, cleaned, owner)
    _remove_link(root, cleaned)
    for run in RUN_DIRS:
        directory = root / run.lstrip("/")
        for name in OUR_RUN_DIRS:
            _remove_tree(directory / name, cleaned, None)
        _remove_directory(directory, cleaned)
    _remove_tree(pins, cleaned, None)
    seccomp_root = root / KUBELET_SECCOMP_ROOT.lstrip("/")
    if shipped is not None:
        _remove_shipped(shipped, seccomp_root, cleaned)
    with suppress(OSError):  # which is not ours alone, and does no harm
        seccomp_root.rmdir()
    return cleaned


def _other_operators(operator_root: Path, operator_namespace: str) -> list[str]:
    """Namespaces of the operators that claim files here, without this one."""
    try:
        with opened_directory(operator_root) as directory:
            names = os.listdir(directory)  # noqa: PTH208 - of a descriptor, so that no link is followed
    except OSError:
        return []
    found = {
        name.removeprefix(_CLAIMS).removesuffix(SUFFIX)
        for name in names
        if name.startswith(_CLAIMS) and name.endswith(SUFFIX)
    }
    return sorted(found - {operator_namespace})


def _remove_claimed(operator_root: Path, operator_namespace: str, cleaned: Cleaned) -> None:
    """Remove only the files that the operator of this namespace claims."""
    claims = ClaimsFile(operator_root, operator_namespace)
    for claim in claims.read():
        parts = claim.split("/")
        if len(parts) != 3 or not all(parts) or any(part in {".", ".."} for part in parts):
            continue
        _, namespace, name = parts
        with (
            suppress(OSError),
            opened_directory(operator_root) as directory,
            opened_directory(namespace, dir_fd=directory) as inner,
        ):
            os.unlink(name.removesuffix(SUFFIX) + SUFFIX, dir_fd=inner)
            cleaned.removed += 1
    claims.write(())


def _remove_sockets(root: Path, operator_namespace: str, cleaned: Cleaned) -> None:
    """Remove the sockets of the operator of this namespace, with their locks."""
    own = tuple(f"{name}{apart(operator_namespace)}.sock" for name in ("log-enricher", "bpf-recorder"))
    for directory in (root / LISTENER_DIR.lstrip("/") / name for name in OUR_RUN_DIRS):
        with suppress(OSError), opened_directory(directory) as opened:
            for name in os.listdir(opened):  # noqa: PTH208 - as above
                if name.startswith(own):
                    os.unlink(name, dir_fd=opened)
                    cleaned.removed += 1


def _remove_tree(directory: Path, cleaned: Cleaned, owner: int | None) -> None:
    """Remove a directory with what ``owner`` (``None``: anybody) has made in it; links are not followed."""
    try:
        with opened_directory(directory) as opened:
            device = os.fstat(opened).st_dev
            entries = list(_bottom_up(opened))
    except FileNotFoundError:
        return
    except RecursionError:  # only somebody who means harm makes such
        cleaned.keep(directory, "its directories are nested too deep")
        return
    except OSError as error:
        cleaned.keep(directory, f"{error.strerror}; it is no directory of the operator")
        return
    for relative in entries:
        _remove_entry(directory, relative, cleaned, owner, device)
    _remove_directory(directory, cleaned)


def _bottom_up(opened: int) -> Iterator[PurePosixPath]:
    """Everything below a directory, the inner first; relative to it."""
    for folder, directories, files, _ in os.fwalk(".", topdown=False, dir_fd=opened, follow_symlinks=False):
        for name in (*files, *directories):
            yield PurePosixPath(folder) / name


def _remove_entry(
    top: Path, relative: PurePosixPath, cleaned: Cleaned, owner: int | None, device: int
) -> None:
    try:
        with _parent_of(top, relative) as parent:
            found = os.stat(relative.name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                with suppress(OSError):  # what is in it stays, and has been named
                    os.rmdir(relative.name, dir_fd=parent)
                    cleaned.removed += 1
            elif found.st_dev != device:
                cleaned.keep(top / relative, "it is on another file system, which somebody has mounted there")
            elif owner is not None and found.st_uid != owner and not _is_recording(relative):
                cleaned.keep(top / relative, f"it belongs to uid {found.st_uid}, not to the operator")
            else:
                os.unlink(relative.name, dir_fd=parent)
                cleaned.removed += 1
    except FileNotFoundError:
        return
    except OSError as error:
        cleaned.keep(top / relative, error.strerror or str(error))


def _is_recording(relative: PurePosixPath) -> bool:
    """Whether it lies in the directory of notes about recordings, which nobody else knows."""
    return relative.parts[0] == RECORDINGS_DIR


@contextmanager
def _parent_of(top: Path, relative: PurePosixPath) -> Iterator[int]:
    """The directory of an entry as a descriptor, reached without following a link on the way."""
    with ExitStack() as stack:
        opened = stack.enter_context(opened_directory(top))
        for part in relative.parent.parts:
            opened = stack.enter_context(opened_directory(part, dir_fd=opened))
        yield opened


def _remove_directory(directory: Path, cleaned: Cleaned) -> None:
    try:
        directory.rmdir()
        cleaned.removed += 1
    except FileNotFoundError:
        return
    except NotADirectoryError:
        cleaned.keep(directory, "it is no directory of the operator")
    except OSError as error:
        left = sorted(one.name for one in directory.iterdir())[:3] if directory.is_dir() else []
        cleaned.keep(directory, f"it holds {', '.join(left)}" if left else error.strerror or str(error))


def _remove_link(root: Path, cleaned: Cleaned) -> None:
    """Remove ``operator`` in the kubelet's seccomp root if it is the link that we made."""
    link = root / KUBELET_SECCOMP_ROOT.lstrip("/") / PROFILE_PREFIX
    try:
        target = link.readlink()
    except FileNotFoundError:
        return
    except OSError:
        cleaned.keep(link, "it is no symbolic link, so the operator has not made it")
        return
    if target.name != PurePosixPath(OPERATOR_ROOT).name:
        cleaned.keep(link, f"it leads to {target}, where the operator keeps nothing")
        return
    try:
        link.unlink()
        cleaned.removed += 1
    except OSError as error:
        cleaned.keep(link, error.strerror or str(error))


def _remove_shipped(shipped: Path, seccomp_root: Path, cleaned: Cleaned) -> None:
    """Remove the copies of profiles that nobody has changed."""
    try:
        with opened_directory(seccomp_root, follow=True) as directory:
            for file in sorted(shipped.iterdir()):
                if file.is_file() and read_file(file.name, directory) == file.read_bytes():
                    os.unlink(file.name, dir_fd=directory)
                    cleaned.removed += 1
    except FileNotFoundError:
        return
    except OSError as error:
        cleaned.keep(seccomp_root, error.strerror or str(error))
