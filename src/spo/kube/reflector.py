"""Keep a local copy equal to what the API server has: list once, then watch, and survive what goes wrong.

One reflector looks after one kind in one namespace (or in all). It decides *when* to list and to watch;
what becomes of the objects is its target's business (:mod:`spo.kube.informer`).
"""

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from spo import klog
from spo.api.resource import Resource
from spo.kube.client import PAGE_SIZE, KubeClient
from spo.kube.clock import Clock
from spo.kube.errors import (
    ApiError,
    ConnectionFailedError,
    GoneError,
    KubeConfigError,
    KubeError,
    MalformedResponseError,
    ResponseTooLargeError,
    ServerError,
    TooManyRequestsError,
    WatchSilentError,
)
from spo.kube.wire import (
    Added,
    Bookmark,
    Deleted,
    KeyMeta,
    KubeObject,
    Modified,
    Page,
    Unreadable,
    WatchEvent,
)

log = klog.get("informer")

T = TypeVar("T", bound=KubeObject)


class Snapshot(Protocol[T]):
    """A list under way: it takes effect as a whole or not at all."""

    def add(self, page: Page[T]) -> None:
        """Take one page."""

    def commit(self) -> None:
        """The list is complete: what is not in it does not exist."""


class Target(Protocol[T]):
    """Where a reflector puts what it learns."""

    @property
    def stats(self) -> "InformerStats":
        """Counters, shared by all reflectors of one informer."""

    def begin(self, namespace: str | None) -> Snapshot[T]:
        """A list of ``namespace`` starts."""

    def changed(self, obj: T) -> None:
        """The object is new or different."""

    def deleted(self, metadata: KeyMeta) -> None:
        """The object is gone."""

    def not_readable(self, one: Unreadable) -> None:
        """The object is new or different, and does not fit our type."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which objects of a kind."""

    namespace: str | None = None
    """``None``: of all namespaces, or the kind has none."""
    label_selector: str | None = None
    field_selector: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReflectorSettings:
    """Times and sizes; the defaults suit every kind."""

    page_size: int = PAGE_SIZE
    """Objects per page of a list."""
    min_watch_s: float = 290.0
    """A watch is renewed after this long at the earliest ..."""
    max_watch_s: float = 600.0
    """... and this long at the latest; random, so that clients do not come back all at once."""
    inactivity_s: float = 150.0
    """A watch that is silent for this long (no bookmark either) is given up; half-open connections are."""
    first_retry_s: float = 0.2
    """Pause after the first failure; it doubles up to ``max_retry_s``, with jitter."""
    max_retry_s: float = 10.0
    """Longest pause between two attempts."""


@dataclass(slots=True)
class InformerStats:
    """Counters of one informer; plain numbers, read by whoever exports metrics."""

    lists: int = 0
    watches: int = 0
    events: int = 0
    bookmarks: int = 0
    failures: int = 0
    silent: int = 0
    """Watches given up because nothing came, not even a bookmark."""
    expired: int = 0
    """How often the server no longer knew our version (410)."""
    missed_deletions: int = 0
    """Objects that turned out to be gone only when everything was listed again."""
    unreadable: int = 0
    """Events and list items that did not fit our type."""


_RELIST_AFTER: Final = 3
"""Failed watches in a row, with an answer of the server, after which the version itself is doubted."""
_SHORT_WATCH_S: Final = 1.0
"""A watch that ends sooner, without any event, counts as a failure."""
_LONG_WATCH_S: Final = 30.0
"""A watch that lived this long shows that the server is well."""


class Reflector(Generic[T]):
    """List and watch one kind in one namespace, for ever."""

    def __init__(
        self,
        client: KubeClient,
        resource: Resource[T],
        scope: Scope,
        target: Target[T],
        *,
        settings: ReflectorSettings,
        clock: Clock,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._client = client
        self._resource = resource
        self._scope = scope
        self._target = target
        self._settings = settings
        self._stats = target.stats
        self._clock = clock
        self._uniform = uniform
        self._version = ""
        self._page_size = settings.page_size
        self._failures = 0
        self.synced = asyncio.Event()
        """Set after the first complete list."""

    @property
    def complete(self) -> bool:
        """Whether what we hold descends from a complete list without a gap."""
        return bool(self._version)

    async def run(self) -> None:
        """Work until cancelled; errors of the server never end it."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except (KubeError, KubeConfigError) as error:
                self._note_failure(error)
                await self._clock.sleep(self._pause_s())
            else:
                self._note_progress()

    async def _list(self) -> None:
        self._stats.lists += 1
        snapshot = self._target.begin(self._scope.namespace)
        version = continue_ = ""
        tokens: set[str] = set()
        while not version or continue_:
            page = await self._client.list_page(
                self._resource,
                self._scope.namespace,
                label_selector=self._scope.label_selector,
                field_selector=self._scope.field_selector,
                limit=self._page_size,
                continue_=continue_,
            )
            snapshot.add(page)
            version = version or page.resource_version
            continue_ = page.continue_
            if continue_ in tokens:
                request = f"list {self._resource.path(self._scope.namespace)}"
                raise MalformedResponseError(request, "a continue token comes twice")
            tokens.add(continue_)
        snapshot.commit()
        self._version = version
        self._note_progress()
        self.synced.set()

    async def _watch(self) -> None:
        self._stats.watches += 1
        started_s = self._clock.monotonic()
        silent = True
        try:
            stream = self._client.watch(
                self._resource,
                self._scope.namespace,
                resource_version=self._version,
                timeout_s=self._uniform(self._settings.min_watch_s, self._settings.max_watch_s),
                inactivity_s=self._settings.inactivity_s,
                label_selector=self._scope.label_selector,
                field_selector=self._scope.field_selector,
            )
            async with contextlib.aclosing(stream):
                async for event in stream:
                    silent = False
                    self._note_progress()
                    self._take(event)
        except WatchSilentError:
            self._stats.silent += 1
            await self._doubt()
            return
        finally:
            lasted_s = self._clock.monotonic() - started_s
            if lasted_s >= _LONG_WATCH_S:
                self._note_progress()
        if silent and lasted_s < _SHORT_WATCH_S:
            raise ConnectionFailedError(
                f"watch {self._resource.path(self._scope.namespace)}", "ended at once"
            )
        if silent:
            await self._doubt()

    def _take(self, event: WatchEvent[T]) -> None:
        match event:
            case Added(object=obj) | Modified(object=obj):
                self._stats.events += 1
                self._target.changed(obj)
                version = obj.metadata.resource_version
            case Deleted(object=gone):
                self._stats.events += 1
                self._target.deleted(gone.metadata)
                version = gone.metadata.resource_version
            case Bookmark(object=mark):
                self._stats.bookmarks += 1
                version = mark.metadata.resource_version
            case Unreadable():
                self._stats.events += 1
                self._target.not_readable(event)
                version = event.metadata.resource_version
        self._version = version or self._version

    async def _doubt(self) -> None:
        """A watch brought nothing, not even a bookmark: is our version a real one?

        After a restore of the server's store our version may lie in the future; such a watch just stays
        silent, for ever.
        """
        page = await self._client.list_page(
            self._resource,
            self._scope.namespace,
            label_selector=self._scope.label_selector,
            field_selector=self._scope.field_selector,
            limit=1,
        )
        current, ours = page.resource_version, self._version
        if current.isdecimal() and ours.isdecimal() and int(current) < int(ours):
            log.warning("api server went back in time, listing again", kind=self._resource.kind, ours=ours)
            self._version = ""

    def _note_failure(self, error: KubeError | KubeConfigError) -> None:
        self._stats.failures += 1
        self._failures += 1
        # A connection that breaks once is daily business.
        if self._failures == (2 if isinstance(error, ConnectionFailedError | GoneError) else 1):
            log.warning(
                "list or watch failed, retrying",
                kind=self._resource.kind,
                namespace=self._scope.namespace or "",
                problem=str(error),
            )
        match error:
            case GoneError():
                self._stats.expired += 1
                self._version = ""
            case ResponseTooLargeError():
                self._page_size = max(1, self._page_size // 2)
            case ServerError() | TooManyRequestsError() | MalformedResponseError():
                # An error of the moment; but if it stays, our version may be what offends.
                if self._failures >= _RELIST_AFTER:
                    self._version = ""
            case ApiError():
                self._version = ""

    def _note_progress(self) -> None:
        if self._failures > 1:
            log.info(
                "list and watch work again", kind=self._resource.kind, namespace=self._scope.namespace or ""
            )
        self._failures = 0

    def _pause_s(self) -> float:
        # The exponent is bounded so that a long outage does not end in huge numbers.
        doubled = self._settings.first_retry_s * 2.0 ** min(self._failures - 1, 20)
        longest = min(doubled, self._settings.max_retry_s)
        return self._uniform(longest / 2, longest)
