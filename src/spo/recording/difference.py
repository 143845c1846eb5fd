"""What differs between two profiles, and between a profile and what was recorded."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from spo.api.seccomp_profile import Architecture, SeccompProfileSpec
from spo.recording.verdict import Outcome, Verdict, Verdicts

SECONDARY: Final = frozenset({Architecture.X86, Architecture.X32, Architecture.ARM})
"""Architectures that a machine has besides its native one, whose calls no filter lacks."""


class Change(NamedTuple):
    """A syscall to which two profiles do different things."""

    name: str
    before: Verdict
    after: Verdict


class Difference(NamedTuple):
    """Empty if two profiles make the same filter."""

    default: tuple[Outcome, Outcome] | None
    """Before and after; ``None`` if it is the same."""
    architectures: tuple[tuple[str, ...], tuple[str, ...]]
    """Removed and added, sorted."""
    flags: tuple[tuple[str, ...], tuple[str, ...]]
    """Removed and added, sorted."""
    changes: tuple[Change, ...]
    """By name. Of syscalls that neither profile mentions, none: ``default`` says what happens to them."""

    def __bool__(self) -> bool:
        return bool(self.default or any(self.architectures) or any(self.flags) or self.changes)


def difference(
    before: SeccompProfileSpec, after: SeccompProfileSpec, native: Architecture | None = None
) -> Difference:
    """Compare what two validated profiles do; how they are written does not matter.

    Args:
        before: one profile.
        after: the other.
        native: architecture of the machine; whether a profile names it makes no difference there.
    """
    ours = {native, Architecture.NATIVE} if native else set()
    old, new = Verdicts(before), Verdicts(after)
    names = sorted(old.mentioned | new.mentioned)
    return Difference(
        (old.default, new.default) if old.default != new.default else None,
        _set_difference({*before.architectures} - ours, {*after.architectures} - ours),
        _set_difference({*before.flags}, {*after.flags}),
        tuple(Change(name, old[name], new[name]) for name in names if not _same(old[name], new[name])),
    )


class Refusal(NamedTuple):
    """A recorded syscall that a profile does not let pass, always or for some arguments."""

    name: str
    architecture: str | None
    """``None`` if the recording does not tell."""
    verdict: Verdict


class Replay(NamedTuple):
    """What a profile would have done to a recording."""

    refused: tuple[Refusal, ...]
    """Would not have been carried out."""
    conditional: tuple[Refusal, ...]
    """Depends on arguments, which are not recorded."""
    unused: tuple[str, ...]
    """Named by the profile and let pass, but never seen."""
    missing_architectures: tuple[str, ...]
    """Seen, but not of the profile: every call of theirs is refused, whatever its name."""


def replay(spec: SeccompProfileSpec, recorded: Mapping[str | None, frozenset[str]]) -> Replay:
    """Judge every recorded call.

    Args:
        spec: a validated profile.
        recorded: names by architecture; ``None`` stands for an architecture that is not known.
    """
    verdicts = Verdicts(spec)
    missing = tuple(sorted(one for one in recorded if one in SECONDARY and one not in spec.architectures))
    refused, conditional = [], []
    for architecture, names in recorded.items():
        for name in sorted(names) if architecture not in missing else ():
            verdict = verdicts[name]
            if verdict.never_passes:
                refused.append(Refusal(name, architecture, verdict))
            elif not verdict.always_passes:
                conditional.append(Refusal(name, architecture, verdict))
    seen = frozenset[str]().union(*recorded.values())
    unused = sorted(name for name in verdicts.mentioned - seen if not verdicts[name].never_passes)
    return Replay(tuple(refused), tuple(conditional), tuple(unused), missing)


def _same(one: Verdict, other: Verdict) -> bool:
    return one.otherwise == other.otherwise and frozenset(one.rules) == frozenset(other.rules)


def _set_difference(before: set[str], after: set[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(sorted(before - after)), tuple(sorted(after - before))
