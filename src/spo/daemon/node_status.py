"""The status object of this node: claims are written at once, reports are collected first."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Final, Protocol

from msgspec import structs

from spo import klog
from spo.api.node_status import NodeProfileState, ProfileState, SecurityProfileNodeStatus, StatusKey
from spo.errors import SpoError
from spo.kube.clock import Clock
from spo.kube.errors import TooManyRequestsError

log = klog.get("node-status")

FIRST_RETRY_S: Final = 0.5
LONGEST_RETRY_S: Final = 30.0
FLUSH_S: Final = 2.0
MAX_MESSAGE: Final = 512
MAX_MESSAGES: Final = 128 * 1024
"""Characters of all messages together: one object carries those of all profiles of the node, and an
object that is too large is refused as a whole."""

Entries = Mapping[str, NodeProfileState]
"""``<Kind>/<namespace>/<name>`` -> what this node says about it."""


class NodeStatusApi(Protocol):
    """Where the object is stored; :class:`spo.daemon.node_status_store.NodeStatusStore` in production."""

    async def read(self) -> SecurityProfileNodeStatus | None:
        """The stored object, ``None`` if there is none."""

    async def node_uid(self) -> str | None:
        """Uid of the Node object, ``None`` while there is none."""

    async def apply(self, profiles: Entries, node_uid: str | None) -> str:
        """Store exactly these entries; returns the new resourceVersion."""


class LocalClaims(Protocol):
    """The copy of the list's keys on this node; :class:`spo.daemon.node_status_store.LocalCopy`."""

    async def read(self) -> tuple[str, ...]:
        """The keys, none if there is no copy."""

    async def write(self, claims: Iterable[str]) -> None:
        """Keep exactly these keys; raises SpoError."""


class _Seen(Enum):
    NOTHING = "nothing"
    DELETED = "deleted"


class NodeStatusReporter:
    """Keeps the stored list of this node equal to what the reconcilers claim, report and forget.

    The stored list always covers the files: a claim returns only after the key is stored, and a key
    counts as unlisted from the moment a write without it begins, whatever becomes of that write.
    """

    def __init__(
        self,
        api: NodeStatusApi,
        local: LocalClaims,
        clock: Clock,
        *,
        report_delay_s: float,
        on_failure: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._api = api
        self._local = local
        self._kept: frozenset[str] | None = frozenset()
        self._keeping = asyncio.Lock()  # one at a time: an earlier list must not overtake a later one
        self._clock = clock
        self._report_delay_s = report_delay_s
        self._on_failure = on_failure
        self._entries: dict[str, NodeProfileState] = {}
        self._stored: dict[str, NodeProfileState] | None = None
        self._listed: set[str] = set()
        self._changed = asyncio.Event()
        self._due = asyncio.Event()
        self._next_write = asyncio.Event()
        self._own_versions: deque[str] = deque(maxlen=32)
        self._seen: SecurityProfileNodeStatus | _Seen = _Seen.NOTHING
        self._in_flight = False
        self._node_uid: str | None = None
        self._failures = 0

    async def load(self) -> None:
        """Start from what this daemon stored before it was restarted: these are its claims."""
        previous = await self._api.read()
        self._kept = frozenset(await self._local.read())
        for key in self._kept:
            if StatusKey.parse(key):
                self._entries[key] = NodeProfileState(state=ProfileState.PENDING)
        if previous is not None:
            self._entries |= previous.profiles
            self._listed = set(previous.profiles)
            self._own_versions.append(previous.metadata.resource_version)
        # Also without any profile: the object tells that a daemon looks after this node.
        self._wake(at_once=True)

    def claims(self) -> tuple[str, ...]:
        """Every key this node lists or is about to list."""
        return tuple(self._entries)

    def state(self, key: str) -> NodeProfileState | None:
        """What this node says about a profile."""
        return self._entries.get(key)

    async def claim(self, key: str, generation: int) -> None:
        """Return when the stored list holds ``key``; until then the profile's file must not appear."""
        if key not in self._entries:
            self._entries[key] = NodeProfileState(state=ProfileState.PENDING, generation=generation)
            self._wake()
        if key not in self._listed:
            self._wake(at_once=True)
        while key not in self._listed:
            await self._next_write.wait()

    def report(self, key: str, state: ProfileState, generation: int, message: str = "") -> bool:
        """Say how a profile fares here; returns whether that is news."""
        entry = NodeProfileState(state=state, generation=generation, message=_shortened(message))
        if self._entries.get(key) == entry:
            return False
        self._entries[key] = entry
        self._wake()
        return True

    def forget(self, key: str) -> None:
        """Take a profile off the list; its file is gone."""
        if self._entries.pop(key, None) is not None:
            self._wake()

    def observed(self, status: SecurityProfileNodeStatus | None) -> None:
        """Take note of the stored object as a watch shows it; somebody else's change is undone."""
        self._seen = _Seen.DELETED if status is None else status
        if not self._in_flight:
            self._repair()

    async def run(self) -> None:
        """Write whenever there is something to write, until cancelled; then what is left, once."""
        try:
            while True:
                await self._changed.wait()
                await self._collect()
                await self._write()
        finally:
            await self._flush()

    async def _flush(self) -> None:
        if self._entries == self._stored:
            return
        # If it fails, the next start reports the same again.
        with contextlib.suppress(SpoError, TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                await self._api.apply(self._entries, self._node_uid)

    def _wake(self, *, at_once: bool = False) -> None:
        self._changed.set()
        if at_once:
            self._due.set()

    async def _collect(self) -> None:
        timer = self._clock.call_later(self._report_delay_s, self._due.set)
        try:
            await self._due.wait()
        finally:
            timer.cancel()

    async def _write(self) -> None:
        self._changed.clear()
        self._due.clear()
        snapshot = within_budget(self._entries)
        if snapshot == self._stored:
            return
        self._stored = None
        self._listed &= snapshot.keys()
        self._seen = _Seen.NOTHING  # whatever was seen so far is overwritten now
        self._in_flight = True
        try:
            if self._node_uid is None:
                self._node_uid = await self._api.node_uid()
            storing = self._api.apply(snapshot, self._node_uid)
            version, _ = await asyncio.gather(storing, self._keep(frozenset(snapshot)))
        except SpoError as error:
            await self._wait_after(error)
        else:
            self._written(snapshot, version)
        finally:
            self._in_flight = False
        self._repair()

    async def _keep(self, claims: frozenset[str]) -> None:
        """Write the copy on this node; without it the stored list still is complete."""
        async with self._keeping:
            if claims == self._kept:
                return
            try:
                await self._local.write(claims)
            except SpoError as error:
                if self._kept is not None:
                    log.warning("Claims are kept by the API server only", problem=str(error))
                self._kept = None
            else:
                self._kept = claims

    def _written(self, snapshot: dict[str, NodeProfileState], version: str) -> None:
        if self._failures:
            log.info("Node status is written again", failures=self._failures)
        self._failures = 0
        self._own_versions.append(version)
        self._stored = snapshot
        self._listed = set(snapshot)
        done, self._next_write = self._next_write, asyncio.Event()
        done.set()

    async def _wait_after(self, error: SpoError) -> None:
        if self._failures == 0:
            log.error("Cannot write node status, trying again", error=error)
            self._on_failure(str(error))
        delay_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2**self._failures)
        if isinstance(error, TooManyRequestsError) and error.retry_after_s:
            delay_s = max(delay_s, error.retry_after_s)
        self._failures = min(self._failures + 1, 10)
        await self._clock.sleep(delay_s)
        self._wake(at_once=True)

    def _repair(self) -> None:
        """Write again if the last seen object is neither ours nor equal to what we stored."""
        seen, self._seen = self._seen, _Seen.NOTHING
        if seen is _Seen.NOTHING:
            return
        if isinstance(seen, SecurityProfileNodeStatus):
            if seen.metadata.resource_version in self._own_versions or seen.profiles == self._stored:
                return
            self._listed &= seen.profiles.keys()
        else:
            self._listed.clear()
            self._node_uid = None  # the Node may be another one now: garbage collection would delete again
        log.info("Restoring node status that somebody else changed")
        self._stored = None
        self._wake()


def within_budget(entries: Entries) -> dict[str, NodeProfileState]:
    """The entries, with shorter messages if there are so many that the object would become too large."""
    lengths = [len(entry.message) for entry in entries.values() if entry.message]
    if sum(lengths) <= MAX_MESSAGES:
        return dict(entries)
    share = MAX_MESSAGES // len(lengths)
    return {
        key: structs.replace(entry, message=_shortened(entry.message, share))
        for key, entry in entries.items()
    }


def _shortened(message: str, limit: int = MAX_MESSAGE) -> str:
    return message if len(message) <= limit else message[: max(0, limit - 1)] + "…"
