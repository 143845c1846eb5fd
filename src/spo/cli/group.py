"""The group of commands: their modules are imported when they run, so that the help comes at once."""

import importlib
from collections.abc import Iterable
from typing import Final, NamedTuple

import click

HELP_OPTIONS: Final = {"help_option_names": ["-h", "--help"]}
"""Context settings of the group and of every command."""


class Entry(NamedTuple):
    """A command as the group knows it without importing it."""

    name: str
    alias: str | None
    module: str
    """Module below ``spo.cli`` that has a click command of this name."""
    help: str
    """One line; the same as the first line of the command's own."""


class LazyGroup(click.Group):
    """Commands by name or alias, from a table."""

    def __init__(self, name: str, entries: Iterable[Entry], **settings: object) -> None:
        super().__init__(name, **settings)  # type: ignore[arg-type]  # click's own settings, passed through
        self.entries: Final = {entry.name: entry for entry in entries}
        self._aliases = {entry.alias: entry.name for entry in self.entries.values() if entry.alias}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command."""
        entry = self.entries.get(self._aliases.get(cmd_name, cmd_name))
        if entry is None:
            return None
        command = getattr(importlib.import_module(f"spo.cli.{entry.module}"), entry.name)
        assert isinstance(command, click.Command)  # noqa: S101 - the table is ours
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the table; click would import every command."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (f"{entry.name}, {entry.alias}" if entry.alias else entry.name, entry.help)
                    for entry in self.entries.values()
                ]
            )
