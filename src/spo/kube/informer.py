"""A cache that follows the API server: the way every reconciler reads.

Reflectors (one per namespace) learn what exists, the informer stores it (projected, indexed) and tells
its listeners, which usually enqueue a request.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, cast, overload

from spo import klog
from spo.api.resource import Resource
from spo.kube.cache import Cache, IndexFunction, Key
from spo.kube.client import KubeClient
from spo.kube.clock import SYSTEM_CLOCK, Clock
from spo.kube.reflector import InformerStats, Reflector, ReflectorSettings, Scope
from spo.kube.wire import KeyMeta, KubeObject, Page, Unreadable

log = klog.get("informer")

T = TypeVar("T", bound=KubeObject)
U = TypeVar("U")

Listener = Callable[[U | None, U | None], None]
"""Called with (old, new) after the cache changed; ``None``: was or is absent. Must not block or raise."""


class Informer(Generic[U]):
    """A local copy of all objects of one kind that match, in the given namespaces (none given: all).

    ``project`` turns an object into what is worth keeping; ``None`` leaves it out. A change that the
    projection does not show is not reported to listeners.
    """

    @overload
    def __init__(
        self: "Informer[T]",
        client: KubeClient,
        resource: Resource[T],
        namespaces: Sequence[str] = (),
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        settings: ReflectorSettings | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None: ...

    @overload
    def __init__(
        self,
        client: KubeClient,
        resource: Resource[T],
        namespaces: Sequence[str] = (),
        *,
        project: Callable[[T], U | None],
        label_selector: str | None = None,
        field_selector: str | None = None,
        settings: ReflectorSettings | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None: ...

    def __init__(
        self,
        client: KubeClient,
        resource: Resource[Any],
        namespaces: Sequence[str] = (),
        *,
        project: Callable[[Any], U | None] | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        settings: ReflectorSettings | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.cache: Cache[U] = Cache(resource.kind)
        self.stats = InformerStats()
        self._kind = resource.kind
        self._project = project
        self._listeners: list[Listener[U]] = []
        self._unreadable_listeners: list[Callable[[Key], None]] = []
        self._reflectors = [
            Reflector(
                client,
                resource,
                Scope(namespace, label_selector, field_selector),
                self,
                settings=settings or ReflectorSettings(),
                clock=clock,
            )
            for namespace in (dict.fromkeys(namespaces) or (None,))
        ]

    def add_index(self, name: str, function: IndexFunction[U]) -> None:
        """Let ``cache.by_index(name, value)`` answer."""
        self.cache.add_index(name, function)

    def add_unreadable_listener(self, listener: Callable[[Key], None]) -> None:
        """Call ``listener`` when an object cannot be read, and when such an object can again or is gone.

        For these changes the other listeners may have nothing to say: the cache keeps what it had.
        """
        self._unreadable_listeners.append(listener)
        for key in self.cache.unreadable:
            listener(key)

    def add_listener(self, listener: Listener[U]) -> None:
        """Call ``listener`` for every change from now on, and at once for what is already here."""
        self._listeners.append(listener)
        for present in self.cache.list():
            listener(None, present)

    async def synced(self) -> None:
        """Wait for the first complete list."""
        for reflector in self._reflectors:
            await reflector.synced.wait()

    @property
    def last_list_complete(self) -> bool:
        """Whether absent from the cache means absent from the API server.

        ``False`` before the first list, and after the server forgot our version until everything was
        listed again. Objects that cannot be read are not absent: see :attr:`Cache.unreadable`.
        """
        return all(reflector.complete for reflector in self._reflectors)

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors:
                group.create_task(reflector.run())

    # The target of the reflectors.

    def begin(self, namespace: str | None) -> "_Snapshot[U]":
        """See :class:`spo.kube.reflector.Target`."""
        return _Snapshot(self, namespace)

    def changed(self, obj: KubeObject) -> None:
        """See :class:`spo.kube.reflector.Target`."""
        key, kept = key_of(obj), self.keep(obj)
        if isinstance(kept, Unreadable):
            self.not_readable(kept)
        else:
            self.store([(key, kept)])

    def deleted(self, metadata: KeyMeta) -> None:
        """See :class:`spo.kube.reflector.Target`."""
        self.store([(Key(metadata.namespace, metadata.name), None)])

    def not_readable(self, one: Unreadable) -> None:
        """See :class:`spo.kube.reflector.Target`. The last readable state stays in the cache."""
        if key := self.mark_unreadable(one):
            self.tell_unreadable(key)

    def mark_unreadable(self, one: Unreadable) -> Key | None:
        """Note it in the cache; return its key if that is news."""
        self.stats.unreadable += 1
        key = Key(one.metadata.namespace, one.metadata.name)
        if not self.cache.mark_unreadable(key, one.problem):
            return None
        log.warning("cannot read object", kind=self._kind, problem=one.problem, **key._asdict())
        return key

    def tell_unreadable(self, key: Key) -> None:
        """Call the listeners for objects that cannot be read."""
        for listener in self._unreadable_listeners:
            listener(key)

    def keep(self, obj: KubeObject) -> U | Unreadable | None:
        """What to store of an object; never raises, whatever the object holds."""
        if self._project is None and not self.cache.has_indexes:
            return cast("U", obj)
        try:
            kept = cast("U", obj) if self._project is None else self._project(obj)
            if kept is not None:
                self.cache.check(kept)
        except Exception as error:  # The content is hostile: one object must not stop a whole kind.
            metadata = obj.metadata
            key = KeyMeta(metadata.name, metadata.namespace or "", metadata.uid, metadata.resource_version)
            return Unreadable(key, f"{type(error).__name__}: {error}")
        return kept

    def store(self, news: list[tuple[Key, U | None]]) -> None:
        """Change the cache as a whole, then tell the listeners."""
        known = self.cache.unreadable
        resolved = [key for key, _ in news if key in known] if known else []
        changes = self.cache.update(news)
        for old, new in changes:
            for listener in self._listeners:
                listener(old, new)
        for key in resolved:
            self.tell_unreadable(key)


class _Snapshot(Generic[U]):
    """One list under way; see :class:`spo.kube.reflector.Snapshot`."""

    def __init__(self, informer: Informer[U], namespace: str | None) -> None:
        self._informer = informer
        self._namespace = namespace
        self._found: dict[Key, U | None] = {}
        self._unreadable: dict[Key, Unreadable] = {}

    def add(self, page: Page[Any]) -> None:
        for obj in page.items:
            key, kept = key_of(obj), self._informer.keep(obj)
            if isinstance(kept, Unreadable):
                self._unreadable[key] = kept
            else:
                self._found[key] = kept
        for one in page.unreadable:
            self._unreadable[Key(one.metadata.namespace, one.metadata.name)] = one

    def commit(self) -> None:
        cache = self._informer.cache
        listed = self._found.keys() | self._unreadable.keys()
        gone = [key for key in cache.keys(self._namespace) if key not in listed]
        unreadable_gone = [key for key in cache.unreadable if self._covers(key) and key not in listed]
        news = [*self._found.items(), *((key, None) for key in dict.fromkeys(gone + unreadable_gone))]
        self._informer.stats.missed_deletions += len(gone)
        # First of all: no listener may find such an object absent.
        marked = [self._informer.mark_unreadable(one) for one in self._unreadable.values()]
        self._informer.store(news)
        for key in filter(None, marked):
            self._informer.tell_unreadable(key)

    def _covers(self, key: Key) -> bool:
        return self._namespace in {None, key.namespace}


def key_of(obj: KubeObject) -> Key:
    """Where the object lives."""
    return Key(obj.metadata.namespace or "", obj.metadata.name)
