"""``onenode``: a small Kubernetes-compatible API with Podman pods, for one machine.

Each command parses, calls one function and prints; imports that cost time happen in the command.
"""

import os
import select
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from onenode.instance import Instance, InstanceError, ServeOptions

_DEFAULT_STATE: Final = Path("/var/lib/onenode")
_DEFAULT_PORT: Final = 6443
_START_S: Final = 30.0
_LOG_TAIL_BYTES: Final = 4000
_NOT_RUNNING: Final = 3

_state = click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=_DEFAULT_STATE,
    show_default=True,
    help="Folder of everything this onenode keeps. Two with different folders do not disturb each other.",
)
_crds = click.option(
    "--crds",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of CustomResourceDefinition manifests that are there from the start.",
)
_node_name = click.option("--node-name", default=socket.gethostname, help="Name of the Node. [host name]")
_node_root = click.option(
    "--node-root",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("/"),
    show_default=True,
    help="Where the node's file system begins: seccomp profiles are below its var/lib/kubelet/seccomp.",
)
_port = click.option(
    "--port", type=click.IntRange(1, 65535), default=_DEFAULT_PORT, show_default=True, help="Of the API."
)
_access_log = click.option(
    "--access-log",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append what service accounts ask for, and whether they may: a JSON object a line.",
)


@click.group()
def main() -> None:
    """A small Kubernetes-compatible API with Podman pods, for one machine."""


@main.command()
@_state
@_crds
@_node_name
@_node_root
@_port
@_access_log
@click.option("--ready-fd", type=int, hidden=True, help="Gets a line when the server is ready.")
def serve(
    state: Path,
    crds: Path | None,
    node_name: str,
    node_root: Path,
    port: int,
    access_log: Path | None,
    ready_fd: int | None,
) -> None:
    """Run in the foreground until SIGTERM; pods go on running."""
    from onenode.serving import serve_until_stopped  # noqa: PLC0415  half a second, here only

    _check_machine()
    instance = Instance(state.absolute())
    options = _options(crds, node_name, node_root, port, access_log)
    try:
        instance.prepare()
        with instance.lock():
            serve_until_stopped(instance, replace(options, ready_fd=ready_fd), os.environ)
    except InstanceError as error:
        raise click.ClickException(str(error)) from error


@main.command()
@_state
@_crds
@_node_name
@_node_root
@_port
@_access_log
def up(
    state: Path, crds: Path | None, node_name: str, node_root: Path, port: int, access_log: Path | None
) -> None:
    """Start in the background, wait until ready, print the KUBECONFIG line."""
    instance = Instance(state.absolute())
    _check_machine()
    options = _options(crds, node_name, node_root, port, access_log)
    try:
        if instance.running_pid() is None:
            _start_in_background(instance, [f"--state={instance.state}", *options.arguments()])
        else:
            instance.check_options(options)
    except InstanceError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"export KUBECONFIG={instance.kubeconfig}")


@main.command()
@_state
@click.option("--purge", is_flag=True, help="Also remove the state folder with all objects.")
def down(state: Path, purge: bool) -> None:
    """Stop the server and remove all its containers; objects stay for the next start."""
    instance = Instance(state.absolute())
    try:
        stopped = instance.stop()
        removed = instance.remove_pods(os.environ) if instance.state.exists() else 0
        if purge:
            instance.purge()
    except InstanceError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{'stopped' if stopped else 'was not running'}; {removed} containers removed")


@main.command()
@_state
def status(state: Path) -> None:
    """Tell whether it runs; exit code 3 if not."""
    pid = Instance(state.absolute()).running_pid()
    if pid is None:
        click.echo("not running")
        sys.exit(_NOT_RUNNING)
    click.echo(f"running (process {pid}), state {state.absolute()}")


@main.command()
@_state
def kubeconfig(state: Path) -> None:
    """Print the path of the kubeconfig."""
    click.echo(Instance(state.absolute()).kubeconfig)


def _options(
    crds: Path | None, node_name: str, node_root: Path, port: int, access_log: Path | None
) -> ServeOptions:
    return ServeOptions(
        crds=crds.absolute() if crds else None,
        node_name=node_name,
        node_root=node_root.absolute(),
        port=port,
        access_log=access_log.absolute() if access_log else None,
    )


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise click.ClickException("onenode runs containers and needs root: use sudo")
    if shutil.which("podman") is None:
        raise click.ClickException("podman is missing: apt-get install podman runc catatonit")


def _start_in_background(instance: Instance, arguments: list[str]) -> None:
    """Start ``serve`` apart from this terminal and wait for its line on a pipe."""
    instance.prepare()
    reader, writer = os.pipe()
    with instance.log_file.open("ab") as log_file:
        before = log_file.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "onenode", "serve", *arguments, f"--ready-fd={writer}"],
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=log_file,
            pass_fds=(writer,),
            start_new_session=True,
            cwd="/",
        )
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answered, _, _ = select.select([pipe], [], [], _START_S)
        ready = pipe.readline() if answered else b""  # empty if the server has ended
    if not ready:
        process.terminate()
        process.wait(_START_S)
        with instance.log_file.open("rb") as log_file:
            log_file.seek(before)
            tail = log_file.read()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()
        raise click.ClickException(f"the server did not start:\n{tail.removeprefix('Error: ')}")


if __name__ == "__main__":
    main()
