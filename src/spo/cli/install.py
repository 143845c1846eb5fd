"""``spoc install`` and ``spoc remove``: profiles on this machine, without a cluster."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from spo.cli.output import notes, say
from spo.cli.profile_files import ProfileFileError, read_profile
from spo.errors import SpoError
from spo.host.atomic_file import opened_directory, replace_file
from spo.host.libseccomp import check_filter
from spo.names import KUBELET_SECCOMP_ROOT
from spo.profiles.oci import render

FOLDER: Final = "spoc"
"""Below the seccomp root: apart from ``operator``, whose files the operator looks after."""
FOLDER_MODE: Final = 0o755
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,248}[a-z0-9])?")
_SUFFIX: Final = ".json"
F = TypeVar("F", bound=Callable[..., Any])


class InstallError(SpoError):
    """A profile was not installed or removed."""

    def __init__(self, subject: str, problem: str) -> None:
        super().__init__(subject, problem)
        self.subject = subject
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.subject}: {self.problem}"


def _root_option(function: F) -> F:
    return click.option(
        "-r",
        "--root",
        type=click.Path(path_type=Path, file_okay=False),
        default=KUBELET_SECCOMP_ROOT,
        show_default=True,
        help="Seccomp root of the kubelet.",
    )(function)


@click.command()
@click.argument("profile")
@click.argument("name", required=False)
@_root_option
def install(profile: str, name: str | None, root: Path) -> None:
    """Put a profile where Podman and the kubelet find it.

    NAME is by default the profile's own. Prints the path of the file.

    \b
    Example:
      spoc install ls.yaml
    """
    file = read_profile(profile)
    notes(profile, file.notes)
    if file.profile.spec.base_profile_name:
        problem = "spec.baseProfileName: only a cluster resolves it; merge the base into the profile"
        raise ProfileFileError(profile, problem)
    name = _checked(name or file.profile.metadata.name)
    check_filter(file.profile.spec)
    path = root / FOLDER / (name + _SUFFIX)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with opened_directory(root, follow=True) as top:
            _make_folder(top)
            with opened_directory(FOLDER, dir_fd=top) as folder:
                replace_file(path.name, render(file.profile.spec), folder)
    except OSError as error:
        raise InstallError(str(path), f"cannot be written: {error.strerror}") from error
    say(str(path))
    if str(root) == KUBELET_SECCOMP_ROOT:
        click.echo(
            f"Podman: --security-opt seccomp={path}; pods: localhostProfile: {FOLDER}/{path.name}", err=True
        )


@click.command()
@click.argument("profile")
@_root_option
def remove(profile: str, root: Path) -> None:
    """Remove a profile that was installed.

    PROFILE is the name it was installed under, or the file it was installed from.

    \b
    Example:
      spoc remove ls
    """
    is_file = "/" in profile or Path(profile).is_file()
    name = _checked(read_profile(profile).profile.metadata.name if is_file else profile)
    path = root / FOLDER / (name + _SUFFIX)
    try:
        with opened_directory(root, follow=True) as top, opened_directory(FOLDER, dir_fd=top) as folder:
            os.unlink(path.name, dir_fd=folder)
            os.fsync(folder)
    except FileNotFoundError as error:
        raise InstallError(name, f"is not installed; there is no {path}") from error
    except OSError as error:
        raise InstallError(str(path), f"cannot be removed: {error.strerror}") from error
    say(str(path))


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name) or ".." in name:
        raise InstallError(
            repr(name), "cannot be the name of a profile; use lower-case letters, digits, - and ."
        )
    return name


def _make_folder(top: int) -> None:
    try:
        os.mkdir(FOLDER, FOLDER_MODE, dir_fd=top)
    except FileExistsError:
        return
    with opened_directory(FOLDER, dir_fd=top) as folder:
        os.fchmod(folder, FOLDER_MODE)  # again, for the umask
    os.fsync(top)
