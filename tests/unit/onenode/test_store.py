"""The object store: revisions, conflicts, history, removal, restart."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from onenode import watch as watch_module
from onenode.store import AlreadyExistsError, ConflictError, ExpiredError, NotStoredError, Store
from onenode.watch import SlowWatcherError


def a_store(history_length: int = 100, path: Path | str = ":memory:") -> Store:
    return Store(path, lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), history_length=history_length)


def a_map(name: str, namespace: str = "ns", **data: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def test_created_object_gets_identity_and_revision() -> None:
    store = a_store()
    made = store.create("configmaps", a_map("a"))
    assert made["metadata"]["creationTimestamp"] == "2026-01-02T03:04:05Z"
    assert made["metadata"]["resourceVersion"] == str(store.revision)
    assert len(made["metadata"]["uid"]) == 36


def test_reads_are_copies() -> None:
    store = a_store()
    store.create("configmaps", a_map("a", k="v"))
    read = store.get("configmaps", "ns", "a")
    assert read is not None
    read["data"]["k"] = "changed"
    again = store.get("configmaps", "ns", "a")
    assert again is not None
    assert again["data"] == {"k": "v"}


def test_taken_name_is_refused() -> None:
    store = a_store()
    store.create("configmaps", a_map("a"))
    with pytest.raises(AlreadyExistsError):
        store.create("configmaps", a_map("a"))
    store.create("configmaps", a_map("a", namespace="other"))


def test_stale_update_conflicts_and_missing_is_told() -> None:
    store = a_store()
    first = store.create("configmaps", a_map("a"))
    stale = {**first, "metadata": dict(first["metadata"])}
    store.update("configmaps", {**first, "metadata": dict(first["metadata"]), "data": {"x": "y"}})
    with pytest.raises(ConflictError):
        store.update("configmaps", {**stale, "data": {"z": "z"}})
    with pytest.raises(NotStoredError):
        store.update("configmaps", a_map("missing"))


def test_identical_update_writes_nothing() -> None:
    store = a_store()
    made = store.create("configmaps", a_map("a", k="v"))
    before = store.revision
    again = store.update("configmaps", {**made, "metadata": dict(made["metadata"])})
    assert (store.revision, again["metadata"]["resourceVersion"]) == (before, str(before))


def test_list_is_ordered_by_namespace_and_name() -> None:
    store = a_store()
    for namespace, name in (("b", "x"), ("a", "y"), ("a", "b")):
        store.create("configmaps", a_map(name, namespace))
    items, revision = store.list("configmaps")
    assert [(i["metadata"]["namespace"], i["metadata"]["name"]) for i in items] == [
        ("a", "b"),
        ("a", "y"),
        ("b", "x"),
    ]
    assert revision == store.revision
    assert [i["metadata"]["name"] for i in store.list("configmaps", "a")[0]] == ["b", "y"]


def test_past_list_is_what_it_was() -> None:
    store = a_store()
    store.create("configmaps", a_map("a", k="1"))
    store.create("configmaps", a_map("b"))
    then = store.revision
    store.update("configmaps", a_map("a", k="2"))
    store.delete_now("configmaps", "ns", "b")
    store.create("configmaps", a_map("c"))
    past = store.records_at("configmaps", "ns", then)
    assert [(r.name, r.view["data"]) for r in past] == [("a", {"k": "1"}), ("b", {})]
    store.forget_history()
    with pytest.raises(ExpiredError, match="too old resource version"):
        store.records_at("configmaps", "ns", then)


@pytest.mark.parametrize(
    ("metadata", "gone"),
    [
        pytest.param({"deletionTimestamp": "t", "deletionGracePeriodSeconds": 0}, True, id="grace-over"),
        pytest.param({"deletionTimestamp": "t", "deletionGracePeriodSeconds": 30}, False, id="in-grace"),
        pytest.param({"deletionTimestamp": "t", "finalizers": ["x/y"]}, False, id="finalizer"),
        pytest.param({"labels": {"a": "b"}}, False, id="not-deleted"),
    ],
)
def test_update_removes_what_nothing_holds(metadata: dict[str, Any], gone: bool) -> None:
    store = a_store()
    made = store.create("pods", a_map("p"))
    made["metadata"].update(metadata)
    store.update("pods", made)
    assert (store.get("pods", "ns", "p") is None) is gone


def test_delete_now_leaves_finalizers_in_charge() -> None:
    store = a_store()
    pod = a_map("p")
    pod["metadata"]["finalizers"] = ["example.com/hold"]
    store.create("pods", pod)
    left = store.delete_now("pods", "ns", "p")
    assert left["metadata"]["deletionGracePeriodSeconds"] == 0
    left["metadata"]["finalizers"] = []
    store.update("pods", left)
    assert store.get("pods", "ns", "p") is None


async def test_watch_resumes_after_a_revision_and_misses_nothing() -> None:
    store = a_store()
    store.create("configmaps", a_map("a"))
    since = store.revision
    store.update("configmaps", a_map("a", k="2"))
    store.create("secrets", a_map("foreign"))
    watch = store.watch("configmaps", since)
    store.delete_now("configmaps", "ns", "a")
    seen = [await anext(watch), await anext(watch)]
    assert [(e.type, e.object["data"]) for e in seen] == [("MODIFIED", {"k": "2"}), ("DELETED", {"k": "2"})]
    assert seen[1].object["metadata"]["resourceVersion"] == str(store.revision)
    assert seen[0].old == {**a_map("a"), "metadata": seen[0].old["metadata"]} if seen[0].old else False
    watch.close()
    with pytest.raises(StopAsyncIteration):
        await anext(watch)


async def test_watch_wakes_a_waiting_reader() -> None:
    store = a_store()
    watch = store.watch("configmaps")
    waiting = asyncio.ensure_future(anext(watch))
    store.create("configmaps", a_map("a"))
    assert (await waiting).type == "ADDED"


async def test_watch_from_before_the_history_is_expired() -> None:
    store = a_store(history_length=2)
    first = store.revision
    for name in "abc":
        store.create("configmaps", a_map(name))
    with pytest.raises(ExpiredError):
        store.watch("configmaps", first)
    watch = store.watch("configmaps", first + 1)
    assert [(await anext(watch)).record.name for _ in range(2)] == ["b", "c"]


async def test_slow_watcher_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "QUEUE_LENGTH", 2)
    store = a_store()
    watch = store.watch("configmaps")
    for name in "abc":
        store.create("configmaps", a_map(name))
    with pytest.raises(SlowWatcherError):
        await anext(watch)


def test_restart_keeps_objects_and_revision(tmp_path: Path) -> None:
    store = a_store(path=tmp_path / "db")
    store.create("configmaps", a_map("a", k="v"))
    store.create("namespaces", {"kind": "Namespace", "metadata": {"name": "n"}})
    store.delete_now("configmaps", "ns", "a")
    store.create("configmaps", a_map("b"))
    revision = store.revision
    # No close: as after SIGKILL.
    again = a_store(path=tmp_path / "db")
    assert again.revision == revision
    assert [r.name for r in again.records("configmaps")] == ["b"]
    assert again.record("namespaces", None, "n") is not None
    store.close()
    again.close()
