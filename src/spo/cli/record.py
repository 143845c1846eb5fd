"""``spoc record``: run something, or watch something that runs, and write down what it needs."""

import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import click

from spo.cli.group import HELP_OPTIONS
from spo.cli.inheritance import environment
from spo.cli.options import not_empty
from spo.cli.profile_files import DEFAULT_OUTPUT, OUTPUT_TYPES, STDIO, OutputError, OutputType
from spo.errors import SpoError

if TYPE_CHECKING:
    from spo.bpf.observation import Observation
    from spo.cli.held_process import User
    from spo.cli.recording_session import Recorded
    from spo.recording.profile import Machine

_DEFAULT_RAW_OUTPUT: Final = str(Path(DEFAULT_OUTPUT).with_suffix(".json"))
_CONTAINER: Final = re.compile(r"[0-9a-f]{12,64}")
_MACHINES: Final[Mapping[str, str]] = {"arm64": "aarch64"}


class NothingRecordedError(SpoError):
    """A profile without a syscall would refuse everything: none is written."""

    def __init__(self, notes: tuple[str, ...] = ()) -> None:
        super().__init__(notes)
        self.notes = notes

    def __str__(self) -> str:
        return "; ".join(("nothing was recorded, so no profile was written", *self.notes))


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options and arguments of the command line."""

    command: tuple[str, ...]
    output_file: str | None
    type_: OutputType
    pid: int | None
    container: str | None
    no_start: bool
    container_base: bool
    base_syscalls: tuple[str, ...]
    no_base_syscalls: bool
    privileged: bool
    btf: Path | None
    quiet: bool

    @property
    def output(self) -> str:
        """The file to write."""
        return self.output_file or (DEFAULT_OUTPUT if self.type_ == OUTPUT_TYPES[0] else _DEFAULT_RAW_OUTPUT)

    @property
    def name(self) -> str:
        """What is recorded, for people; its nearest valid form is the name of the profile."""
        if self.command:
            return Path(self.command[0]).name
        return self.container or f"pid-{self.pid}"


def _container(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not _CONTAINER.fullmatch(value):
        raise click.BadParameter(
            "give the id of a container, 12 to 64 hexadecimal digits, as `podman ps` shows it"
        )
    return value


@click.command(
    "record",
    # What follows the command belongs to it, also without --.
    context_settings=HELP_OPTIONS | {"allow_interspersed_args": False},
    epilog="Under sudo the command runs as the user who called sudo, unless --privileged is given.",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "-o",
    "--output-file",
    default=None,
    metavar="FILE",
    callback=not_empty,
    help=f"Where to write the profile; - is standard output.  [default: {DEFAULT_OUTPUT}, or .json]",
)
@click.option(
    "-t",
    "--type",
    "type_",
    type=click.Choice(OUTPUT_TYPES),
    default=OUTPUT_TYPES[0],
    show_default=True,
    help="A SeccompProfile in YAML, or the JSON that container runtimes read.",
)
@click.option("--pid", type=click.IntRange(min=1), help="Record this process and its descendants instead.")
@click.option(
    "--container",
    metavar="ID",
    callback=_container,
    help="Record this container of Podman, Docker, containerd or CRI-O; it may start later.",
)
@click.option(
    "--no-start",
    "--no-proc-start",
    is_flag=True,
    help="Start nothing; needs --pid or --container, which imply it.",
)
@click.option(
    "--container-base",
    is_flag=True,
    help="Add what a container runtime needs to start the program under the profile.",
)
@click.option(
    "-b", "--base-syscalls", multiple=True, metavar="NAME", help="Add this syscall; may be given again."
)
@click.option("-n", "--no-base-syscalls", is_flag=True, help="Add none; this is the default.")
@click.option("--privileged", is_flag=True, help="Under sudo, run the command as root.")
@click.option(
    "--btf",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="BTF file, or directory in BTFHub layout, for kernels without BTF.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress, no summary.")
def record(**options: Any) -> None:
    """Record a command, a process or a container, and write its profile.

    The profile holds the syscalls of the program and nothing else. Needs root.

    \b
    Example:
      spoc record -o ls.yaml -- ls -l /
      spoc record -t raw-seccomp --container-base --container 9a3f0c27d1e4 -o app.json
    """
    wanted = Wanted(**options)
    _check(wanted)
    _check_output(wanted.output)
    _run(wanted)


def _run(wanted: Wanted) -> None:
    """Record, write, report, and end as the command ended."""
    # The modules below take time to import; usage errors come without.
    from spo.cli import held_process  # noqa: PLC0415 - see above
    from spo.cli.live_line import LiveLine  # noqa: PLC0415 - see above
    from spo.cli.profile_files import object_name, write_profile  # noqa: PLC0415 - see above
    from spo.cli.recording_session import signals_held  # noqa: PLC0415 - see above
    from spo.recording.profile import profile_of, warnings_of  # noqa: PLC0415 - see above
    from spo.recording.runtime_base import base_of  # noqa: PLC0415 - see above

    machine = _machine()
    line = LiveLine(lambda observation: _names(observation, machine))
    user = None if wanted.privileged else held_process.User.behind_sudo(os.environ)
    try:
        recorded = _record(wanted, user, _ignore if wanted.quiet else line.update)
    finally:
        line.end()
    observation = recorded.observation
    if _names(observation, machine):
        base = set(wanted.base_syscalls)
        if wanted.container_base:
            base |= base_of(observation, machine)
        profile = profile_of(object_name(wanted.name), observation, machine, base=base)
        with signals_held() as signals:
            write_profile(profile, wanted.output, wanted.type_)
            signals.drop()
        for text in (*recorded.notes, *_losses(recorded), *warnings_of(observation, machine)):
            _tell(f"warning: {text}")
        if not wanted.quiet:
            _tell(_summary(wanted, len(_names(observation, machine)), recorded.seconds))
    elif recorded.status is None:
        raise NothingRecordedError(recorded.notes)
    if recorded.status is not None:
        sys.stdout.flush()
        held_process.end_like(recorded.status)


def _check(wanted: Wanted) -> None:
    """Refuse what contradicts itself."""
    if wanted.pid is not None and wanted.container is not None:
        raise click.UsageError("--pid and --container exclude each other")
    running = wanted.pid is not None or wanted.container is not None
    if wanted.no_start and not running:
        raise click.UsageError("--no-start needs --pid or --container")
    if wanted.command and running:
        raise click.UsageError("with --pid or --container no command is started; leave it out")
    if not wanted.command and not running:
        raise click.UsageError("no command provided; give it after --, or --pid, or --container")
    if wanted.base_syscalls and wanted.no_base_syscalls:
        raise click.UsageError("--base-syscalls and --no-base-syscalls exclude each other")
    if wanted.base_syscalls:
        from spo.profiles.syscall_tables import all_syscall_names  # noqa: PLC0415 - only needed here

        unknown = [name for name in wanted.base_syscalls if name not in all_syscall_names()]
        if unknown:
            raise click.BadParameter(f"no such syscall: {', '.join(unknown)}", param_hint="--base-syscalls")


def _check_output(output: str) -> None:
    """Before anything runs: a recording that cannot be written is lost."""
    directory = Path(output).parent
    if output == STDIO or (directory.is_dir() and os.access(directory, os.W_OK)):
        return
    if not directory.is_dir():
        raise OutputError(output, f"there is no directory {directory}")
    raise OutputError(output, "permission denied")


def _record(wanted: Wanted, user: "User | None", progress: "Callable[[Observation], None]") -> "Recorded":
    from spo.bpf.recorder import Recorder  # noqa: PLC0415 - as in _run
    from spo.cli import recording_session  # noqa: PLC0415 - as in _run

    def started(running: bool = True) -> None:
        if not wanted.quiet:
            what = f"process {wanted.pid}" if wanted.container is None else f"container {wanted.container}"
            note = "" if running else "; it does not run yet, waiting for its start"
            _tell(f"recording {what} until it ends, or Ctrl-C{note}")

    with recording_session.signals_held():
        recorder = Recorder.load(btf=wanted.btf)
    with recorder:
        if wanted.pid is not None:
            return recording_session.record_processes(
                recorder, wanted.pid, started=started, progress=progress
            )
        if wanted.container is not None:
            return recording_session.record_container(
                recorder, wanted.container, started=started, progress=progress
            )
        found = environment()
        env = user.environment(found) if user else found
        return recording_session.record_command(recorder, wanted.command, env, user=user, progress=progress)


def _tell(text: str) -> None:
    """On stderr, if there is one; without it the exit status is still the command's."""
    with suppress(OSError):
        click.echo(text, err=True)


def _losses(recorded: "Recorded") -> tuple[str, ...]:
    if not any(recorded.losses):
        return ()
    counts = ", ".join(f"{name} {count}" for name, count in recorded.losses._asdict().items() if count)
    return (f"the recording is incomplete: {counts}",)


def _summary(wanted: Wanted, count: int, seconds: float) -> str:
    where = "standard output" if wanted.output == STDIO else wanted.output
    return f"{wanted.name}: {count} syscalls in {seconds:.1f} s, written to {where}"


def _names(observation: "Observation", machine: "Machine") -> frozenset[str]:
    from spo.recording.profile import syscall_names  # noqa: PLC0415 - as in the command

    return frozenset().union(*syscall_names(observation, machine).values())


def _ignore(_observation: "Observation") -> None:
    """For --quiet."""


def _machine() -> "Machine":
    name = os.uname().machine
    return cast("Machine", _MACHINES.get(name, name))
