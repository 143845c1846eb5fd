"""The program ``security-profiles-operator``: picks the process role, reads the environment."""

import json
import os
import re
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

import click

from spo import klog
from spo.errors import SpoError
from spo.names import DAEMON_FIELD_MANAGER, OPERATOR_NAME, SHIPPED_PROFILES_DIR, SPOD_NAME, WEBHOOK_NAME
from spo.settings import DaemonSettings, EnablerSettings, ManagerSettings, WebhookSettings
from spo.version import version_facts, version_lines

log = klog.get()
setup_log = klog.get("setup")

ALIASES: Final = {
    "m": "manager",
    "d": "daemon",
    "w": "webhook",
    "b": "bpf-recorder",
    "l": "log-enricher",
    "v": "version",
}
_PATH: Final = click.Path(path_type=Path)
_ENABLER: Final = "non-root-enabler"
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class _Start(NamedTuple):
    """What holds for every command."""

    verbosity: int
    profiling: tuple[str, int] | None
    """Address and port to serve profiles on; None: not at all."""


class _Roles(click.Group):
    """Commands, also by their one-letter names."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command with this name or alias."""
        return super().get_command(ctx, ALIASES.get(cmd_name, cmd_name))


# The commands import their packages when they run: every node runs several of these processes, and each
# needs only its own.
@click.group(cls=_Roles, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-V",
    "--verbosity",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    envvar="SPO_VERBOSITY",
    show_envvar=True,
    help="Log details from 1 on.",
)
@click.option(
    "-p",
    "--profiling",
    is_flag=True,
    envvar="SPO_PROFILING",
    show_envvar=True,
    help="Serve CPU and memory profiles by HTTP, for go tool pprof.",
)
@click.option(
    "--profiling-port",
    type=click.IntRange(0, 65535),
    default=6060,
    show_default=True,
    envvar="SPO_PROFILING_PORT",
    show_envvar=True,
    help="Where to serve them.",
)
@click.option(
    "--profiling-host",
    default="",
    envvar="SPO_PROFILING_HOST",
    show_envvar=True,
    help="Address to serve them on.  [default: all]",
)
@click.pass_context
def cli(
    context: click.Context, verbosity: int, profiling: bool, profiling_port: int, profiling_host: str
) -> None:
    """Install seccomp profiles on the nodes of a Kubernetes cluster."""
    klog.configure(verbosity)
    context.obj = _Start(verbosity, (profiling_host, profiling_port) if profiling else None)


@cli.command()
@click.pass_obj
def manager(start: _Start) -> None:
    """Keep status and finalizers of all profiles; one leader per cluster. Alias: m."""
    from spo.kube.client import KubeClient  # noqa: PLC0415 - see above
    from spo.manager.process import run_manager  # noqa: PLC0415 - see above

    _started(OPERATOR_NAME, start)
    settings = ManagerSettings.from_env(os.environ)
    _run(run_manager(KubeClient.from_env(os.environ), settings))


@cli.command()
@click.option("--with-selinux", type=click.BOOL, default=False, help="Install SELinux policies as well.")
@click.pass_obj
def daemon(start: _Start, /, with_selinux: bool) -> None:
    """Keep the profile files of one node; runs without privileges. Alias: d."""
    from spo.daemon.process import run_daemon  # noqa: PLC0415 - see above
    from spo.kube.client import KubeClient  # noqa: PLC0415 - see above

    _started(SPOD_NAME, start)
    if with_selinux:
        log.warning("SELinux is enabled, but this version installs seccomp profiles only")
    settings = DaemonSettings.from_env(os.environ)
    _run(run_daemon(KubeClient.from_env(os.environ, field_manager=DAEMON_FIELD_MANAGER), settings))


@cli.command()
@click.option(
    "-p",
    "--port",
    type=click.IntRange(min=1, max=65535),
    help="Port of the HTTPS server. Default: the one of SPO_WEBHOOK_ADDRESS, 9443.",
)
@click.pass_obj
def webhook(start: _Start, port: int | None) -> None:
    """Bind profiles to new pods and mark pods to be recorded; only reads the API. Alias: w."""
    from spo.kube.client import KubeClient  # noqa: PLC0415 - see above
    from spo.webhooks.process import run_webhook  # noqa: PLC0415 - see above

    _started(WEBHOOK_NAME, start)
    settings = WebhookSettings.from_env(os.environ, port=port)
    _run(run_webhook(KubeClient.from_env(os.environ), settings))


@cli.command("bpf-recorder")
@click.option(
    "--socket", type=_PATH, help="Where the daemon connects. Default: in the operator's run directory."
)
@click.option("--pin-root", type=_PATH, help="Directory of a bpf file system for what outlives a restart.")
@click.option(
    "--btf", type=_PATH, help="BTF file or BTFHub directory, for kernels without types of their own."
)
@click.pass_obj
def bpf_recorder(start: _Start, /, **paths: Path | None) -> None:
    """Record syscalls of containers for the daemon of this node; needs root. Alias: b."""
    from spo.probes.bpf_recorder.process import run_bpf_recorder  # noqa: PLC0415 - see above
    from spo.probes.bpf_recorder.settings import BpfRecorderSettings  # noqa: PLC0415 - see above

    _started("bpf-recorder", start)
    run_bpf_recorder(BpfRecorderSettings.from_env(os.environ, **paths))


@cli.command("log-enricher")
@click.option(
    "--source",
    "sources",
    multiple=True,
    type=click.Choice(("netlink", "auditd", "syslog")),
    envvar="SPO_LOG_ENRICHER_SOURCE",
    help="Where to read; may be given several times. Default: the first of these that works.",
)
@click.option(
    "--printing",
    type=click.Choice(("all", "unique", "none")),
    default="all",
    show_default=True,
    envvar="SPO_LOG_ENRICHER_PRINTING",
    help="Print all records, each (container, executable, syscall) once, or none; all are counted.",
)
@click.option("--proc", type=_PATH, help="The node's proc file system. Default: /proc.")
@click.option(
    "--host-netns",
    "network_namespace",
    envvar="SPO_HOST_NETNS",
    help="The node's network namespace; 'own' if this process is in it. Default: that of process 1.",
)
@click.option("--audit-log", type=_PATH, help="Default: /var/log/audit/audit.log.")
@click.option("--syslog", type=_PATH, help="Default: /var/log/syslog.")
@click.option("--daemon-socket", type=_PATH, envvar="SPO_ENRICHER_SOCKET", help="Where the daemon answers.")
@click.pass_obj
def log_enricher(start: _Start, /, **options: Any) -> None:
    """Print and count what seccomp, SELinux and AppArmor log or refuse, with pod and container. Alias: l."""
    from spo.probes.log_enricher.process import run_log_enricher  # noqa: PLC0415 - see above
    from spo.probes.log_enricher.settings import LogEnricherSettings  # noqa: PLC0415 - see above

    _started("log-enricher", start)
    run_log_enricher(LogEnricherSettings.from_env(os.environ, **options), start.verbosity)


@cli.command(_ENABLER)
@click.pass_obj
def non_root_enabler(start: _Start) -> None:
    """Prepare the directories of a node as root, so that the daemon needs no privileges."""
    from spo.host.node_setup import prepare  # noqa: PLC0415 - see above

    _started(_ENABLER, start)
    settings = EnablerSettings.from_env(os.environ)
    shipped = Path(SHIPPED_PROFILES_DIR)
    for step in prepare(Path(settings.host_root), shipped if shipped.is_dir() else None):
        setup_log.info("Done", step=step)


@cli.command("node-cleanup")
@click.option(
    "--root",
    type=_PATH,
    default=Path("/"),
    show_default=True,
    help="Where the node's file system is seen.",
)
@click.option("--pins", type=_PATH, help="Where the recorder pins. Default: the usual place below the root.")
@click.option("--namespace", default=OPERATOR_NAME, show_default=True, help="Of the operator to remove.")
@click.option("--message", type=_PATH, help="File for what is left.")
def node_cleanup(root: Path, pins: Path | None, namespace: str, message: Path | None) -> None:
    """Remove from a node, as root, what the operator put there; exit status 3 if something stays."""
    from spo.host.node_cleanup import clean  # noqa: PLC0415 - see above
    from spo.host.node_paths import pin_root  # noqa: PLC0415 - see above

    if not _NAMESPACE.fullmatch(namespace):
        raise click.BadParameter(f"{namespace!r} is no name of a namespace", param_hint="--namespace")
    usual = root / str(pin_root(PurePosixPath("/"), namespace)).lstrip("/")
    if pins is not None and (".." in pins.parts or pins.parent.parts[-3:] != usual.parent.parts[-3:]):
        # All that is in it is removed.
        raise click.BadParameter(f"{pins} is no directory in {usual.parent}", param_hint="--pins")
    shipped = Path(SHIPPED_PROFILES_DIR)
    done = clean(root, namespace, pins or usual, shipped if shipped.is_dir() else None)
    for one in done.kept:
        setup_log.warning("Left on the node", what=one)
    setup_log.info("Cleaned the node", removed=done.removed, left=len(done.kept))
    if message is not None:
        message.write_text("\n".join(done.kept), errors="backslashreplace")
    if done.kept:
        sys.exit(3)


@cli.command()
@click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON.")
def version(as_json: bool) -> None:
    """Print the version and what it runs on. Alias: v."""
    click.echo(json.dumps(version_facts(), indent=2) if as_json else "\n".join(version_lines()))


def _started(component: str, start: _Start) -> None:
    """The first lines of every process; users look for them."""
    log.info(f"Set logging verbosity to {start.verbosity}")
    log.info(f"Profiling support enabled: {str(start.profiling is not None).lower()}")
    setup_log.info(f"starting component: {component}", **version_facts())
    if start.profiling is not None and component != _ENABLER:  # which has ended before anybody could ask
        from spo.profiling.server import serve_profiles  # noqa: PLC0415 - for those who enable it

        serve_profiles(*start.profiling)


def _run(process: Coroutine[Any, Any, None]) -> None:
    import asyncio  # noqa: PLC0415 - 10 MB that the probes must not spend

    asyncio.run(process)


def main() -> None:
    """Entry point: an error that we foresaw becomes one log line and exit status 1, others a traceback."""
    try:
        cli(prog_name=OPERATOR_NAME)
    except (SpoError, ExceptionGroup) as error:
        leaves = list(_leaves(error))
        if not all(isinstance(leaf, SpoError) for leaf in leaves):
            raise
        setup_log.error("Stopped", error=leaves[0])
        sys.exit(1)


def _leaves(error: Exception) -> Iterator[Exception]:
    """The errors that a task group has packed together."""
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


if __name__ == "__main__":
    main()
