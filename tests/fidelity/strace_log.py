"""Read what ``strace -f -n --quiet=attach -o FILE`` wrote: which syscalls a tree of processes entered.

Numbers are compared, not names: strace prints both, and only the number is the kernel's own. The class
of a call (64 or 32 bits) is in no line; it follows from the pair of number and name, and where both
tables have that pair, from what the process did before and from the lines about its personality.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from spo.bpf.observation import SyscallClass
from spo.profiles.syscall_tables import syscall_names

Call = tuple[SyscallClass, int]
"""A syscall: its class and its number there."""

TABLES: Final[Mapping[SyscallClass, str]] = {
    SyscallClass.NATIVE: "SCMP_ARCH_X86_64",
    SyscallClass.COMPAT: "SCMP_ARCH_X86",
}
EXECVE: Final = frozenset({(SyscallClass.NATIVE, 59), (SyscallClass.NATIVE, 322)})

# The number is that of the call the process is in, also beside signals and ends.
_LINE: Final = re.compile(r"(?P<pid>\d+) +(?:\[ *(?P<number>\d+|\?+)\] )?(?P<rest>.*)")
_CALL: Final = re.compile(
    r"(?:<\.\.\. (?P<resumed>\w+) resumed>|(?P<entered>\w+)\()"
    r"(?P<end>.*)"
)
_PERSONALITY: Final = re.compile(r"\[ Process PID=\d+ runs in (?P<bits>64|32|x32) bit mode\. \]")
# A signal, the end of a process, or an execve of another thread: not calls.
_EVENT: Final = re.compile(r"---|\+\+\+")
# strace could not read the registers, because the process had died.
_DIED: Final = re.compile(r"\?+\(|<\.\.\. \?+ resumed>")
_WITHOUT_RESULT: Final = ("<unfinished ...>", "= ?")


class StraceLogError(Exception):
    """A line that the parser does not know: the comparison would be worth nothing."""


@dataclass(slots=True)
class StraceLog:
    """What one log holds."""

    entered: dict[Call, int] = field(default_factory=dict)
    """How often each call was entered, from the first execve of the root on."""
    returned: set[Call] = field(default_factory=set)
    """Calls of which at least one came back with a result."""
    names: dict[Call, str] = field(default_factory=dict)
    """As strace calls them."""

    @property
    def calls(self) -> frozenset[Call]:
        """The distinct calls."""
        return frozenset(self.entered)

    def never_returned(self, call: Call) -> bool:
        """Whether every process that entered the call died in it.

        strace stops a process before the kernel looks at the call. If it is killed right there, strace
        has printed a call that the kernel never began.
        """
        return call in self.entered and call not in self.returned


def parse(lines: Iterable[str], root: int | None) -> StraceLog:
    """Collect the calls of a log.

    Args:
        lines: the log.
        root: the process whose calls before its first execve do not count; None: every call counts.

    Raises:
        StraceLogError: a line is of no known form.
    """
    log = StraceLog()
    started = root is None
    for pid, number, syscall_class, match in _calls(lines):
        call = (syscall_class, number)
        if not started and pid == root and match["entered"] and call in EXECVE:
            started = True
        if not started:
            continue
        name = match["entered"] or match["resumed"]
        log.names.setdefault(call, name)
        if match["entered"]:
            log.entered[call] = log.entered.get(call, 0) + 1
        if not match["end"].rstrip().endswith(_WITHOUT_RESULT):
            log.returned.add(call)
    return log


def _calls(lines: Iterable[str]) -> Iterator[tuple[int, int, SyscallClass, re.Match[str]]]:
    """Entered and resumed calls, with the process and the class."""
    classes: dict[int, SyscallClass] = {}
    for line in lines:
        head = _LINE.fullmatch(line.rstrip("\n"))
        if head is None:
            raise StraceLogError(line)
        pid, rest = int(head["pid"]), head["rest"]
        match = _CALL.fullmatch(rest)
        if match is not None and (head["number"] or "").isdigit():
            number = int(head["number"])
            known = classes.get(pid, SyscallClass.NATIVE)
            classes[pid] = class_of(number, match["entered"] or match["resumed"], known)
            yield pid, number, classes[pid], match
            continue
        personality = _PERSONALITY.fullmatch(rest)
        if personality is not None:
            classes[pid] = SyscallClass.NATIVE if personality["bits"] == "64" else SyscallClass.COMPAT
        elif not _EVENT.match(rest) and not _DIED.match(rest):
            raise StraceLogError(line)


def class_of(number: int, name: str, otherwise: SyscallClass) -> SyscallClass:
    """The only class where the number has this name; if that does not decide, what is given."""
    fitting = [known for known, table in TABLES.items() if syscall_names(table).get(number) == name]
    return fitting[0] if len(fitting) == 1 else otherwise


def name_of(call: Call) -> str:
    """The kernel's name of a call; a 32-bit one is marked."""
    syscall_class, number = call
    name = syscall_names(TABLES[syscall_class]).get(number, str(number))
    return name if syscall_class is SyscallClass.NATIVE else f"{name} (32-bit)"
