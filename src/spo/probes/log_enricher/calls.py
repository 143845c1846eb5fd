"""Which syscalls recorded containers made; what the daemon has not been told of them. Pure."""

from collections.abc import Iterable
from typing import Final

from spo.rpc.log_enricher import MAX_ENTRIES, SeenCalls

MAX_RECORDED: Final = 1000
"""Containers that are remembered; the daemon is told of the others no more, should it begin anew."""
MAX_NUMBERS: Final = 1024
"""Of one container, architecture and kind of maker: more than any table has."""

MAX_TOLD: Final = 20_000
"""Syscalls in one message, beside those of one more entry: with the counts in it, it must fit a frame."""

_RUNTIMES: Final = (b'"runc:[', b'"crun"', b'"crun:[', b'"youki:[')
"""How the names of threads of container runtimes begin, as records have them."""

_Kind = tuple[str, bool]
"""Architecture, and whether the container runtime made the call."""


class _Container:
    __slots__ = ("known", "news")

    def __init__(self) -> None:
        self.known: dict[_Kind, set[int]] = {}
        self.news: dict[_Kind, set[int]] = {}


class CallBook:
    """By container; bounded."""

    def __init__(self) -> None:
        self._containers: dict[str, _Container] = {}
        self._news: dict[str, None] = {}

    def add(self, container_id: str, architecture: str, number: int, comm: bytes) -> None:
        """A container made a call.

        Args:
            comm: name of the thread, as in the record. A program can take the name of a runtime: its calls
                are told all the same.
        """
        container = self._containers.get(container_id)
        if container is None:
            if len(self._containers) >= MAX_RECORDED:
                oldest = next(iter(self._containers))
                del self._containers[oldest]
                self._news.pop(oldest, None)
            container = self._containers[container_id] = _Container()
        kind = (architecture, comm.startswith(_RUNTIMES))
        known = container.known.setdefault(kind, set())
        if number not in known and number >= 0 and len(known) < MAX_NUMBERS:
            known.add(number)
            container.news.setdefault(kind, set()).add(number)
            self._news[container_id] = None

    def tell_all(self) -> None:
        """To a daemon that may have forgotten everything."""
        for container_id, container in self._containers.items():
            container.news = {kind: set(numbers) for kind, numbers in container.known.items()}
            self._news[container_id] = None

    def forget(self, container_ids: Iterable[str]) -> None:
        """They are done, and need not be told again."""
        for container_id in container_ids:
            self._containers.pop(container_id, None)
            self._news.pop(container_id, None)

    def take(self) -> list[SeenCalls]:
        """News for one message."""
        taken: list[SeenCalls] = []
        told = 0
        for container_id in list(self._news):
            news = self._containers[container_id].news
            while news and len(taken) < MAX_ENTRIES and told < MAX_TOLD:
                (architecture, by_runtime), numbers = news.popitem()
                told += len(numbers)
                taken.append(SeenCalls(container_id, architecture, sorted(numbers), by_runtime))
            if news:
                break
            del self._news[container_id]
        return taken

    @property
    def has_news(self) -> bool:
        """There is something to take."""
        return bool(self._news)
