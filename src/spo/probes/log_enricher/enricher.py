"""One record in; out comes a line with its pod, and a count. Knows neither sockets nor files."""

import json
import os
import time
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Final, Protocol

from spo import klog
from spo.audit.architecture import architecture_of
from spo.audit.fields import text_of
from spo.audit.records import AppArmorRecord, Record, SeccompRecord, SelinuxRecord, timestamp
from spo.probes.log_enricher.counts import Counts, Key
from spo.probes.log_enricher.gone import Gone, GoneProcesses
from spo.probes.log_enricher.owners import Owner
from spo.probes.log_enricher.waiting import WaitingRoom
from spo.profiles.syscall_tables import syscall_names
from spo.rpc.log_enricher import (
    MAX_TEXT,
    AppArmorCount,
    KnownContainer,
    SeccompCount,
    SelinuxCount,
    TracedProcess,
)

log = klog.get("log-enricher")

MAX_CONTAINERS: Final = 1000
MAX_DEEDS: Final = 4096
"""Different (executable, syscall) pairs of one container that are remembered, ..."""
MAX_ALL_DEEDS: Final = 20_000
"""... and of all: some 500 bytes each, ..."""
LONG_EXECUTABLE: Final = 128
"""... and what is as long as this in the name of an executable counts as one more: workloads choose it."""


class Printing(StrEnum):
    """Which records become lines; all are counted."""

    ALL = "all"
    UNIQUE = "unique"
    """Each (container, executable, syscall) once, while this process remembers it."""
    NONE = "none"


class OwnerBook(Protocol):
    """Where the container of a process is looked up."""

    def find(self, pid: int, time_ms: int) -> Owner | None:
        """See :meth:`spo.probes.log_enricher.owners.Owners.find`."""

    def learn(self, pid: int, container_id: str, pod_uid: str | None, seen_s: float) -> None:
        """See :meth:`spo.probes.log_enricher.owners.Owners.learn`."""


class _Deed:
    """One syscall of one executable in one container: the parts of its lines, and how often it came."""

    __slots__ = ("after", "before", "count", "key")

    def __init__(self, key: Key, before: str, after: str) -> None:
        self.key = key
        self.before = before
        """Up to the process id."""
        self.after = after
        """Between process id and timestamp."""
        self.count = 0


class _Target:
    """A known container."""

    __slots__ = ("container", "deeds", "printed")

    def __init__(self, container: KnownContainer) -> None:
        self.container = container
        self.deeds: dict[tuple[bytes, int, int], _Deed | None] = {}
        self.printed: set[Key] = set()


class Tally:
    """Records that did not become a count."""

    __slots__ = ("no_container", "process_gone", "unknown_syscall")

    def __init__(self) -> None:
        self.no_container = 0
        self.process_gone = 0
        self.unknown_syscall = 0


class Enricher:
    """Puts owners, containers, counts and output together.

    Args:
        write: takes a line with its end.
        gone: where records of processes that have ended wait; ``None``: they are counted as lost at once.
        wall_clock: seconds since the Unix epoch, for the head of the lines.
    """

    def __init__(
        self,
        node: str,
        owners: OwnerBook,
        waiting: WaitingRoom,
        counts: Counts,
        write: Callable[[str], object],
        *,
        printing: Printing = Printing.ALL,
        gone: GoneProcesses | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._node = quoted(node)
        self._owners = owners
        self._find_owner = owners.find
        self._waiting = waiting
        self._counts = counts
        self.gone = gone
        self._write = write
        self._printing = printing
        self._prints_all = printing is Printing.ALL
        self._wall_clock = wall_clock
        self._targets: dict[str, _Target] = {}
        self._dirty: list[_Deed] = []
        self._has_news = False
        self._remembered = 0
        self._second = -1
        self._second_text = ""
        self._head_end = f" {os.getpid():7d} enricher.py:{_LINE}] log-enricher "
        self.tally = Tally()

    def handle(self, record: Record) -> bool:
        """Take a record; whether its container is one that the daemon has to be asked for."""
        self._has_news = True
        owner = self._find_owner(record.pid, record.time_ms)
        if owner is None or owner.container_id is None:
            self._without_container(record, owner)
            return False
        return self._belongs(record, owner.container_id, owner.pod_uid)

    def learn(self, processes: Iterable[TracedProcess]) -> None:
        """More is known of processes that have ended: look at their records again."""
        for one in processes:
            self._owners.learn(one.pid, one.container_id, one.pod_uid, one.seen_s)
        if self.gone is None:
            return
        for gone in self.gone.take_all():
            owner = self._find_owner(gone.record.pid, gone.record.time_ms)
            if owner is None or owner.container_id is None:
                self.gone.put_back(gone)
            else:
                self._belongs(gone.record, owner.container_id, owner.pod_uid)

    def give_up(self) -> None:
        """Count the records of ended processes that have waited in vain."""
        for gone in self.gone.take_expired() if self.gone is not None else ():
            self._has_news = True
            self._lose(gone)

    def _without_container(self, record: Record, owner: Owner | None) -> None:
        gone = Gone(record, owner is not None, 0.0)
        may_be_known = owner is None or owner.is_guess
        if self.gone is None or not may_be_known or not self.gone.wait(record, is_of_host=gone.is_of_host):
            self._lose(gone)

    def _lose(self, gone: Gone) -> None:
        if gone.is_of_host:
            self.tally.no_container += 1
        else:
            self.tally.process_gone += 1

    def _belongs(self, record: Record, container_id: str, pod_uid: str | None) -> bool:
        target = self._targets.get(container_id)
        if target is None:
            return self._waiting.wait(container_id, pod_uid, record)
        self._dispatch(target, record)
        return False

    def found(self, container: KnownContainer) -> None:
        """The daemon knows a container: dispatch what has waited for it."""
        if len(self._targets) >= MAX_CONTAINERS:
            del self._targets[next(iter(self._targets))]
        target = self._targets[container.container_id] = _Target(container)
        for record in self._waiting.leave(container.container_id):
            self._dispatch(target, record)

    @property
    def has_news(self) -> bool:
        """Something came since the last :meth:`collect`."""
        return self._has_news

    def collect(self) -> None:
        """Give what came since the last call to the counts."""
        self._add_up()
        self._has_news = False

    def _add_up(self) -> None:
        for deed in self._dirty:
            self._counts.add(deed.key, deed.count)
            deed.count = 0
        self._dirty.clear()

    def _dispatch(self, target: _Target, record: Record) -> None:
        if type(record) is not SeccompRecord:
            self._dispatch_other(target, record)
            return
        time_ms, serial, pid, comm, executable, architecture, number = record
        what = (executable, architecture, number)
        deed = target.deeds.get(what) or self._new_deed(target, what, comm)
        if deed is None:
            self.tally.unknown_syscall += 1
            return
        if not deed.count:
            self._dirty.append(deed)
        deed.count += 1
        if self._prints_all or self._prints_first(target, deed.key):
            stamp = f"{time_ms // 1000}.{time_ms % 1000:03d}:{serial}"
            self._write(f'{self._head()}{deed.before}{pid}{deed.after}{stamp}" "type"="seccomp"\n')

    def _prints_first(self, target: _Target, key: Key) -> bool:
        if self._printing is Printing.NONE or key in target.printed:
            return False
        if len(target.printed) >= MAX_DEEDS:
            target.printed.clear()
        self._make_room()
        target.printed.add(key)
        return True

    def _make_room(self, executable: bytes = b"") -> None:
        """Forget what makes lines quick and unique, if it has become too much; no count is lost by that."""
        weight = 1 + len(executable) // LONG_EXECUTABLE
        self._remembered += weight
        if self._remembered > MAX_ALL_DEEDS:
            self._add_up()  # what has news is kept as well
            for target in self._targets.values():
                target.deeds.clear()
                target.printed.clear()
            self._remembered = weight

    def _head(self) -> str:
        """Up to the message, as ``spo.klog`` writes it."""
        now_s = self._wall_clock()
        second = int(now_s)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("I%m%d %H:%M:%S.", time.localtime(second))
        return f'{self._second_text}{int((now_s - second) * 1e6):06d}{self._head_end}"msg"="audit"  '

    def _new_deed(self, target: _Target, what: tuple[bytes, int, int], comm: bytes) -> _Deed | None:
        if what in target.deeds:
            return None
        if target.container.record:
            self._record(target.container, comm, *what[1:])
        if len(target.deeds) >= MAX_DEEDS:
            target.deeds.clear()
        self._make_room(what[0])
        deed = target.deeds[what] = self._deed(target.container, *what)
        return deed

    def _record(self, container: KnownContainer, comm: bytes, architecture: int, number: int) -> None:
        """Also a syscall without a name: users are told of those."""
        if table := architecture_of(architecture, number):
            self._counts.calls.add(container.container_id, table, number, comm)

    def _deed(
        self, container: KnownContainer, executable_value: bytes, architecture: int, number: int
    ) -> _Deed | None:
        table = architecture_of(architecture, number)
        name = syscall_names(table).get(number) if table else None
        if table is None or name is None:
            log.warning("no syscall name found for ID", arch=f"{architecture:x}", syscallID=number)
            return None
        executable = text_of(executable_value)
        before = (
            f'"container"={quoted(container.container)} "executable"={quoted(executable)} '
            f'"namespace"={quoted(container.namespace)} "node"={self._node} "pid"='
        )
        after = (
            f' "pod"={quoted(container.pod)} "syscallID"={number} "syscallName"={quoted(name)} "timestamp"="'
        )
        return _Deed((*_key(SeccompCount, container, executable), name, table), before, after)

    def _dispatch_other(
        self, target: _Target, record: SelinuxRecord | AppArmorRecord | SeccompRecord
    ) -> None:
        container = target.container
        pairs: dict[str, object] = {
            "timestamp": timestamp(record),
            "node": None,
            "namespace": container.namespace,
            "pod": container.pod,
            "container": container.container,
            "pid": record.pid,
        }
        key: Key
        match record:
            case SelinuxRecord():
                permissions = " ".join(record.permissions)
                contexts = (record.source_context, record.target_context, record.target_class)
                names = ("scontext", "tcontext", "tclass")
                pairs |= {
                    "type": "selinux",
                    "perm": permissions,
                    "profile": container.record,
                }
                pairs |= dict(zip(names, contexts, strict=True))
                key = (
                    *_key(SelinuxCount, container, record.executable),
                    *(text[:MAX_TEXT] for text in (permissions, *contexts)),
                )
            case AppArmorRecord():
                values = (record.decision, record.operation, record.profile, record.name)
                names_ = ("apparmor", "operation", "profile", "name")
                pairs |= {
                    "type": "apparmor",
                    "executable": record.executable,
                    "extra_info": record.extra_info,
                }
                pairs |= dict(zip(names_, values, strict=True))
                key = (
                    *_key(AppArmorCount, container, record.executable),
                    *(value[:MAX_TEXT] for value in values),
                )
            case _:
                raise AssertionError(record)
        self._counts.add(key, 1)
        if self._prints_all or self._prints_first(target, key):
            text = " ".join(
                f'"{name}"={self._node if name == "node" else _shown(pairs[name])}' for name in sorted(pairs)
            )
            self._write(f"{self._head()}{text}\n")


_LINE: Final = Enricher._dispatch.__code__.co_firstlineno  # where the lines come from, for their heads


def quoted(text: str) -> str:
    """In quotes, with nothing in it that is not visible ASCII: no end of line, no terminal command."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return json.dumps(text).replace("\x7f", "\\u007f")


def _shown(value: object) -> str:
    return quoted(value) if isinstance(value, str) else str(value)


def _key(kind: type, container: KnownContainer, executable: str) -> Key:
    return (
        kind,
        container.container_id,
        container.namespace,
        container.pod,
        container.container,
        executable[:MAX_TEXT],
    )
