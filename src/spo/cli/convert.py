"""``spoc convert``: between the object and the file of container runtimes."""

import click
import msgspec

from spo.cli.options import output_option
from spo.cli.output import notes
from spo.cli.profile_files import STDIO, OutputType, object_name, read_profile, write_profile

MODE = 0o600


@click.command()
@click.argument("profile")
@output_option(STDIO)
@click.option(
    "-p", "--program-name", metavar="NAME", help="Name of the object; default: the name of the file."
)
def convert(profile: str, output: str, program_name: str | None) -> None:
    """Convert between SeccompProfile YAML and OCI JSON.

    A SeccompProfile becomes the JSON that container runtimes read, and that JSON a SeccompProfile.

    \b
    Examples:
      spoc convert -o ls.json ls.yaml
      spoc convert -p ls ls.json > ls.yaml
    """
    file = read_profile(profile)
    notes(profile, file.notes)
    if file.type == "seccomp" and file.profile.spec.base_profile_name:
        notes(profile, ["spec.baseProfileName: its syscalls are not in the JSON; only a cluster knows them"])
    converted = file.profile
    if program_name:
        metadata = msgspec.structs.replace(converted.metadata, name=object_name(program_name))
        converted = msgspec.structs.replace(converted, metadata=metadata)
    wanted: OutputType = "raw-seccomp" if file.type == "seccomp" else "seccomp"
    write_profile(converted, output, wanted, mode=MODE)
