"""``spoc merge``: one profile of several recordings."""

import click

from spo.cli.errors import ExitStatus
from spo.cli.options import output_option, type_option
from spo.cli.output import notes
from spo.cli.profile_files import (
    DEFAULT_OUTPUT,
    OutputType,
    parse_profile,
    read_bytes,
    rendered,
    write_bytes,
)
from spo.cli.selinux_files import is_selinux, parse_selinux, render_selinux
from spo.errors import SpoError
from spo.recording.selinux_union import selinux_union
from spo.recording.union import union

MODE = 0o600


@click.command()
@click.argument("profiles", metavar="PROFILE...", nargs=-1, required=True)
@output_option(DEFAULT_OUTPUT)
@type_option("The file")
@click.option("-c", "--check", is_flag=True, help="Write nothing; fail if the first profile lacks something.")
def merge(profiles: tuple[str, ...], output: str, type_: OutputType, check: bool) -> None:
    """Merge the profiles of several recordings into one.

    The result lets pass what any of the profiles does. The first one gives the name and everything else
    that is not a rule. --check compares it with the first profile and prints it if they differ. SELinux
    profiles can be merged, too.

    \b
    Example:
      spoc merge -o ls.yaml first.yaml second.yaml
    """
    contents = [read_bytes(path) for path in profiles]
    named = list(zip(profiles, contents, strict=True))
    if is_selinux(contents[0]):
        if type_ != "seccomp":
            raise click.UsageError(f"{profiles[0]} is a SelinuxProfile; --type is about seccomp profiles")
        policies = [parse_selinux(content, path) for path, content in named]
        merged = render_selinux(selinux_union(policies))
        present = render_selinux(selinux_union(policies[:1]))
    else:
        files = [parse_profile(content, path) for path, content in named]
        for path, file in zip(profiles, files, strict=True):
            notes(path, file.notes)
        merged = rendered(union([file.profile for file in files]), type_)
        present = rendered(union([files[0].profile]), type_)
    if not check:
        write_bytes(merged, output, mode=MODE)
    elif merged == present:
        click.echo(f"{profiles[0]} is up to date", err=True)
    else:
        click.echo(merged, err=True, nl=False)
        raise NotUpToDateError(profiles[0])


class NotUpToDateError(SpoError):
    """``--check``: the first profile lacks something of the others."""

    exit_status = ExitStatus.FAILED

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path} is not up to date: the merged profile, shown above, differs"
