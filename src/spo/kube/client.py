"""Typed requests to the API server: one method per verb, slim structs in and out."""

import contextlib
from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec
from lightkube.config.kubeconfig import SingleConfig

from spo.api.resource import Resource
from spo.kube.clock import SYSTEM_CLOCK, Clock
from spo.kube.config import load_config
from spo.kube.errors import (
    InvalidError,
    MalformedResponseError,
    ServerError,
    UnreadableObjectError,
    api_error,
)
from spo.kube.lines import LineTooLongError, UnfinishedLineError, split_lines
from spo.kube.transport import ClientLimits, HttpRequest, Transport
from spo.kube.wire import (
    KubeObject,
    Page,
    Unreadable,
    WatchError,
    WatchEvent,
    decode_event,
    decode_object,
    decode_page,
)

T = TypeVar("T", bound=KubeObject)

PAGE_SIZE: Final = 500
"""Objects per page of a list, as kubectl does it."""

_APPLY: Final = "application/apply-patch+yaml"  # JSON is YAML
_MERGE_PATCH: Final = "application/merge-patch+json"


class KubeClient:
    """A connection to one API server.

    Use as ``async with KubeClient(config) as client``. Every method raises a child of
    :class:`spo.kube.errors.KubeError`, or UnreadableObjectError for an object that does not fit its struct
    (a write was carried out then). ``field_manager`` is the name under which writes appear in
    ``managedFields``.
    """

    def __init__(
        self,
        config: SingleConfig,
        *,
        field_manager: str = "security-profiles-operator",
        clock: Clock = SYSTEM_CLOCK,
        limits: ClientLimits | None = None,
    ) -> None:
        self._limits = limits or ClientLimits()
        self._transport = Transport(config, clock, self._limits)
        self._field_manager = field_manager

    @classmethod
    def from_env(cls, env: Mapping[str, str], *, field_manager: str = "security-profiles-operator") -> Self:
        """A client for the server that the environment leads to; see :func:`spo.kube.config.load_config`."""
        return cls(load_config(env), field_manager=field_manager)

    @property
    def server(self) -> str:
        """URL of the API server."""
        return self._transport.server

    @property
    def counts(self) -> Mapping[tuple[str, str], int]:
        """(method, status) -> answers so far; the status is ``<error>`` if there was none."""
        return self._transport.counts

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    async def get(self, resource: Resource[T], name: str, namespace: str | None = None) -> T:
        """One object; raises NotFoundError when it is absent."""
        return await self._one(
            resource, HttpRequest(method="GET", path=_path(resource, namespace, name), params={})
        )

    async def list_page(
        self,
        resource: Resource[T],
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        limit: int = PAGE_SIZE,
        continue_: str | None = None,
        resource_version: str | None = None,
    ) -> Page[T]:
        """One page of a list; raises GoneError when ``continue_`` is too old."""
        params = {
            "limit": str(limit),
            **_present(
                labelSelector=label_selector,
                fieldSelector=field_selector,
                # It can be empty by accident only: the token of a last page.
                **{"continue": continue_ or None},
                resourceVersion=resource_version,
            ),
        }
        request = HttpRequest(method="GET", path=_path(resource, namespace), params=params)
        body = await self._transport.send(request)
        try:
            page = decode_page(body, resource.type)
        except msgspec.DecodeError as error:
            raise MalformedResponseError(str(request), str(error)) from error
        if not page.resource_version:
            raise MalformedResponseError(str(request), "the list has no resourceVersion")
        return page

    async def watch(
        self,
        resource: Resource[T],
        namespace: str | None = None,
        *,
        resource_version: str,
        timeout_s: float,
        inactivity_s: float = 150.0,
        label_selector: str | None = None,
        field_selector: str | None = None,
        bookmarks: bool = True,
    ) -> AsyncGenerator[WatchEvent[T], None]:
        """Changes after ``resource_version``; ends when ``timeout_s`` is over.

        Close it (``contextlib.aclosing``) when leaving early.

        Args:
            inactivity_s: how long the server may stay silent before the connection is given up.

        Raises:
            GoneError: ``resource_version`` is too old: list again.
        """
        params = {
            "watch": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(max(1, int(timeout_s))),
            "allowWatchBookmarks": "true" if bookmarks else "false",
            **_present(labelSelector=label_selector, fieldSelector=field_selector),
        }
        request = HttpRequest(method="GET", path=_path(resource, namespace), params=params)
        async with self._transport.stream(request, inactivity_s) as chunks:
            lines = split_lines(chunks, self._limits.max_event_bytes)
            async with contextlib.aclosing(lines):
                try:
                    async for line in lines:
                        yield _event(line, resource.type)
                except (msgspec.DecodeError, LineTooLongError, UnfinishedLineError) as error:
                    problem = f"{type(error).__name__}: {error}"
                    raise MalformedResponseError(f"watch {request.path}", problem) from error

    async def create(
        self, resource: Resource[T], obj: T | Mapping[str, Any], namespace: str | None = None
    ) -> T:
        """Create an object; raises AlreadyExistsError. ``namespace`` defaults to the one in ``obj``."""
        body = _body(resource, obj)
        namespace = namespace or body.get("metadata", {}).get("namespace")
        return await self._one(
            resource, self._write("POST", _path(resource, namespace), body, idempotent=False)
        )

    async def apply(
        self,
        resource: Resource[T],
        obj: T | Mapping[str, Any],
        name: str,
        namespace: str | None = None,
        *,
        field_manager: str | None = None,
        subresource: str | None = None,
        force: bool = True,
    ) -> T:
        """Server-side apply: exactly the fields in ``obj`` become ours, what we no longer send goes.

        Raises:
            ConflictError: another manager owns a field and ``force`` is off, or ``obj`` holds a
                resourceVersion that is no longer current.
        """
        body = _body(resource, obj)
        body["metadata"] = {**body.get("metadata", {}), "name": name, **_present(namespace=namespace)}
        request = self._write(
            "PATCH",
            _path(resource, namespace, name, subresource),
            body,
            content_type=_APPLY,
            params={"force": "true" if force else "false"},
            field_manager=field_manager,
        )
        return await self._one(resource, request)

    async def update(
        self, resource: Resource[T], obj: T | Mapping[str, Any], name: str, namespace: str | None = None
    ) -> T:
        """Replace an object as a whole; its ``metadata.resourceVersion`` makes that fail if it is stale.

        Raises:
            ConflictError: the object has changed since that version.
        """
        path = _path(resource, namespace, name)
        return await self._one(resource, self._write("PUT", path, _body(resource, obj)))

    async def patch(
        self,
        resource: Resource[T],
        name: str,
        namespace: str | None,
        body: Mapping[str, Any],
        *,
        subresource: str | None = None,
    ) -> T:
        """Merge patch; ``metadata.resourceVersion`` in ``body`` makes it fail with ConflictError if stale."""
        path = _path(resource, namespace, name, subresource)
        return await self._one(resource, self._write("PATCH", path, body, content_type=_MERGE_PATCH))

    async def delete(
        self,
        resource: Resource[T],
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        grace_period_s: int | None = None,
        propagation: str | None = None,
    ) -> None:
        """Delete; raises NotFoundError. ``uid``, ``resource_version``: delete only that very object."""
        preconditions = _present(uid=uid, resourceVersion=resource_version)
        body: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if preconditions:
            body["preconditions"] = preconditions
        if grace_period_s is not None:
            body["gracePeriodSeconds"] = grace_period_s
        if propagation is not None:
            body["propagationPolicy"] = propagation
        path = _path(resource, namespace, name)
        content = msgspec.json.encode(body)
        await self._transport.send(HttpRequest(method="DELETE", path=path, params={}, body=content))

    def _write(
        self,
        method: str,
        path: str,
        body: object,
        *,
        content_type: str = "application/json",
        params: Mapping[str, str] | None = None,
        field_manager: str | None = None,
        idempotent: bool = True,
    ) -> HttpRequest:
        return HttpRequest(
            method=method,
            path=path,
            params={"fieldManager": field_manager or self._field_manager, **(params or {})},
            body=msgspec.json.encode(body),
            content_type=content_type,
            idempotent=idempotent,
        )

    async def _one(self, resource: Resource[T], request: HttpRequest) -> T:
        body = await self._transport.send(request)
        try:
            found = decode_object(body, resource.type)
        except msgspec.DecodeError as error:
            raise MalformedResponseError(str(request), str(error)) from error
        if isinstance(found, Unreadable):
            key = found.metadata
            raise UnreadableObjectError(resource.kind, key.namespace, key.name, found.problem)
        return found


def _path(
    resource: Resource[Any],
    namespace: str | None = None,
    name: str | None = None,
    subresource: str | None = None,
) -> str:
    """The URL path; a name that the API server could never have given out must not bend it."""
    for part in (namespace or "", name or ""):
        if part in {".", ".."} or not part.isprintable() or any(char in part for char in "/%?#\\ "):
            raise InvalidError(400, "BadRequest", f"{part!r} is not a name of an object")
    return resource.path(namespace, name, subresource)


def _event(line: bytes, kind: type[T]) -> WatchEvent[T]:
    event = decode_event(line, kind)
    if isinstance(event, WatchError):
        status = event.object
        raise api_error(status.code, status) if status.code else ServerError(0, status.reason, status.message)
    return event


def _body(resource: Resource[T], obj: T | Mapping[str, Any]) -> dict[str, Any]:
    """The object as the API wants it: our structs do not carry apiVersion and kind."""
    content: dict[str, Any] = dict(obj) if isinstance(obj, Mapping) else msgspec.to_builtins(obj)
    return {"apiVersion": resource.api_version, "kind": resource.kind, **content}


def _present(**params: str | None) -> dict[str, str]:
    return {key: value for key, value in params.items() if value is not None}
