"""A local copy of objects with indexes: read by reconcilers, written by an informer only."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

from spo.kube.errors import UnreadableObjectError

U = TypeVar("U")


class Key(NamedTuple):
    """Where an object lives; ``namespace`` is empty for cluster-scoped kinds."""

    namespace: str
    name: str


Objects: TypeAlias = list[U]
Change: TypeAlias = tuple[U | None, U | None]
"""(old, new); ``None``: was or is absent."""

IndexFunction: TypeAlias = Callable[[U], Iterable[Hashable]]
"""The values under which an object is found; must depend on nothing but the object."""


class _Index(Generic[U]):
    __slots__ = ("function", "keys")

    def __init__(self, function: IndexFunction[U]) -> None:
        self.function: Final = function
        # A dict as an ordered set: by_index answers in a stable order.
        self.keys: Final[dict[Hashable, dict[Key, None]]] = {}

    def drop(self, key: Key, old: U) -> None:
        for value in self.function(old):
            if (keys := self.keys.get(value)) is not None:
                keys.pop(key, None)
                if not keys:
                    del self.keys[value]

    def put(self, key: Key, new: U) -> None:
        for value in self.function(new):
            self.keys.setdefault(value, {})[key] = None


class Cache(Generic[U]):
    """What the API server had when we last heard of it.

    Objects are shared: never change one.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._namespaces: dict[str, dict[str, U]] = {}
        self._indexes: dict[str, _Index[U]] = {}
        self._unreadable: dict[Key, str] = {}

    def __len__(self) -> int:
        return sum(len(objects) for objects in self._namespaces.values())

    def get(self, namespace: str | None, name: str) -> U | None:
        """The object; ``None`` if it is absent or the projection left it out.

        Raises:
            UnreadableObjectError: it exists but could never be read; it must not be taken for absent.
        """
        key = Key(namespace or "", name)
        found = self._peek(key)
        if found is None and key in self._unreadable:
            raise UnreadableObjectError(self._kind, key.namespace, name, self._unreadable[key])
        return found

    def list(self, namespace: str | None = None) -> Objects[U]:
        """All readable objects, of one namespace if given."""
        if namespace is not None:
            return list(self._namespaces.get(namespace, {}).values())
        return [found for objects in self._namespaces.values() for found in objects.values()]

    def by_index(self, index: str, value: Hashable) -> Objects[U]:
        """The objects for which the function of ``index`` yields ``value``."""
        keys = self._indexes[index].keys.get(value, {})
        return [self._namespaces[key.namespace][key.name] for key in keys]

    def index_values(self, index: str) -> Objects[Hashable]:
        """All values under which ``index`` finds something."""
        return list(self._indexes[index].keys)

    @property
    def unreadable(self) -> Mapping[Key, str]:
        """Objects that exist but could not be read (an older state may still be cached), with the reason."""
        return self._unreadable

    def keys(self, namespace: str | None = None) -> Objects[Key]:
        """The keys of :meth:`list`."""
        spaces = self._namespaces if namespace is None else {namespace: self._namespaces.get(namespace, {})}
        return [Key(space, name) for space, objects in spaces.items() for name in objects]

    # What follows is for the informer.

    def add_index(self, name: str, function: IndexFunction[U]) -> None:
        """Make :meth:`by_index` answer for ``name``; objects that are already here are indexed too."""
        if name in self._indexes:
            raise ValueError(f"index {name} exists")
        index = _Index(function)
        for key in self.keys():
            index.put(key, self._namespaces[key.namespace][key.name])
        self._indexes[name] = index

    @property
    def has_indexes(self) -> bool:
        """Whether :meth:`check` does anything."""
        return bool(self._indexes)

    def check(self, new: U) -> None:
        """Run all index functions, so that :meth:`update` cannot fail half-way."""
        for index in self._indexes.values():
            for value in index.function(new):
                hash(value)

    def update(self, news: Iterable[tuple[Key, U | None]]) -> Objects[Change[U]]:
        """Store or (``None``) remove objects; return (old, new) of those that differ."""
        changes: Objects[Change[U]] = []
        for key, new in news:
            self._unreadable.pop(key, None)
            old = self._peek(key)
            if old == new:
                continue
            self._replace(key, old, new)
            changes.append((old, new))
        return changes

    def mark_unreadable(self, key: Key, problem: str) -> bool:
        """Note that the present state of an object cannot be read; ``False`` if that is known."""
        known = self._unreadable.get(key) == problem
        self._unreadable[key] = problem
        return not known

    def _peek(self, key: Key) -> U | None:
        return self._namespaces.get(key.namespace, {}).get(key.name)

    def _replace(self, key: Key, old: U | None, new: U | None) -> None:
        for index in self._indexes.values():
            if old is not None:
                index.drop(key, old)
            if new is not None:
                index.put(key, new)
        if new is not None:
            self._namespaces.setdefault(key.namespace, {})[key.name] = new
            return
        objects = self._namespaces[key.namespace]
        del objects[key.name]
        if not objects:
            del self._namespaces[key.namespace]
