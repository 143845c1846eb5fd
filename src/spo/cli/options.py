"""Options that several commands have, with the same letters and the same meaning."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from spo.cli.profile_files import OUTPUT_TYPES

F = TypeVar("F", bound=Callable[..., Any])


def output_option(default: str) -> Callable[[F], F]:
    """``-o``: where the result goes."""
    return click.option(
        "-o",
        "--output-file",
        "output",
        metavar="FILE",
        default=default,
        show_default=True,
        callback=not_empty,
        help="Where to write; - is standard output.",
    )


def type_option(subject: str) -> Callable[[F], F]:
    """``-t``: SeccompProfile YAML, or the JSON of container runtimes."""
    return click.option(
        "-t",
        "--type",
        "type_",
        type=click.Choice(OUTPUT_TYPES),
        default="seccomp",
        show_default=True,
        help=f"{subject}: a SeccompProfile (YAML), or the JSON that container runtimes read.",
    )


def not_empty(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse an empty file name, as of a variable of a script that is not set."""
    if value == "":
        raise click.BadParameter("a file name is needed", context, parameter)
    return value
