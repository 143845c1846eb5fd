"""``spoc hook``: an OCI hook that records containers which ask for it by an annotation."""

import json
import sys
from pathlib import Path
from typing import Final

import click

from spo.cli.group import HELP_OPTIONS
from spo.cli.output import say
from spo.cli.profile_files import write_bytes
from spo.errors import SpoError
from spo.names import HOOK_RECORDINGS_DIR

HOOKS_DIR: Final = "/etc/containers/oci/hooks.d"
"""Where Podman and CRI-O look."""
FILE_NAME: Final = "spoc-seccomp.json"
TIMEOUT_S: Final = 30


class HookError(SpoError):
    """The hook is not where it should be."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


_hooks_dir = click.option(
    "--hooks-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=HOOKS_DIR,
    show_default=True,
    help="Where the container engine looks for hooks.",
)
_directory = click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=HOOK_RECORDINGS_DIR,
    show_default=True,
    help="The only place where recordings are written.",
)
_host_root = click.option(
    "--host-root",
    type=click.Path(path_type=Path, file_okay=False),
    default="/",
    show_default=True,
    help="Where the node's file system begins: recordings lie below it, annotations name them without it.",
)


@click.group(context_settings=HELP_OPTIONS)
def hook() -> None:
    """Record containers that ask for it by an annotation.

    Podman and CRI-O call the hook for containers with the annotation io.containers.trace-syscall.

    \b
    Example:
      spoc hook install --directory /srv/recordings
      podman run --annotation io.containers.trace-syscall=of:/srv/recordings/web.json nginx
    """


@hook.command()
@_hooks_dir
@_directory
@_host_root
def install(hooks_dir: Path, directory: Path, host_root: Path) -> None:
    """Tell Podman and CRI-O about the hook; prints the path of the file.

    \b
    Example:
      spoc hook install
    """
    from spo.host.hook_files import HookFiles, below  # noqa: PLC0415 - the help comes without

    HookFiles(below(host_root, directory)).make_directory()
    try:
        hooks_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HookError(hooks_dir, f"cannot be made: {error.strerror}") from error
    path = hooks_dir / FILE_NAME
    write_bytes(description(directory, host_root), str(path))
    say(str(path))


@hook.command()
@_hooks_dir
def remove(hooks_dir: Path) -> None:
    """Take the hook away again.

    \b
    Example:
      spoc hook remove
    """
    path = hooks_dir / FILE_NAME
    try:
        path.unlink()
    except FileNotFoundError as error:
        raise HookError(path, "is not there; the hook is not installed") from error
    except OSError as error:
        raise HookError(path, f"cannot be removed: {error.strerror}") from error
    say(str(path))


@hook.command(hidden=True)
@_directory
@_host_root
def run(directory: Path, host_root: Path) -> None:
    """Called by the container runtime, with the state of the container on standard input."""
    from spo.cli.hook_recording import record_in_background  # noqa: PLC0415 - as above

    record_in_background(sys.stdin.buffer, directory, host_root)


def description(directory: Path, host_root: Path) -> bytes:
    """The hook as hooks.d wants it (oci-hooks(5)).

    The interpreter is isolated, for it starts in the bundle of the container; by its own name in the
    arguments it finds its packages.
    """
    arguments = [sys.executable, "-I", "-m", "spo.cli", "hook", "run", "--directory", str(directory)]
    if host_root != Path("/"):
        arguments += ["--host-root", str(host_root)]
    document = {
        "version": "1.0.0",
        "hook": {"path": sys.executable, "args": arguments, "timeout": TIMEOUT_S},
        "when": {"annotations": {r"^io\.containers\.trace-syscall$": "^of:"}},
        "stages": ["prestart"],
    }
    return json.dumps(document, indent=2).encode() + b"\n"
