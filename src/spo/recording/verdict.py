"""What a profile does to each syscall, as libseccomp makes the kernel's filter of it."""

from collections.abc import Iterable
from types import MappingProxyType
from typing import Final, NamedTuple

from spo.api.seccomp_profile import Action, Arg, SeccompProfileSpec
from spo.profiles.errno_ret import errno_number

STRICTNESS: Final = MappingProxyType(
    {
        action: rank
        for rank, action in enumerate(
            (
                Action.ALLOW,
                Action.LOG,
                Action.TRACE,
                Action.NOTIFY,
                Action.ERRNO,
                Action.TRAP,
                Action.KILL,
                Action.KILL_THREAD,
                Action.KILL_PROCESS,
            )
        )
    }
)
"""0 for the laxest action."""

REFUSING: Final = frozenset({Action.ERRNO, Action.TRAP, Action.KILL, Action.KILL_THREAD, Action.KILL_PROCESS})
"""The syscall is not carried out, and nobody else decides."""

EPERM: Final = 1

Condition = tuple[int, int, int, str]
"""Index of the argument, value, second value, operator."""


class Outcome(NamedTuple):
    """What happens to a syscall."""

    action: Action
    errno: int | None = None
    """What the caller, or the tracer, gets; ``None``: EPERM."""

    @property
    def refuses(self) -> bool:
        """The syscall is not carried out."""
        return self.action in REFUSING

    def __str__(self) -> str:
        word = self.action.removeprefix("SCMP_ACT_")
        return word if self.errno is None else f"{word}({self.errno})"


class Rule(NamedTuple):
    """An outcome that depends on arguments; all conditions must hold."""

    conditions: tuple[Condition, ...]
    outcome: Outcome


class Verdict(NamedTuple):
    """What a profile does to one syscall."""

    otherwise: Outcome
    """If no rule holds."""
    rules: tuple[Rule, ...] = ()
    """Rules on arguments whose outcome differs from ``otherwise``, each once, in the order of the profile."""

    @property
    def never_passes(self) -> bool:
        """Refused whatever the arguments are."""
        return self.otherwise.refuses and all(rule.outcome.refuses for rule in self.rules)

    @property
    def always_passes(self) -> bool:
        """Refused for no arguments."""
        return not (self.otherwise.refuses or any(rule.outcome.refuses for rule in self.rules))


class Verdicts:
    """The verdicts of one profile. Its base profile is not looked at: only its name is known here."""

    def __init__(self, spec: SeccompProfileSpec) -> None:
        """Take a validated profile."""
        self.default: Final = _outcome(spec.default_action, None)
        """What happens to a syscall that is not mentioned."""
        unconditional: dict[str, Outcome] = {}
        rules: dict[str, dict[Rule, None]] = {}
        for index, entry in enumerate(spec.syscalls):
            outcome = _outcome(entry.action, errno_number(entry.errno_ret, f"syscalls[{index}].errnoRet"))
            if outcome == self.default:
                continue  # container runtimes leave out such rules, so they win over no other
            for name in entry.names:
                if not entry.args:
                    # The first rule without conditions wins, also over those with conditions.
                    unconditional.setdefault(name, outcome)
                    continue
                for conditions in _alternatives(entry.args):
                    rules.setdefault(name, {})[Rule(conditions, outcome)] = None
        self._of = {name: Verdict(self.default, tuple(found)) for name, found in rules.items()}
        self._of |= {name: Verdict(outcome) for name, outcome in unconditional.items()}

    def __getitem__(self, name: str) -> Verdict:
        return self._of.get(name) or Verdict(self.default)

    @property
    def mentioned(self) -> frozenset[str]:
        """Names with a rule that does not repeat the default."""
        return frozenset(self._of)


def laxest(outcomes: Iterable[Outcome]) -> Outcome:
    """The outcome with the laxest action; of several, the first."""
    return min(outcomes, key=lambda outcome: STRICTNESS[outcome.action])


def _outcome(action: str, number: int | None) -> Outcome:
    """The same value for what is the same to the kernel."""
    word = Action(action)
    return Outcome(Action.KILL if word is Action.KILL_THREAD else word, None if number == EPERM else number)


def _alternatives(args: list[Arg]) -> list[tuple[Condition, ...]]:
    """All conditions together; or each alone if two look at one argument, as container runtimes do it."""
    conditions = tuple((arg.index, arg.value, arg.value_two, arg.op) for arg in args)
    if len({condition[0] for condition in conditions}) < len(conditions):
        return [(condition,) for condition in conditions]
    return [conditions]
