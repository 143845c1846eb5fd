"""``spoc base``: what the container runtime of this machine needs of every profile."""

from pathlib import Path
from typing import Final

import click

from spo.cli.group import HELP_OPTIONS
from spo.cli.options import output_option, type_option
from spo.cli.profile_files import STDIO, OutputType

DEFAULT_RUNS: Final = 10


@click.group(context_settings=HELP_OPTIONS)
def base() -> None:
    """Measure what the container runtime itself does under a profile.

    \b
    Example:
      spoc base measure -o base.yaml
    """


@base.command()
@click.option(
    "-r", "--runtime", metavar="NAME", help="runc, crun or a path; default: the first that is installed."
)
@click.option(
    "--runs",
    type=click.IntRange(1, 1000),
    default=DEFAULT_RUNS,
    show_default=True,
    help="Containers of each kind; runc does not do the same each time.",
)
@click.option(
    "--no-new-privileges", is_flag=True, help="Only containers with noNewPrivileges, which need less."
)
@click.option("--btf", type=click.Path(path_type=Path), metavar="PATH", help="As for spoc record.")
@output_option(STDIO)
@type_option("The file")
def measure(
    *,
    runtime: str | None,
    runs: int,
    no_new_privileges: bool,
    btf: Path | None,
    output: str,
    type_: OutputType,
) -> None:
    """Write a profile of what the runtime calls between loading a filter and starting the program.

    It starts short containers and records them; needs root. Merge the result into profiles of programs, or
    name it in baseProfileName.

    \b
    Examples:
      spoc base measure -r runc -o base.yaml
      spoc merge -o web.yaml recorded.yaml base.yaml
    """
    # Slow to import, and not needed for the help.
    from spo.bpf.observation import Observation  # noqa: PLC0415 - see above
    from spo.bpf.recorder import Recorder  # noqa: PLC0415 - see above
    from spo.cli.named_profiles import this_machine  # noqa: PLC0415 - see above
    from spo.cli.profile_files import object_name, write_profile  # noqa: PLC0415 - see above
    from spo.cli.recording_session import signals_held  # noqa: PLC0415 - see above
    from spo.cli.runtime_measurement import Runtime  # noqa: PLC0415 - see above
    from spo.recording.profile import profile_of  # noqa: PLC0415 - see above

    machine = this_machine()
    if machine is None:
        raise click.ClickException("syscalls of this kind of machine are not recorded")
    program = Runtime.find(runtime)
    names: set[str] = {"execve"}
    with signals_held():
        recorder = Recorder.load(btf=btf)
    with recorder:
        recorder.attach()
        recorder.record_namespaces(True)
        for restricted in (True,) if no_new_privileges else (True, False):
            found = program.measure(recorder, runs, machine, no_new_privileges=restricted)
            what = "with" if restricted else "without"
            click.echo(f"{program.title}: {len(found)} syscalls {what} noNewPrivileges", err=True)
            names |= found
    profile = profile_of(object_name(program.title), Observation.EMPTY, machine, base=names)
    write_profile(profile, output, type_)
