"""``spoc version``: what identifies the program in a bug report."""

import json

import click

from spo.version import version_facts, version_lines


@click.command()
@click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON.")
def version(as_json: bool) -> None:
    """Print the version and what it runs on.

    \b
    Example:
      spoc version --json
    """
    click.echo(json.dumps(version_facts(), indent=2) if as_json else "\n".join(version_lines()))
