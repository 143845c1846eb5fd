"""Process -> container, by its cgroup in ``/proc``; safe against process ids that are used again."""

import errno
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from spo import klog
from spo.probes.log_enricher.forks import Fork
from spo.recording.identity import container_of_proc

log = klog.get("log-enricher")

VERIFY_S: Final = 0.25
"""How long a process is believed to be the same: no machine starts as many as it has ids in that time."""
GRACE_S: Final = 10.0
"""How long after its end records of a process may arrive."""
MAX_PROCESSES: Final = 4096
_MAX_ANCESTORS: Final = 16
_SIBLING_S: Final = 1.0
"""How long after its helper a container runtime starts the first process of the container."""
_MAX_RUNTIMES: Final = 256
_TOLERANCE_MS: Final = 50
"""Records and start times come from clocks that tick every 4 and 10 ms."""
_NO_START: Final = -1
_STAT_BYTES: Final = 1024
_CGROUP_BYTES: Final = 16 << 10
_FLAGS: Final = 6
_START_TIME: Final = 19
"""Places of fields 9 and 22 of ``stat`` behind the name in parentheses, which can hold any character."""
_PF_EXITING: Final = 0x4  # linux/sched.h


class Owner:
    """What is known of a process."""

    __slots__ = ("container_id", "is_guess", "pod_uid", "start_ticks", "verified_s")

    def __init__(self, start_ticks: int, container_id: str | None, pod_uid: str | None) -> None:
        self.start_ticks = start_ticks
        self.container_id = container_id
        """``None``: it runs in no container."""
        self.pod_uid = pod_uid
        self.verified_s = 0.0
        self.is_guess = False
        """It runs in no container because its parent did, which may be a container runtime."""


class Clocks(NamedTuple):
    """Where the time comes from, all in seconds."""

    monotonic: Callable[[], float] = time.monotonic
    boot_epoch: Callable[[], float] = lambda: time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    """When the machine was started, since the Unix epoch."""
    monotonic_epoch: Callable[[], float] = lambda: time.time() - time.monotonic()
    """When ``monotonic`` was 0, since the Unix epoch."""


class ForkBook(Protocol):
    """Who started whom; see :class:`spo.probes.log_enricher.forks.ForkEvents`."""

    def drain(self) -> None:
        """Take what has happened."""

    def last(self, pid: int) -> Fork | None:
        """How the last process with this id began."""

    def begun_before(self, parents: Mapping[int, float], within_s: float) -> list[int]:
        """Processes that each of these began not long before a time, the newest first."""


class Owners:
    """Bounded: of many processes the first ones found are looked up again.

    Args:
        proc: where the proc file system of the initial pid namespace is mounted.
        forks: to find the container of a process that has ended by that of its parent; ``None``: unknown.
    """

    def __init__(
        self,
        proc: Path,
        forks: ForkBook | None = None,
        clocks: Clocks | None = None,
        *,
        ticks_per_s: int = 0,
    ) -> None:
        self._proc = str(proc)
        self._forks = forks
        self._clocks = clocks or Clocks()
        self._monotonic = self._clocks.monotonic
        self._ticks_per_s = ticks_per_s or os.sysconf("SC_CLK_TCK")
        self._owners: dict[int, Owner] = {}
        self._runtimes: dict[int, tuple[float, Owner]] = {}
        """Process -> when it began a first one of a container, and that one."""
        self._complained = False
        self.looked_up = 0
        """Processes that were not known before."""

    def find(self, pid: int, time_ms: int) -> Owner | None:
        """Who owned ``pid`` when a record was made; ``None``: a process that has ended unseen.

        Args:
            pid: in the initial pid namespace.
            time_ms: when the record was made, since the Unix epoch.
        """
        now_s = self._monotonic()
        owner = self._owners.get(pid)
        if owner is not None and now_s - owner.verified_s < VERIFY_S:
            return owner
        return self._verify(pid, owner, now_s, time_ms)

    def lineage(self, pids: Iterable[int]) -> list[int]:
        """Processes, those that started them, as far as the kernel told, and what these started before."""
        found: dict[int, None] = {}
        parents: dict[int, float] = {}
        for pid in pids:
            child = pid
            found[child] = None
            for _ in range(_MAX_ANCESTORS):
                fork = self._last_fork(child)
                if fork is None:
                    break
                parents[fork.parent] = max(fork.at_s, parents.get(fork.parent, 0.0))
                child = fork.parent
                found[child] = None
        if self._forks is not None:
            found |= dict.fromkeys(self._forks.begun_before(parents, _SIBLING_S))
        return list(found)

    def learn(self, pid: int, container_id: str, pod_uid: str | None, seen_s: float) -> None:
        """Somebody else saw a process in a container.

        Args:
            seen_s: when, as the monotonic clock; it is not believed for one that began later.
        """
        fork = self._last_fork(pid)
        if fork is not None and fork.at_s > seen_s:
            return
        self._owners = {known: owner for known, owner in self._owners.items() if not owner.is_guess}
        owner = self._keep(pid, Owner(_NO_START, container_id, pod_uid), seen_s)
        if fork is not None:
            # runc begins two: a helper, which makes the namespaces and is seen there, and the first process.
            self._runtimes.pop(fork.parent, None)
            self._runtimes[fork.parent] = (fork.at_s, owner)
            if len(self._runtimes) > _MAX_RUNTIMES:
                del self._runtimes[next(iter(self._runtimes))]

    def _verify(
        self, pid: int, before: Owner | None, now_s: float, time_ms: int, *, inherits: bool = True
    ) -> Owner | None:
        # All reads go through one descriptor: it is of this process, also when another one gets its number.
        try:
            process = os.open(f"{self._proc}/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            return self._gone(pid, before, time_ms, error) if inherits else None
        try:
            start_ticks = _field(_read(process, "stat", _STAT_BYTES), _START_TIME)
            same = before is not None and before.start_ticks == start_ticks
            if same and before is not None and before.container_id is not None:
                before.verified_s = now_s
                return before
            if not same and time_ms + _TOLERANCE_MS < self._start_ms(start_ticks):
                return before  # of one that had this id before
            identity = container_of_proc(_read(process, "cgroup", _CGROUP_BYTES).decode("utf-8", "replace"))
            if identity is None and _field(_read(process, "stat", _STAT_BYTES), _FLAGS) & _PF_EXITING:
                # On its way out of a v1 cgroup, where it is shown in none.
                raise ProcessLookupError(errno.ESRCH, "the process is ending")
        except (OSError, ValueError) as error:
            return self._gone(pid, before, time_ms, error) if inherits else None
        finally:
            os.close(process)
        self.looked_up += not same
        return self._keep(pid, Owner(start_ticks, *(identity or (None, None))), now_s)

    def _keep(self, pid: int, owner: Owner, now_s: float) -> Owner:
        owner.verified_s = now_s
        self._owners.pop(pid, None)
        if len(self._owners) >= MAX_PROCESSES:
            del self._owners[next(iter(self._owners))]
        self._owners[pid] = owner
        return owner

    def _start_ms(self, start_ticks: int) -> float:
        return (self._clocks.boot_epoch() + start_ticks / self._ticks_per_s) * 1000

    def _gone(self, pid: int, before: Owner | None, time_ms: int, error: Exception) -> Owner | None:
        if not isinstance(error, FileNotFoundError | ProcessLookupError) and not self._complained:
            self._complained = True
            log.error("Cannot look at a process", error=error, pid=pid)
        now_s = self._monotonic()
        fork = self._last_fork(pid)
        if before is not None and (fork is None or fork.at_s <= before.verified_s):
            if now_s - before.verified_s <= GRACE_S:
                return before
            self._owners.pop(pid, None)
            return None
        if fork is None:
            return None
        if time_ms + _TOLERANCE_MS < (fork.at_s + self._clocks.monotonic_epoch()) * 1000:
            return before  # of one that had this id before
        parent = self._ancestor(fork, time_ms)
        if parent is None:
            return None
        self.looked_up += 1
        owner = Owner(_NO_START, parent.container_id, parent.pod_uid)
        owner.is_guess = parent.container_id is None
        return self._keep(pid, owner, now_s)

    def _last_fork(self, pid: int) -> Fork | None:
        if self._forks is None:
            return None
        self._forks.drain()
        return self._forks.last(pid)

    def _ancestor(self, fork: Fork, time_ms: int) -> Owner | None:
        """The nearest one that is known: processes begin in the cgroup of their parent."""
        found: Fork | None = fork
        for _ in range(_MAX_ANCESTORS):
            if found is None or self._forks is None:
                return None
            pid = found.parent
            began_s, sibling = self._runtimes.get(pid, (0.0, None))
            if sibling is not None and 0.0 <= found.at_s - began_s <= _SIBLING_S:
                return sibling
            found = self._forks.last(pid)
            owner = self._owners.get(pid)
            if owner is not None and found is not None and found.at_s > owner.verified_s:
                owner = None  # of one that had this id before
            if owner is None and Path(f"{self._proc}/{pid}").exists():
                owner = self._verify(pid, None, self._monotonic(), time_ms, inherits=False)
            if owner is not None:
                return owner
        return None


def _read(process: int, name: str, size: int) -> bytes:
    opened = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
    try:
        return os.read(opened, size)
    finally:
        os.close(opened)


def _field(stat: bytes, place: int) -> int:
    """One number of a ``stat`` file.

    Raises:
        ValueError: it is no such file.
    """
    fields = stat[stat.rfind(b")") + 1 :].split()
    if len(fields) <= place:
        raise ValueError(f"too short: {stat[:100]!r}")
    return int(fields[place])
