"""Watches without HTTP: shared lines, bookmarks, selectors that stop matching."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from onenode.answers import Renderer
from onenode.builtin_resources import builtin_resources
from onenode.negotiation import Form
from onenode.registry import Registry, Resource
from onenode.requests import ANONYMOUS, Request
from onenode.selection import Selection
from onenode.store import Store
from onenode.watching import watch_objects

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def config_maps() -> Resource:
    resource = Registry(builtin_resources()).find("", "v1", "configmaps")
    assert resource is not None
    return resource


def a_map(name: str, **labels: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"name": name, "namespace": "ns", "labels": labels}}


def start(store: Store, query: str) -> AsyncIterator[bytes]:
    """Begin to listen; the lines come later."""
    request = Request("GET", "/", query, {}, b"", ANONYMOUS)
    resource = config_maps()
    renderer = Renderer(resource, Form(), NOW)
    answer = watch_objects(request, store, Selection.of(request, resource, "ns"), renderer)
    assert not isinstance(answer.body, bytes)
    return answer.body


async def take(lines: AsyncIterator[bytes], count: int) -> list[tuple[str, str, str]]:
    """Type, name and version of the next lines."""
    found = []
    for _ in range(count):
        event = json.loads(await anext(lines))
        metadata = event["object"]["metadata"]
        found.append((event["type"], metadata.get("name", ""), metadata["resourceVersion"]))
    return found


async def test_watchers_share_one_line() -> None:
    store = Store(":memory:", lambda: NOW)
    first, second = start(store, "watch=1"), start(store, "watch=1")
    store.create("configmaps", a_map("a"))
    assert await anext(first) is await anext(second)


async def test_nothing_is_missed_between_the_answer_and_its_first_line() -> None:
    store = Store(":memory:", lambda: NOW)
    lines = start(store, f"watch=1&resourceVersion={store.revision}")
    store.create("configmaps", a_map("a"))
    store.create("configmaps", a_map("b"))
    assert [name for _, name, _ in await take(lines, 2)] == ["a", "b"]


async def test_initial_bookmark_is_not_ahead_of_what_was_sent() -> None:
    store = Store(":memory:", lambda: NOW)
    store.create("configmaps", a_map("a"))
    then = str(store.revision)
    query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    lines = start(store, query)
    store.create("configmaps", a_map("b"))
    assert await take(lines, 3) == [
        ("ADDED", "a", then),
        ("BOOKMARK", "", then),
        ("ADDED", "b", str(store.revision)),
    ]


async def test_object_that_stops_matching_is_deleted_for_the_watcher() -> None:
    store = Store(":memory:", lambda: NOW)
    lines = start(store, f"watch=1&labelSelector=app%3Dx&resourceVersion={store.revision}")
    made = store.create("configmaps", a_map("a", app="x"))
    made["metadata"]["labels"] = {"app": "y"}
    store.update("configmaps", made)
    store.delete_now("configmaps", "ns", "a")
    store.create("configmaps", a_map("end", app="x"))
    assert [(kind, name) for kind, name, _ in await take(lines, 3)] == [
        ("ADDED", "a"),
        ("DELETED", "a"),
        ("ADDED", "end"),
    ]


async def test_future_version_waits_for_it() -> None:
    store = Store(":memory:", lambda: NOW)
    lines = start(store, f"watch=1&resourceVersion={store.revision + 1}")
    store.create("configmaps", a_map("too-early"))
    store.create("configmaps", a_map("after"))
    assert [name for _, name, _ in await take(lines, 1)] == ["after"]


async def test_expired_version_is_one_error_and_the_end() -> None:
    store = Store(":memory:", lambda: NOW)
    store.create("configmaps", a_map("a"))
    store.forget_history()
    lines = [json.loads(line) async for line in start(store, "watch=1&resourceVersion=1")]
    assert [(line["type"], line["object"]["code"]) for line in lines] == [("ERROR", 410)]
