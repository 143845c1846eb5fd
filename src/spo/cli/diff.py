"""``spoc diff``: what differs between two profiles."""

import click

from spo.api.seccomp_profile import SeccompProfileSpec
from spo.cli.errors import ExitStatus, TroubleError
from spo.cli.named_profiles import RUNTIME_DEFAULT, native_architecture, read_named_profile
from spo.cli.output import notes, say, verdict_text
from spo.cli.profile_files import ProfileFileError
from spo.recording.difference import Change, Difference, difference
from spo.recording.runtime_default import SOURCE


@click.command()
@click.argument("before")
@click.argument("after", default=RUNTIME_DEFAULT, metavar=f"[AFTER|{RUNTIME_DEFAULT}]")
@click.pass_context
def diff(context: click.Context, before: str, after: str) -> None:
    """Show what differs between two profiles, or a profile and the default.

    One line a syscall: + let pass by AFTER only, - let pass by BEFORE only, ~ treated differently.
    RuntimeDefault in the place of a file is what containers get without a profile; it is compared with
    where AFTER is missing. How the files are written does not matter, only what their filters do.

    Exit status: 0 no difference, 1 a difference, 2 trouble.

    \b
    Examples:
      spoc diff old.yaml new.yaml
      spoc diff RuntimeDefault new.yaml
    """
    found = difference(_spec(before), _spec(after), native_architecture())
    if not found:
        return
    say(f"--- {_title(before)}")
    say(f"+++ {_title(after)}")
    _print(found)
    context.exit(ExitStatus.FAILED)


def _spec(name: str) -> SeccompProfileSpec:
    try:
        file = read_named_profile(name)
    except ProfileFileError as error:
        raise TroubleError(str(error)) from error
    notes(name, file.notes)
    return file.profile.spec


def _title(path: str) -> str:
    return f"{path} ({SOURCE})" if path == RUNTIME_DEFAULT else path


def _print(found: Difference) -> None:
    if found.default:
        say(f"~ default: {found.default[0]} -> {found.default[1]}")
    for what, (removed, added) in (("architecture", found.architectures), ("flag", found.flags)):
        for sign, words in (("-", removed), ("+", added)):
            for word in words:
                say(f"{sign} {what} {word}")
    for change in found.changes:
        say(_line(change))


def _line(change: Change) -> str:
    name, before, after = change
    if before.never_passes and not after.never_passes:
        sign, text = "+", verdict_text(after)
    elif after.never_passes and not before.never_passes:
        sign, text = "-", verdict_text(before)
    else:
        return f"~ {name}: {verdict_text(before)} -> {verdict_text(after)}"
    return f"{sign} {name}" if text == "ALLOW" else f"{sign} {name}: {text}"
