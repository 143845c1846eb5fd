"""Merge profiles of several runs: the result does to each syscall the laxest of what any of them does."""

from collections.abc import Iterable, Sequence

import msgspec

from spo.api.seccomp_profile import Arg, SeccompProfile, SeccompProfileSpec, Syscall
from spo.errors import TerminalError
from spo.names import RUNTIME_BASE_ANNOTATION, SYSCALLS_BY_ARCHITECTURE_ANNOTATION
from spo.recording.annotations import compact, passing, runtime_base, syscalls_by_architecture
from spo.recording.verdict import STRICTNESS, Condition, Outcome, Rule, Verdict, Verdicts, laxest


class NotMergeableError(TerminalError):
    """Profiles differ in something of which there is no union."""

    def __init__(self, field: str, values: Sequence[str]) -> None:
        super().__init__(field, values)
        self.field = field
        self.values = values

    def __str__(self) -> str:
        shown = ", ".join(repr(value) for value in self.values)
        return f"the profiles cannot be merged: spec.{self.field} differs ({shown}); make it the same"


def union(profiles: Sequence[SeccompProfile]) -> SeccompProfile:
    """One profile that lets pass what any of the given ones does.

    Everything but rules, architectures, flags and our annotations is the first one's. The output is
    normalised: syscalls in as few rules as possible, sorted, without those that repeat the default. A
    condition on arguments that is stricter than what the merged profile does otherwise is kept only if
    all profiles have it. One profile alone is normalised.

    Raises:
        NotMergeableError: base profiles or listeners differ.
        InvalidProfileError: an errnoRet is no number.
    """
    specs = [profile.spec for profile in profiles]
    for field in ("base_profile_name", "listener_path", "listener_metadata"):
        values = list(dict.fromkeys(getattr(spec, field) or "" for spec in specs))
        if len(values) > 1:
            raise NotMergeableError(_camel(field), values)
    merged = msgspec.structs.replace(
        specs[0],
        default_action=str(laxest(Verdicts(spec).default for spec in specs).action),
        architectures=_in_order(spec.architectures for spec in specs),
        flags=sorted({flag for spec in specs for flag in spec.flags}),
        syscalls=_merged_rules([Verdicts(spec) for spec in specs]),
    )
    metadata = msgspec.structs.replace(profiles[0].metadata, annotations=_annotations(profiles, merged))
    return msgspec.structs.replace(profiles[0], metadata=metadata, spec=merged)


def _merged_rules(verdicts: Sequence[Verdicts]) -> list[Syscall]:
    default = laxest(one.default for one in verdicts)
    names_by_rule: dict[Rule, set[str]] = {}
    for name in frozenset[str]().union(*(one.mentioned for one in verdicts)):
        verdict = _merged([one[name] for one in verdicts], default)
        if verdict.otherwise != default:
            names_by_rule.setdefault(Rule((), verdict.otherwise), set()).add(name)
        for rule in verdict.rules:
            names_by_rule.setdefault(rule, set()).add(name)
    return [_entry(rule, names) for rule, names in sorted(names_by_rule.items(), key=_order)]


def _merged(verdicts: Sequence[Verdict], default: Outcome) -> Verdict:
    otherwise = laxest(verdict.otherwise for verdict in verdicts)
    in_all = frozenset(verdicts[0].rules).intersection(*(verdict.rules for verdict in verdicts[1:]))
    kept: dict[tuple[Condition, ...], Outcome] = {}
    for rule in (rule for verdict in verdicts for rule in verdict.rules):
        if rule in in_all or STRICTNESS[rule.outcome.action] < STRICTNESS[otherwise.action]:
            present = kept.get(rule.conditions, rule.outcome)
            kept[rule.conditions] = laxest((present, rule.outcome))
    rules = tuple(Rule(conditions, outcome) for conditions, outcome in kept.items() if outcome != default)
    if otherwise == default:
        return Verdict(default, rules)
    # A rule without conditions wins over all others of its syscall: there can be only one or the others.
    # If it refuses, the others stay, for they let something pass; what else happens is up to the default.
    return Verdict(default, rules) if otherwise.refuses and kept else Verdict(otherwise)


def _order(item: tuple[Rule, set[str]]) -> tuple[str, int, tuple[Condition, ...]]:
    rule = item[0]
    return rule.outcome.action, -1 if rule.outcome.errno is None else rule.outcome.errno, rule.conditions


def _entry(rule: Rule, names: set[str]) -> Syscall:
    return Syscall(
        names=sorted(names),
        action=str(rule.outcome.action),
        errno_ret=rule.outcome.errno,
        args=[
            Arg(index=index, value=value, value_two=value_two, op=op)
            for index, value, value_two, op in rule.conditions
        ],
    )


def _annotations(profiles: Sequence[SeccompProfile], merged: SeccompProfileSpec) -> dict[str, str]:
    """The first one's, with ours made anew."""
    result = dict(profiles[0].metadata.annotations)
    for ours in (RUNTIME_BASE_ANNOTATION, SYSCALLS_BY_ARCHITECTURE_ANNOTATION):
        result.pop(ours, None)
    bases = [runtime_base(profile) for profile in profiles]
    made_by_program = [passing(profile.spec) - base for profile, base in zip(profiles, bases, strict=True)]
    base = frozenset[str]().union(*bases).difference(*made_by_program) & passing(merged)
    if base:
        result[RUNTIME_BASE_ANNOTATION] = compact(sorted(base))
    if len(merged.architectures) > 1 and any(
        SYSCALLS_BY_ARCHITECTURE_ANNOTATION in profile.metadata.annotations for profile in profiles
    ):
        by_architecture: dict[str, set[str]] = {}
        for profile in profiles:
            for architecture, names in syscalls_by_architecture(profile).items():
                by_architecture.setdefault(architecture, set()).update(names)
        result[SYSCALLS_BY_ARCHITECTURE_ANNOTATION] = compact(
            {architecture: sorted(names) for architecture, names in by_architecture.items()}
        )
    return result


def _in_order(lists: Iterable[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(word for words in lists for word in words))


def _camel(field: str) -> str:
    first, *rest = field.split("_")
    return first + "".join(word.capitalize() for word in rest)
