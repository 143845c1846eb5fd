"""``spoc check``: what a profile would have done to a recording."""

import re

import click

from spo.cli.errors import ExitStatus, TroubleError
from spo.cli.named_profiles import read_named_profile
from spo.cli.output import count, names, notes, say, verdict_text
from spo.cli.profile_files import ProfileFile, ProfileFileError, parse_profile, read_bytes
from spo.profiles.syscall_tables import all_syscall_names
from spo.recording.annotations import AnnotationError, passing, runtime_base, syscalls_by_architecture
from spo.recording.difference import Refusal, Replay, replay

Recording = dict[str | None, frozenset[str]]
_NAMES = re.compile(r"[a-z0-9_]+(?:\s+[a-z0-9_]+)*\s*")
_COMMENT = re.compile(r"#.*")


@click.command()
@click.argument("profile")
@click.argument("recording")
@click.pass_context
def check(context: click.Context, profile: str, recording: str) -> None:
    """Tell what a profile would have done to a recording.

    RECORDING is a recorded profile, or a list of syscall names. Calls that PROFILE refuses come first, then
    those that depend on arguments, then what it allows though it was never seen. PROFILE may be
    RuntimeDefault, which is what containers get without a profile.

    Exit status: 0 nothing would be refused, 1 something would be, 2 trouble.

    \b
    Examples:
      spoc check strict.yaml recorded.yaml
      spoc check RuntimeDefault recorded.yaml
    """
    try:
        file = read_named_profile(profile)
        notes(profile, file.notes)
        recorded = _recording(recording)
        found = replay(file.profile.spec, recorded)
        base = runtime_base(file.profile)
    except (ProfileFileError, AnnotationError) as error:
        raise TroubleError(str(error)) from error
    if file.profile.spec.base_profile_name:
        notes(profile, ["spec.baseProfileName: its syscalls are not looked at"])
    _print(found, base, several=len(recorded) > 1)
    if found.refused or found.missing_architectures:
        context.exit(ExitStatus.FAILED)


def _recording(path: str) -> Recording:
    content = read_bytes(path)
    try:
        text = _COMMENT.sub("", content.decode()).strip()
    except UnicodeDecodeError:
        text = ""
    if _NAMES.fullmatch(text):
        named = frozenset(text.split())
        for name in sorted(named - all_syscall_names()):
            raise ProfileFileError(path, f"is no recording: {name!r} is no syscall")
        return {None: named}
    file: ProfileFile = parse_profile(content, path)
    notes(path, file.notes)
    by_architecture = syscalls_by_architecture(file.profile)
    base = runtime_base(file.profile)
    if not by_architecture:
        return {None: passing(file.profile.spec) - base}
    return {architecture: found - base for architecture, found in by_architecture.items()}


def _print(found: Replay, base: frozenset[str], *, several: bool) -> None:
    for architecture in found.missing_architectures:
        say(f"refused: every call of {architecture}, which is not among spec.architectures")
    if found.refused:
        say(f"refused: {count(found.refused, 'syscall')}")
        for call in found.refused:
            say(_line(call, several))
    if found.conditional:
        say(f"depends on arguments, which are not recorded: {count(found.conditional, 'syscall')}")
        for call in found.conditional:
            say(_line(call, several))
    unused = [name for name in found.unused if name not in base]
    if unused:
        say(f"allowed but never seen: {count(unused, 'syscall')}")
        names(unused)
    if not (found.refused or found.missing_architectures or found.conditional):
        say("nothing would be refused")


def _line(call: Refusal, several: bool) -> str:
    where = f" ({call.architecture})" if several and call.architecture else ""
    return f"  {call.name}{where}: {verdict_text(call.verdict)}"
