"""Who wants a recording; which namespaces are kept, rejected, undecided. Pure: time comes from outside.

While anybody wants a recording every new namespace is recorded. The daemon says which ones it wants; what it
does not decide in time is rejected and counted.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

MAX_RECORDINGS: Final = 4096
MAX_IGNORED: Final = 1024
"""Rejected namespaces that the kernel's map, of 4,096, may hold; the oldest go first."""


class UnknownNamespaceError(LookupError):
    """The namespace was rejected, undecided for too long, or never seen."""


class Tracked(msgspec.Struct, rename="camel"):
    """A namespace that is being recorded."""

    key: int
    inode: int
    late: bool
    """It was running before the recorder was attached."""
    container_id: str | None = None
    """``None``: no container, as far as is known."""
    pod_uid: str | None = None
    pid: int = 0
    comm: str = ""
    kept: bool = False
    profile: str = ""
    """What it is kept for, in the words of the daemon."""
    has_program: bool = False
    """The first exec was seen: ``pid`` and ``comm`` are those of the program, not of the runtime."""


class Saved(msgspec.Struct, rename="camel"):
    """What survives the end of the process."""

    recordings: list[str] = []
    namespaces: list[Tracked] = []
    expired: int = 0
    interrupted: int = 0


class Session:
    """The bookkeeping of one recorder.

    Args:
        undecided_s: seconds until an undecided namespace is rejected.
    """

    def __init__(self, undecided_s: float) -> None:
        self._undecided_s = undecided_s
        self._recordings: set[str] = set()
        self._tracked: dict[int, Tracked] = {}
        self._deadlines_s: dict[int, float] = {}  # of the undecided ones, the earliest first
        self._ignored: dict[int, None] = {}  # the oldest first
        self.expired = 0
        """Namespaces of containers that nobody decided on in time."""
        self.interrupted = 0
        """Times that the kernel's side had to begin anew."""
        self.changed = False
        """What :meth:`saved` gives is not what it gave before; set to False by who stores it."""

    @property
    def recordings(self) -> frozenset[str]:
        """Who wants a recording."""
        return frozenset(self._recordings)

    @property
    def tracked(self) -> list[Tracked]:
        """The namespaces that are recorded, in the order in which they were seen."""
        return list(self._tracked.values())

    @property
    def undecided(self) -> int:
        """How many of them wait for a decision."""
        return len(self._deadlines_s)

    @property
    def next_deadline_s(self) -> float | None:
        """When :meth:`expire` has something to do."""
        return next(iter(self._deadlines_s.values()), None)

    def start(self, recording: str) -> None:
        """Note that ``recording`` is wanted."""
        self._recordings.add(recording)
        self.changed = True

    def stop(self, recording: str) -> None:
        """Note that it is no longer wanted. After the last one, nothing of the session is left."""
        self._recordings.discard(recording)
        self.changed = True
        if not self._recordings:
            self._tracked.clear()
            self._deadlines_s.clear()
            self._ignored.clear()
            self.expired = self.interrupted = 0

    def get(self, key: int) -> Tracked:
        """The namespace.

        Raises:
            UnknownNamespaceError: it is not recorded.
        """
        if key not in self._tracked:
            raise UnknownNamespaceError(key)
        return self._tracked[key]

    def knows(self, key: int) -> bool:
        """Whether the namespace is recorded, or known to be ignored."""
        return key in self._tracked or key in self._ignored

    def discover(self, key: int, inode: int, *, late: bool, now_s: float) -> None:
        """A namespace that the kernel records. One that is known already stays as it is."""
        if not self.knows(key):
            self._tracked[key] = Tracked(key, inode, late)
            self._deadlines_s[key] = now_s + self._undecided_s

    def identify(
        self,
        key: int,
        container: tuple[str, str | None] | None,
        pid: int,
        comm: str,
        *,
        is_program: bool = False,
    ) -> Tracked | None:
        """Who lives in the namespace; the later call wins, unless it does not know.

        Args:
            container: id of the container and uid of its pod; ``None``: no container.

        Returns:
            The namespace if it is recorded and somebody should be told.
        """
        tracked = self._tracked.get(key)
        if tracked is None or container is None:
            return None
        tracked.container_id, tracked.pod_uid = container
        tracked.pid, tracked.comm = pid, comm
        tracked.has_program |= is_program
        self.changed = True
        return tracked

    def is_foreign(self, key: int) -> bool:
        """Whether the namespace is recorded though nothing says that it belongs to a container.

        Runtimes move a task into the cgroup of its container before it execs: who is still nowhere by then
        is a service, or a build, with mounts of its own, and there may be thousands.
        """
        tracked = self._tracked.get(key)
        return tracked is not None and tracked.container_id is None and not tracked.kept

    def keep(self, key: int, profile: str = "") -> Tracked:
        """The namespace is wanted.

        Raises:
            UnknownNamespaceError: it is not recorded.
        """
        tracked = self.get(key)
        tracked.kept, tracked.profile = True, profile
        self._deadlines_s.pop(key, None)
        self.changed = True
        return tracked

    def reject(self, key: int) -> list[int]:
        """The namespace is not wanted, or not any more.

        Returns:
            Namespaces rejected long ago that the kernel may forget. If one still lives it comes again.
        """
        if self._tracked.pop(key, None) is not None:
            self.changed = True
        self._deadlines_s.pop(key, None)
        self._ignored[key] = None
        forgotten = list(self._ignored)[: max(0, len(self._ignored) - MAX_IGNORED)]
        for old in forgotten:
            del self._ignored[old]
        return forgotten

    def expire(self, now_s: float) -> list[Tracked]:
        """The namespaces whose time is over; the caller rejects them."""
        over = []
        for key, deadline_s in self._deadlines_s.items():
            if deadline_s > now_s:
                break
            over.append(self._tracked[key])
        self.expired += sum(tracked.container_id is not None for tracked in over)
        return over

    def saved(self) -> Saved:
        """What :meth:`restore` needs: the kernel itself tells of a namespace that nobody knows more about."""
        known = [t for t in self._tracked.values() if t.kept or t.container_id is not None]
        return Saved(sorted(self._recordings), known, self.expired, self.interrupted)

    def restore(
        self, saved: Saved, present: Iterable[int], ignored: Iterable[int], now_s: float
    ) -> list[Tracked]:
        """Go on where an earlier process ended. Undecided namespaces get their full time again.

        Args:
            saved: of the earlier process.
            present: the namespaces that the kernel still records.
            ignored: those that it knows as rejected.

        Returns:
            Namespaces that were kept and are not there any more.
        """
        there = set(present)
        self._ignored.update(dict.fromkeys(ignored))
        self._recordings = set(saved.recordings)
        self.expired, self.interrupted = saved.expired, saved.interrupted
        for tracked in saved.namespaces:
            if tracked.key in there:
                self._tracked[tracked.key] = tracked
                if not tracked.kept:
                    self._deadlines_s[tracked.key] = now_s + self._undecided_s
        self.changed = True
        return [tracked for tracked in saved.namespaces if tracked.kept and tracked.key not in there]
