"""``spoc run``: a command under a profile."""

import os
import platform
from contextlib import suppress

import click

from spo.api.seccomp_profile import Action, SeccompProfileSpec
from spo.cli.confined_exec import exec_confined
from spo.cli.errors import ExitStatus
from spo.cli.inheritance import environment
from spo.cli.output import notes
from spo.cli.profile_files import DEFAULT_OUTPUT, OUTPUT_TYPES, ProfileFileError, read_profile
from spo.errors import SpoError
from spo.host.libseccomp import build_filter, libseccomp
from spo.profiles.syscall_tables import TABLE_OF_ARCHITECTURE, syscall_names
from spo.recording.difference import SECONDARY
from spo.recording.verdict import Verdicts


class CommandError(SpoError):
    """The command cannot be started."""

    def __init__(self, command: str, problem: str, exit_status: ExitStatus) -> None:
        super().__init__(command, problem, exit_status)
        self.command = command
        self.problem = problem
        self.exit_status = exit_status

    def __str__(self) -> str:
        return f"{self.command or repr('')}: {self.problem}"


@click.command(context_settings={"allow_interspersed_args": False})
@click.option(
    "-p",
    "--profile",
    metavar="FILE",
    default=DEFAULT_OUTPUT,
    show_default=True,
    help="SeccompProfile or OCI JSON; the content decides which.",
)
@click.option(
    "-t",
    "--type",
    "type_",
    type=click.Choice(OUTPUT_TYPES),
    help="Refuse a profile that is not of this type.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(profile: str, type_: str | None, command: tuple[str, ...]) -> None:
    """Run a command under a seccomp profile.

    The command takes the place of spoc, so its exit status and signals are its own. It cannot gain
    privileges (no_new_privs). Exit status 127: not found, 126: not executable.

    \b
    Example:
      spoc run -p ls.yaml -- ls -l /
    """
    if profile == DEFAULT_OUTPUT:
        _check_owner(profile)
    file = read_profile(profile)
    notes(profile, file.notes)
    if type_ is not None and file.type != type_:
        raise ProfileFileError(profile, f"is of type {file.type}, not {type_}")
    spec = file.profile.spec
    if spec.base_profile_name:
        notes(profile, ["spec.baseProfileName: its syscalls are missing; only a cluster knows them"])
    _check(profile, spec)
    path = find_command(command[0])
    newer = _newer_syscalls(spec)
    if newer and any(word in SECONDARY for word in spec.architectures):
        left_out = ", ".join(sorted(newer))
        notes(profile, [f"this libseccomp leaves out, with several architectures: {left_out}"])
    program = build_filter(spec, newer)
    exec_confined(program, path, command, environment(), spec.flags)


def find_command(name: str) -> str:
    """The path of a command, found as a shell does.

    Raises:
        CommandError: there is none, or it may not be executed.
    """
    if "/" in name:
        candidates = [name]
    else:
        candidates = [f"{folder or '.'}/{name}" for folder in os.environ.get("PATH", os.defpath).split(":")]
    # Not Path.is_file(): it fails for a folder of PATH that others may not enter.
    found = [path for path in candidates if os.path.isfile(path)]  # noqa: PTH113 - see above
    for path in found:
        if os.access(path, os.X_OK):
            return path
    if found:
        raise CommandError(name, "is not executable", ExitStatus.NOT_EXECUTABLE)
    raise CommandError(name, "command not found", ExitStatus.NOT_FOUND)


def _check_owner(path: str) -> None:
    """Of a file that nobody named, in a directory where everybody may put one."""
    with suppress(OSError):  # read_profile tells
        owner = os.lstat(path).st_uid
        if owner not in {0, os.geteuid()}:
            raise ProfileFileError(path, f"belongs to somebody else (uid {owner}); name it with -p to use it")


def _check(path: str, spec: SeccompProfileSpec) -> None:
    """Refuse profiles under which nothing can start: afterwards nobody could say why."""
    verdict = Verdicts(spec)["execve"]
    if verdict.never_passes:
        raise ProfileFileError(
            path, f"refuses execve ({verdict.otherwise}), so no command can be started under it; add execve"
        )
    if Action.NOTIFY in {spec.default_action, *(entry.action for entry in spec.syscalls)}:
        raise ProfileFileError(path, f"{Action.NOTIFY} needs an agent that decides, which spoc run has not")


def _newer_syscalls(spec: SeccompProfileSpec) -> dict[str, int]:
    """Numbers of the syscalls of a profile that this machine has and this libseccomp does not know."""
    architecture = f"SCMP_ARCH_{platform.machine().upper()}"
    if architecture not in TABLE_OF_ARCHITECTURE:
        return {}
    library = libseccomp()
    native = library.architecture("SCMP_ARCH_NATIVE") or 0
    named = {name for entry in spec.syscalls for name in entry.names}
    return {
        name: number
        for number, name in syscall_names(architecture).items()
        if name in named and library.syscall_number(name, native) is None
    }
