"""``spoc show``: a profile explained."""

import click

from spo.cli.named_profiles import read_named_profile
from spo.cli.output import conditions_text, count, heading, names, notes, say
from spo.recording.annotations import passing, runtime_base
from spo.recording.purposes import RISKS, by_purpose
from spo.recording.verdict import Verdicts


@click.command()
@click.argument("profile")
def show(profile: str) -> None:
    """Explain a profile: syscalls by purpose, with notes about risks.

    \b
    Example:
      spoc show profile.yaml
    """
    file = read_named_profile(profile)
    notes(profile, file.notes)
    spec = file.profile.spec
    verdicts = Verdicts(spec)
    allowed, base = passing(spec), runtime_base(file.profile)
    number = count(allowed, "syscall")
    say(f"{file.profile.metadata.name}: {number} allowed, others: {verdicts.default}")
    say(f"architectures: {', '.join(spec.architectures) or 'that of the machine'}")
    if spec.base_profile_name:
        say(f"base profile: {spec.base_profile_name}, whose syscalls are not shown")
    for purpose, found in by_purpose(allowed - base).items():
        heading(f"{purpose} ({len(found)})")
        names(found)
    if base:
        heading(f"For the container runtime only ({len(base)})")
        names(sorted(base))
    _refused(verdicts)
    _conditional(verdicts)
    risky = sorted(name for name in allowed if name in RISKS)
    if risky:
        heading(f"Risks ({len(risky)})")
        for name in risky:
            say(f"  {name}: {RISKS[name]}")


def _refused(verdicts: Verdicts) -> None:
    refused = sorted(name for name in verdicts.mentioned if verdicts[name].never_passes)
    if refused:
        heading(f"Refused by name ({len(refused)})")
        names(refused)


def _conditional(verdicts: Verdicts) -> None:
    conditional = [name for name in sorted(verdicts.mentioned) if verdicts[name].rules]
    if not conditional:
        return
    heading(f"Depends on arguments ({len(conditional)})")
    for name in conditional:
        for rule in verdicts[name].rules:
            say(f"  {name}: {rule.outcome} if {conditions_text(rule)}")
