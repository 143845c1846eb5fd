"""Reads objects of one kind from the cache, writes them to the API, never reads behind its own writes."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from spo.api.meta import ObjectMeta
from spo.api.resource import Resource
from spo.kube.cache import Cache
from spo.kube.client import KubeClient
from spo.kube.retry import retry_on_conflict


class _Stored(Protocol):
    @property
    def metadata(self) -> ObjectMeta: ...


T = TypeVar("T", bound=_Stored)


class ObjectStore(Generic[T]):
    """Objects as the manager wants them; what the API returned for a write is preferred until cached."""

    def __init__(
        self, client: KubeClient, resource: Resource[T], cache: Cache[T], field_manager: str
    ) -> None:
        self._client = client
        self._resource = resource
        self._cache = cache
        self._field_manager = field_manager
        self._written: dict[tuple[str, str], T] = {}

    def get(self, namespace: str, name: str) -> T | None:
        """The newest state we know, our own writes included."""
        cached = self._cache.get(namespace, name)
        written = self._written.get((namespace, name))
        if written is None:
            return cached
        if cached is not None and _is_newer(written.metadata, cached.metadata):
            return written
        del self._written[namespace, name]
        return cached

    async def create(self, body: Mapping[str, Any]) -> T:
        """Create an object; its metadata names the namespace.

        Raises:
            AlreadyExistsError: there is one of this name.
        """
        return self._note(await self._client.create(self._resource, body))

    async def change_finalizers(self, obj: T, change: Callable[[list[str]], list[str]]) -> T:
        """Store other finalizers; ``change`` is called again with newer ones after a conflict."""
        namespace, name = obj.metadata.namespace or "", obj.metadata.name
        newest: T | None = obj

        async def attempt() -> T:
            nonlocal newest
            one = newest or await self._client.get(self._resource, name, namespace)
            newest = None  # a conflict means: read again
            wanted = change(one.metadata.finalizers)
            if one.metadata.uid != obj.metadata.uid or wanted == one.metadata.finalizers:
                return one
            metadata = {"finalizers": wanted, "resourceVersion": one.metadata.resource_version}
            return await self._client.patch(self._resource, name, namespace, {"metadata": metadata})

        return self._note(await retry_on_conflict(attempt))

    async def write_status(self, obj: T, status: Mapping[str, Any]) -> T:
        """Store what we say in the status; fields that others say stay."""
        namespace, name = obj.metadata.namespace or "", obj.metadata.name
        # The uid keeps this status away from an object that was made anew under the same name.
        body = {"metadata": {"uid": obj.metadata.uid}, "status": status}
        return self._note(
            await self._client.apply(
                self._resource,
                body,
                name,
                namespace,
                field_manager=self._field_manager,
                subresource="status",
            )
        )

    def _note(self, obj: T) -> T:
        self._written[obj.metadata.namespace or "", obj.metadata.name] = obj
        return obj


def _is_newer(one: ObjectMeta, other: ObjectMeta) -> bool:
    """Versions of one object are decimal numbers that grow; anything else proves nothing."""
    ours, theirs = one.resource_version, other.resource_version
    return one.uid == other.uid and ours.isdecimal() and theirs.isdecimal() and int(ours) > int(theirs)
