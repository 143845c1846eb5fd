"""``spoc cluster``: how the operator of a cluster fares."""

import asyncio
import os
from datetime import UTC, datetime
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
    """Show how the operator of a cluster fares.

    Needs a kubeconfig: $KUBECONFIG, or that of the pod it runs in.

    \b
    Example:
      spoc cluster status
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
