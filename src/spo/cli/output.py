"""What commands print: plain lines, in which nothing from a file controls the terminal."""

from collections.abc import Iterable, Sized
from textwrap import wrap

import click

from spo.cli.text import printable
from spo.recording.verdict import Rule, Verdict

WIDTH = 100
_OPERATORS = {
    "SCMP_CMP_NE": "!=",
    "SCMP_CMP_LT": "<",
    "SCMP_CMP_LE": "<=",
    "SCMP_CMP_EQ": "==",
    "SCMP_CMP_GE": ">=",
    "SCMP_CMP_GT": ">",
}


def say(line: str = "") -> None:
    """A line of the result."""
    click.echo(printable(line))


def heading(line: str) -> None:
    """A line that begins a new part of the result."""
    click.echo()
    say(line)


def notes(path: str, found: Iterable[str]) -> None:
    """What is odd about a file, on stderr."""
    for note in found:
        click.echo(printable(f"Warning: {path}: {note}"), err=True)


def names(found: Iterable[str], indent: str = "  ") -> None:
    """Syscalls in paragraphs."""
    for line in wrap(" ".join(found), WIDTH, break_long_words=False, break_on_hyphens=False):
        say(indent + line)


def verdict_text(verdict: Verdict) -> str:
    """In one line what happens to a syscall."""
    rules = [f"{rule.outcome} if {conditions_text(rule)}" for rule in verdict.rules]
    return ", ".join([*rules, f"else {verdict.otherwise}" if rules else str(verdict.otherwise)])


def conditions_text(rule: Rule) -> str:
    """As in ``arg0 == 0x8 and arg1 & 0xff == 0x1``."""
    return " and ".join(_condition(*condition) for condition in rule.conditions)


def _condition(index: int, value: int, value_two: int, op: str) -> str:
    if op == "SCMP_CMP_MASKED_EQ":
        return f"arg{index} & {value:#x} == {value_two:#x}"
    return f"arg{index} {_OPERATORS[op]} {value:#x}"


def count(found: Sized, singular: str, plural: str | None = None) -> str:
    """``1 syscall``, ``2 syscalls``."""
    return f"{len(found)} {singular if len(found) == 1 else plural or singular + 's'}"
