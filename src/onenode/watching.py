"""GET with watch: a stream of JSON lines."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from onenode import causes
from onenode.answers import Answer, Renderer
from onenode.listing import parse_version
from onenode.negotiation import JSON
from onenode.requests import Request
from onenode.selection import Selection
from onenode.status import expired, internal_error, invalid_options
from onenode.store import ExpiredError, Store
from onenode.watch import Event, Record, SlowWatcherError, Watch

__all__ = ["watch_objects"]

_INITIAL_END: Final = "k8s.io/initial-events-end"
_BOOKMARK_S: Final = 60.0
_LAST_BOOKMARK_S: Final = 2.0
"""How long before its timeout a watch gets its last bookmark."""
_SHORTEST_S: Final = 1800
"""A watch without a timeout ends after this time or up to twice of it."""

Obj = dict[str, Any]

_NO_NAMES: Final = {"plural": "", "kind": ""}
_NO_TEMPLATE: Final[Obj] = {"metadata": {}, "spec": {"containers": None}}
_ZERO_PARTS: Final[dict[str, Obj]] = {
    "Pod": {"spec": {"containers": None}, "status": {}},
    "Namespace": {"spec": {}, "status": {}},
    "Lease": {"spec": {}},
    "Deployment": {
        "spec": {"replicas": 0, "selector": None, "template": _NO_TEMPLATE, "strategy": {}},
        "status": {},
    },
    "ReplicaSet": {
        "spec": {"replicas": 0, "selector": None, "template": _NO_TEMPLATE},
        "status": {"replicas": 0},
    },
    "Job": {"spec": {"template": _NO_TEMPLATE}, "status": {}},
    "Service": {"spec": {}, "status": {"loadBalancer": {}}},
    "CustomResourceDefinition": {
        "spec": {"group": "", "names": _NO_NAMES, "scope": "", "versions": None},
        "status": {"conditions": None, "acceptedNames": _NO_NAMES, "storedVersions": None},
    },
}
"""What Go shows of an empty object of a typed kind; bookmarks carry it."""


def _check_options(request: Request) -> None:
    match = request.parameter("resourceVersionMatch")
    found = []
    if "sendInitialEvents" in request.query:
        if match != "NotOlderThan":
            text = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            found.append(causes.forbidden("resourceVersionMatch", text))
        if match not in ("", "NotOlderThan"):
            found.append(causes.not_supported("resourceVersionMatch", match, ["NotOlderThan"]))
    elif match:
        text = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        found.append(causes.forbidden("resourceVersionMatch", text))
    if found:
        raise invalid_options("ListOptions", found)


def watch_objects(request: Request, store: Store, selection: Selection, renderer: Renderer) -> Answer:
    """Answer a watch; listening begins before this returns, so nothing is missed."""
    _check_options(request)
    request.integer("limit")
    timeout = request.integer("timeoutSeconds")
    try:
        version = parse_version(request.parameter("resourceVersion"))
    except ValueError as error:
        raise internal_error(str(error)) from error
    initial_events = request.flag("sendInitialEvents")
    from_now = not version and "sendInitialEvents" in request.query and not initial_events
    resource = selection.resource.stored_as
    initial: list[Record] = []
    if initial_events or (not version and not from_now):
        initial = [r for r in store.records(resource, selection.namespace) if selection.matches(r)]
        watch = store.watch(resource)
        version = store.revision
    else:
        try:
            watch = store.watch(resource, None if from_now else version)
        except ExpiredError as error:
            return Answer(200, _one_error(error), JSON)
    stream = _Stream(
        store=store,
        selection=selection,
        renderer=renderer,
        watch=watch,
        initial=initial,
        since=version or 0,
        bookmarks=request.flag("allowWatchBookmarks"),
        marks_initial=initial_events,
        first_mark_tells=not request.parameter("resourceVersion").strip("0") and not from_now,
        timeout_s=float(timeout or random.randint(_SHORTEST_S, 2 * _SHORTEST_S)),  # noqa: S311 spreads load
    )
    return Answer(200, stream.lines(), JSON)


async def _one_error(error: ExpiredError) -> AsyncIterator[bytes]:
    yield _line("ERROR", expired(str(error)).to_status())


def _line(kind: str, obj: Any) -> bytes:
    return msgspec.json.encode({"type": kind, "object": obj}) + b"\n"


@dataclass(kw_only=True)
class _Stream:
    """One running watch."""

    store: Store
    selection: Selection
    renderer: Renderer
    watch: Watch
    initial: list[Record]
    since: int
    bookmarks: bool
    marks_initial: bool
    first_mark_tells: bool
    timeout_s: float
    definitions_sent: bool = False

    async def lines(self) -> AsyncIterator[bytes]:
        """The lines, until the timeout."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self.timeout_s
        try:
            for record in self.initial:
                yield self._encode("ADDED", record)
            if self.marks_initial and self.bookmarks:
                yield self._bookmark(self.since, tells_end=True)
                self.first_mark_tells = False
            marked = self.timeout_s <= _LAST_BOOKMARK_S
            while (remaining := end - loop.time()) > 0:
                last_mark = max(remaining - _LAST_BOOKMARK_S, 0.0) if not marked else remaining
                event = await self._next(min(last_mark, _BOOKMARK_S) if self.bookmarks else remaining)
                if event is not None:
                    line = self._changed(event)
                    if line is not None:
                        yield line
                elif self.bookmarks and not marked and not self.watch.pending:
                    marked = end - loop.time() <= _LAST_BOOKMARK_S + 0.01
                    yield self._bookmark(self.store.revision, tells_end=self.first_mark_tells)
                    self.first_mark_tells = False
        except SlowWatcherError:
            yield _line("ERROR", expired("the watch fell too far behind").to_status())
        finally:
            self.watch.close()

    async def _next(self, wait_s: float) -> Event | None:
        if self.watch.pending:
            return await anext(self.watch)
        with contextlib.suppress(TimeoutError, StopAsyncIteration):
            async with asyncio.timeout(wait_s):
                return await anext(self.watch)
        return None

    def _changed(self, event: Event) -> bytes | None:
        """What a change looks like through the selectors."""
        if event.revision <= self.since:
            return None
        before = self.selection.matches(event.old_record)
        if event.type == "DELETED":
            return self._shared("DELETED", event) if before or event.old_record is None else None
        after = self.selection.matches(event.record)
        if after:
            return self._shared("MODIFIED" if before else "ADDED", event)
        if before and event.old_record is not None:
            # It stopped matching: the old state, under the version of the change.
            gone = event.old_record.copy()
            gone["metadata"]["resourceVersion"] = str(event.revision)
            return self._encode("DELETED", _with_body(event.old_record, gone))
        return None

    def _shared(self, kind: str, event: Event) -> bytes:
        """A line, encoded once for all watchers that want the same form."""
        resource, form = self.renderer.resource, self.renderer.form
        if form.convert == "Table":
            return self._encode(kind, event.record)
        key = (kind, resource.group_version, form.convert, form.version)
        line = event.lines.get(key)
        if line is None:
            line = event.lines[key] = self._encode(kind, event.record)
        return line

    def _encode(self, kind: str, record: Record) -> bytes:
        renderer = self.renderer
        if not renderer.form.convert and renderer.resource.from_stored is None:
            return b'{"type":"%s","object":%s}\n' % (kind.encode(), record.raw)
        return _line(kind, self._converted(record.view))

    def _converted(self, obj: Obj) -> Obj:
        renderer = self.renderer
        if renderer.form.convert == "Table":
            metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            table = renderer.table([obj], metadata, definitions=not self.definitions_sent)
            self.definitions_sent = True
            return table
        return renderer.partial(obj) if renderer.form.convert else renderer.served(obj)

    def _bookmark(self, revision: int, *, tells_end: bool) -> bytes:
        resource = self.renderer.resource
        metadata: Obj = {"resourceVersion": str(revision)}
        if tells_end:
            metadata["annotations"] = {_INITIAL_END: "true"}
        obj: Obj = {"kind": resource.kind, "apiVersion": resource.group_version, "metadata": metadata}
        if self.renderer.form.convert == "Table":
            columns = len(self.renderer.resource.columns)
            table = self._converted(obj)
            table["rows"][0]["cells"] = ["", *[None] * (columns - 1)]
            return _line("BOOKMARK", table)
        if not resource.custom and not self.renderer.form.convert:
            obj |= _ZERO_PARTS.get(resource.kind, {})
        return _line("BOOKMARK", self._converted(obj))


def _with_body(record: Record, body: Obj) -> Record:
    return Record(record.resource, record.namespace, record.name, record.revision, msgspec.json.encode(body))
