"""Merge a profile with its base profiles: the nearer one wins, syscall by syscall."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from spo.api.seccomp_profile import Arg, SeccompProfile, SeccompProfileSpec, Syscall
from spo.profiles.errno_ret import errno_number


class _Rule(NamedTuple):
    """Everything of an entry but its names; its order is the order of the output."""

    action: str
    errno_ret: int
    """-1: none."""
    args: tuple[tuple[int, int, int, str], ...]


def merge(chain: Sequence[SeccompProfile]) -> SeccompProfileSpec:
    """One spec out of a profile and its base profiles, nearest first.

    Only the syscalls are merged, everything else is the nearest profile's. Each syscall has exactly the
    entries of the nearest profile that mentions it. Entries that differ only in names become one, with
    names sorted and unique; entries are sorted by action, errnoRet, args, names, so that the same chain
    always gives the same file. Without a base, the syscalls stay as they are.

    Raises:
        InvalidProfileError: an errnoRet is no number.
    """
    own = chain[0].spec
    if len(chain) == 1:
        return own
    names_by_rule: dict[_Rule, set[str]] = {}
    decided: set[str] = set()
    for profile in chain:
        mentioned: set[str] = set()
        for name, rule in _rules(profile.spec.syscalls):
            mentioned.add(name)
            if name not in decided:
                names_by_rule.setdefault(rule, set()).add(name)
        decided |= mentioned
    merged = [_entry(rule, names) for rule, names in sorted(names_by_rule.items(), key=_rule_only)]
    return msgspec.structs.replace(own, syscalls=merged)


def _rules(syscalls: Iterable[Syscall]) -> Iterator[tuple[str, _Rule]]:
    for index, entry in enumerate(syscalls):
        errno_ret = errno_number(entry.errno_ret, f"syscalls[{index}].errnoRet")
        args = tuple((arg.index, arg.value, arg.value_two, arg.op) for arg in entry.args)
        rule = _Rule(entry.action, -1 if errno_ret is None else errno_ret, args)
        for name in entry.names:
            yield name, rule


def _rule_only(item: tuple[_Rule, set[str]]) -> _Rule:
    return item[0]


def _entry(rule: _Rule, names: set[str]) -> Syscall:
    return Syscall(
        names=sorted(names),
        action=rule.action,
        errno_ret=None if rule.errno_ret < 0 else rule.errno_ret,
        args=[
            Arg(index=index, value=value, value_two=value_two, op=op)
            for index, value, value_two, op in rule.args
        ],
    )
