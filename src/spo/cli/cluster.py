"""``spoc cluster``: how the operator of a cluster fares, and its removal."""

import asyncio
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Final

import click

from spo.cli.errors import ExitStatus
from spo.cli.group import HELP_OPTIONS
from spo.cli.output import say
from spo.errors import SpoError
from spo.names import OPERATOR_NAME

PATIENCE_S: Final = 30.0
"""For everything that is asked of the API server together."""

_namespace = click.option(
    "-n",
    "--namespace",
    metavar="NAME",
    default=OPERATOR_NAME,
    show_default=True,
    help="Where the operator runs.",
)


class NoAnswerError(SpoError):
    """The API server was too slow."""

    def __init__(self, patience_s: float) -> None:
        super().__init__(patience_s)
        self.patience_s = patience_s

    def __str__(self) -> str:
        return f"the API server did not answer everything within {self.patience_s:g} s"


@click.group(context_settings=HELP_OPTIONS)
def cluster() -> None:
    """Show how the operator of a cluster fares, or remove it.

    Needs a kubeconfig: $KUBECONFIG, or that of the pod it runs in.

    \b
    Examples:
      spoc cluster status
      spoc cluster uninstall --dry-run
    """


@cluster.command()
@_namespace
@click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="For people, or for programs.",
)
def status(*, namespace: str, form: str) -> int:
    """Tell what is healthy, what is not, and what to do.

    Exit status: 0 everything is healthy, 1 something is wrong or the cluster cannot be asked, 2 wrong usage.

    \b
    Examples:
      spoc cluster status
      spoc cluster status -o json
    """
    # Slow to import, and not needed for the help.
    from spo.cli.cluster_status.facts import Facts  # noqa: PLC0415 - see above
    from spo.cli.cluster_status.findings import report_of  # noqa: PLC0415 - see above
    from spo.cli.cluster_status.reading import read_facts  # noqa: PLC0415 - see above
    from spo.cli.cluster_status.report import as_json, as_lines  # noqa: PLC0415 - see above
    from spo.kube.client import KubeClient  # noqa: PLC0415 - see above
    from spo.kube.config import load_config  # noqa: PLC0415 - see above
    from spo.kube.transport import ClientLimits  # noqa: PLC0415 - see above

    async def read() -> Facts:
        limits = ClientLimits(request_timeout_s=10.0, attempts=2)
        async with KubeClient(load_config(os.environ), field_manager="spoc", limits=limits) as client:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    return await read_facts(client, namespace, datetime.now(UTC))
            except TimeoutError as error:
                raise NoAnswerError(PATIENCE_S) from error

    report = report_of(asyncio.run(read()))
    if form == "json":
        click.echo(as_json(report))
    else:
        for line in as_lines(report):
            say(line)
    return ExitStatus.OK if report.healthy else ExitStatus.FAILED


@cluster.command()
@_namespace
@click.option("--dry-run", is_flag=True, help="Only list what would go.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--force",
    is_flag=True,
    help="Remove what pods still use, too: their containers cannot be started again. Do not wait for pods of "
    "the operator that do not end.",
)
@click.option("--image", metavar="IMAGE", help="Of the operator, where nothing in the cluster names it.")
@click.option("--node-root", type=click.Path(path_type=PurePosixPath), help="As SPO_SPOD_HOST_ROOT.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=1),
    default=60.0,
    show_default=True,
    help="Seconds to wait for each thing that has to end.",
)
def uninstall(
    *,
    namespace: str,
    dry_run: bool,
    yes: bool,
    force: bool,
    image: str | None,
    node_root: PurePosixPath | None,
    timeout_s: float,
) -> int:
    """Remove the operator with all its objects, and everything that it put on the nodes.

    Works in whatever state the installation is, also after its manifest was deleted first, and again after it
    was cut short. Exit status: 0 nothing is left, 1 something is and is named, 2 wrong usage.

    \b
    Examples:
      spoc cluster uninstall --dry-run
      spoc cluster uninstall --yes
      spoc cluster uninstall --force --image registry/security-profiles-operator:v1
    """
    # Slow to import, and not needed for the help.
    from spo.cli.cluster_uninstall.inventory import Inventory, take_inventory  # noqa: PLC0415 - see above
    from spo.cli.cluster_uninstall.plan import check, plan  # noqa: PLC0415 - see above
    from spo.cli.cluster_uninstall.removal import uninstall as remove  # noqa: PLC0415 - see above
    from spo.kube.client import KubeClient  # noqa: PLC0415 - see above

    async def look() -> Inventory:
        async with KubeClient.from_env(os.environ, field_manager="spoc") as client:
            found = await take_inventory(client, namespace)
        return replace(found, image=image or found.image, host_root=node_root or found.host_root)

    async def work() -> list[str]:
        async with KubeClient.from_env(os.environ, field_manager="spoc") as client:
            return await remove(client, inventory, force=force, timeout_s=timeout_s, say=say)

    if not (yes or dry_run or sys.stdin.isatty()):
        raise click.UsageError("nobody can be asked: use --yes, or --dry-run")
    inventory = asyncio.run(look())
    if inventory.is_empty and not image:
        say("Nothing of the operator is in the cluster; to clean the nodes nevertheless, use --image")
        return ExitStatus.OK
    if dry_run or not yes:
        for line in plan(inventory):
            say(line)
    if dry_run:
        return ExitStatus.OK
    check(inventory, force=force)
    if not yes and not click.confirm("Remove all of this?"):
        say("Nothing was removed")
        return ExitStatus.FAILED
    left = asyncio.run(work())
    for line in left:
        say(f"Left: {line}")
    return ExitStatus.FAILED if left else ExitStatus.OK
