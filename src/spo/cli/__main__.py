"""Entry point of ``spoc``: runs a command, turns errors into one line and an exit status."""

# ruff: noqa: E402 - see _on_interrupt
import os
import signal
import sys
from contextlib import suppress
from typing import Final

# Ctrl-C during the imports below ends us at once, without a traceback.
_on_interrupt = signal.getsignal(signal.SIGINT)
if _on_interrupt is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import click

from spo.cli.errors import ExitStatus
from spo.cli.group import HELP_OPTIONS, Entry, LazyGroup
from spo.cli.text import printable
from spo.errors import SpoError

if _on_interrupt is signal.default_int_handler:
    signal.signal(signal.SIGINT, _on_interrupt)

PROGRAM: Final = "spoc"

ENTRIES: Final = (
    Entry("record", "r", "record", "Record a command, a process or a container, and write its profile."),
    Entry("run", "x", "run", "Run a command under a seccomp profile."),
    Entry("merge", "m", "merge", "Merge the profiles of several recordings into one."),
    Entry("diff", "d", "diff", "Show what differs between two profiles, or a profile and the default."),
    Entry("check", "k", "check", "Tell what a profile would have done to a recording."),
    Entry("show", "s", "show", "Explain a profile: syscalls by purpose, with notes about risks."),
    Entry("convert", "c", "convert", "Convert between SeccompProfile YAML and OCI JSON."),
    Entry("install", "i", "install", "Put a profile where Podman and the kubelet find it."),
    Entry("remove", "rm", "install", "Remove a profile that was installed."),
    Entry("base", "b", "base", "Measure what the container runtime itself does under a profile."),
    Entry("hook", None, "hook", "Record containers that ask for it by an annotation."),
    Entry(
        "recording", None, "recording", "Show what a cluster has recorded, ask for profiles of running pods."
    ),
    Entry("cluster", None, "cluster", "Show how the operator of a cluster fares, or remove it."),
    Entry("completion", None, "completion", "Print the completion script of a shell."),
    Entry("version", "v", "version", "Print the version and what it runs on."),
)
"""The commands in the order of the help."""

cli: Final = LazyGroup(
    PROGRAM,
    ENTRIES,
    context_settings=HELP_OPTIONS,
    help="""Record what syscalls a program makes, and run programs with no others.

    \b
    Examples:
      spoc record -o ls.yaml -- ls
      spoc run -p ls.yaml -- ls
    """,
    no_args_is_help=True,
)


def main() -> None:
    """Run the command of the command line."""
    _fill_closed_streams()
    status = run_cli(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            # Python would try again at its end and complain once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            status = status or _not_written(error)
    sys.exit(status)


def _fill_closed_streams() -> None:
    """Keep files that we open from becoming standard output; what is written to it fails as it should."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDONLY), mode))


def run_cli(arguments: list[str]) -> int:
    """Run a command; errors become a line on stderr.

    Returns:
        The exit status.
    """
    try:
        return _status(cli.main(arguments, prog_name=PROGRAM, standalone_mode=False))
    except click.Abort:
        return ExitStatus.INTERRUPTED
    except OSError as error:
        return _not_written(error)
    except click.ClickException as error:
        return _refused(error)
    except SpoError as error:
        _complain(str(error))
        return getattr(error, "exit_status", ExitStatus.FAILED)


def _refused(error: click.ClickException) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
    elif isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else PROGRAM
        _complain(f"{error.format_message().rstrip('.')}; see '{path} --help'")
    else:
        _complain(error.format_message())
    return error.exit_code


def _not_written(error: OSError) -> int:
    """Commands turn errors of files into ours; what is left is the output. A reader who went away is none."""
    if not isinstance(error, BrokenPipeError):
        where = f"{error.filename}" if error.filename else "cannot write standard output"
        _complain(f"{where}: {error.strerror}")
    return ExitStatus.FAILED


def _status(result: object) -> int:
    return result if isinstance(result, int) else ExitStatus.OK


def _complain(problem: str) -> None:
    line = " ".join(problem.split())
    with suppress(OSError):
        click.echo(f"Unable to run: {printable(line)}", err=True)


if __name__ == "__main__":
    main()
