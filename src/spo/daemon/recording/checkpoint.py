"""Stores what is tracked before anything is done that only it remembers."""

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec

from spo import klog
from spo.daemon.recording.tracking import Tracked, TrackedPod

log = klog.get("recorder-spod")


class Keeper(Protocol):
    """Where it is stored; :class:`spo.host.recordings_file.RecordingsFile` in production."""

    def read(self) -> bytes | None:
        """What was stored last."""

    def write(self, content: bytes) -> None:
        """Store it; nothing: remove it. Raises SpoError."""


class Checkpoint:
    """The tracked pods and their copy on the disk."""

    def __init__(self, keeper: Keeper, changed: Callable[[], None] = lambda: None) -> None:
        """Take where to store, and who is told when a pod comes or goes."""
        self._keeper = keeper
        self._changed = changed
        self._writing = asyncio.Lock()
        self._stored = b""
        self.tracked = Tracked()

    def get(self, uid: str) -> TrackedPod | None:
        """The pod, if it is tracked."""
        return self.tracked.pods.get(uid)

    def add(self, pod: TrackedPod) -> None:
        """Track a pod."""
        self.tracked.pods[pod.uid] = pod
        self._changed()

    def remove(self, uid: str) -> None:
        """Track it no more."""
        self.tracked.pods.pop(uid, None)
        self._changed()

    async def load(self) -> None:
        """Go on where an earlier process ended; what cannot be understood is as good as nothing."""
        content = await asyncio.to_thread(self._keeper.read)
        if not content:
            return
        try:
            self.tracked = msgspec.json.decode(content, type=Tracked)
        except msgspec.DecodeError as error:
            log.error("Cannot go on with the recordings of the last run", error=error)
            return
        self._stored = content

    async def save(self) -> None:
        """Return when the disk has what is tracked now; calls at the same time share a write.

        Raises:
            CannotKeepRecordingsError: the file system refuses.
        """
        async with self._writing:
            content = msgspec.json.encode(self.tracked) if self.tracked.pods else b""
            if content != self._stored:
                await asyncio.to_thread(self._keeper.write, content)
                self._stored = content
