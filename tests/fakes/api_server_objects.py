"""The objects of the fake API server: versions, history, watches, merge patch, a coarse server-side apply."""

import asyncio
import copy
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

_INITIAL_VERSION = 100


class RefusedError(Exception):
    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


@dataclass(frozen=True)
class Target:
    """What a path names."""

    group_version: str
    plural: str
    namespace: str | None
    name: str | None
    subresource: str | None

    @property
    def collection(self) -> tuple[str, str]:
        return self.group_version, self.plural


@dataclass(frozen=True)
class _Change:
    version: int
    collection: tuple[str, str]
    type: str
    object: dict[str, Any]
    old: dict[str, Any] | None


class Objects:
    """All kinds, as dictionaries."""

    def __init__(self) -> None:
        self.version = _INITIAL_VERSION
        self.oldest = _INITIAL_VERSION
        """Watches from an older version get 410."""
        self.send_bookmarks = True
        self._stored: dict[tuple[str, str], dict[tuple[str, str], dict[str, Any]]] = {}
        self._history: list[_Change] = []
        self._snapshots: dict[str, tuple[int, list[dict[str, Any]]]] = {}
        self._changed = asyncio.Event()
        self._ending = asyncio.Event()

    def locate(self, path: str) -> Target:
        parts = path.strip("/").split("/")
        group_version = "/".join(parts[1:3]) if parts[0] == "apis" else parts[1]
        rest = parts[3:] if parts[0] == "apis" else parts[2:]
        namespace = None
        if len(rest) > 2 and rest[0] == "namespaces":
            namespace, rest = rest[1], rest[2:]
        plural, name, subresource = (*rest, None, None)[:3]
        return Target(group_version, str(plural), namespace, name, subresource)

    def compact(self) -> None:
        """Forget the past: watches must start from now, continue tokens are gone."""
        self.version += 1
        self.oldest = self.version
        self._history.clear()
        self._snapshots.clear()

    def end_watches(self) -> None:
        """Let every open watch end as after timeoutSeconds."""
        self._ending.set()
        self._ending = asyncio.Event()

    def get(self, target: Target) -> dict[str, Any]:
        key = (target.namespace or "", target.name or "")
        found = self._stored.get(target.collection, {}).get(key)
        if found is None:
            raise RefusedError(404, "NotFound", f'{target.plural} "{target.name}" not found')
        return copy.deepcopy(found)

    def list(self, target: Target, params: dict[str, str]) -> dict[str, Any]:
        limit = int(params.get("limit") or 0)
        token = params.get("continue")
        if token:
            if token not in self._snapshots:
                raise RefusedError(410, "Expired", "The provided continue parameter is too old")
            version, left = self._snapshots[token]
        else:
            version, left = self.version, list(self._matching(target, params))
        page, left = (left[:limit], left[limit:]) if limit else (left, [])
        metadata = {"resourceVersion": str(version), "continue": ""}
        if left:
            metadata["continue"] = uuid4().hex
            self._snapshots[metadata["continue"]] = (version, left)
        return {"apiVersion": target.group_version, "kind": "List", "metadata": metadata, "items": page}

    def _matching(self, target: Target, params: dict[str, str]) -> Iterable[dict[str, Any]]:
        for (namespace, _), stored in sorted(self._stored.get(target.collection, {}).items()):
            if target.namespace in {None, namespace} and _selected(stored, params):
                yield copy.deepcopy(stored)

    def create(self, target: Target, obj: dict[str, Any]) -> dict[str, Any]:
        metadata = obj.setdefault("metadata", {})
        name = metadata.get("name")
        if not name:
            raise RefusedError(422, "Invalid", "name or generateName is required")
        collection = self._stored.setdefault(target.collection, {})
        if (target.namespace or "", name) in collection:
            raise RefusedError(409, "AlreadyExists", f'{target.plural} "{name}" already exists')
        metadata |= {"uid": str(uuid4()), "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}
        if target.namespace:
            metadata["namespace"] = target.namespace
        return self._store(target.collection, (target.namespace or "", name), "ADDED", obj, None)

    def merge(self, target: Target, patch: dict[str, Any]) -> dict[str, Any]:
        old = self.get(target)
        self._check_version(target, old, patch)
        if target.subresource == "status":
            patch = {"status": patch.get("status")}
        return self._update(target, old, _merged(old, patch))

    def replace(self, target: Target, obj: dict[str, Any]) -> dict[str, Any]:
        old = self.get(target)
        self._check_version(target, old, obj)
        metadata = {**obj.get("metadata", {}), "generation": old["metadata"].get("generation", 1)}
        new = {**obj, "metadata": metadata}
        if "status" in old:
            new["status"] = old["status"]
        return self._update(target, old, new)

    def apply(self, target: Target, obj: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        try:
            old = self.get(target)
        except RefusedError:
            if target.subresource:
                raise
            return 201, self.create(target, obj)
        self._check_version(target, old, obj)
        if target.subresource == "status":
            return 200, self._update(target, old, {**old, "status": obj.get("status")})
        new = {**old, **{key: value for key, value in obj.items() if key != "metadata"}}
        new["metadata"] = {**old["metadata"], **obj["metadata"]}
        return 200, self._update(target, old, new)

    def delete(self, target: Target, options: dict[str, Any]) -> dict[str, Any]:
        old = self.get(target)
        for field_name, wanted in options.get("preconditions", {}).items():
            if old["metadata"].get(field_name) != wanted:
                raise RefusedError(
                    409, "Conflict", f"Precondition failed: {field_name} in precondition: {wanted}"
                )
        if old["metadata"].get("finalizers"):
            new = copy.deepcopy(old)
            new["metadata"].setdefault("deletionTimestamp", "2026-01-01T00:00:00Z")
            return self._update(target, old, new)
        self._remove(target, old)
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}

    def _update(self, target: Target, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        for fixed in ("uid", "name", "namespace", "resourceVersion", "creationTimestamp"):
            if fixed in old["metadata"]:
                new["metadata"][fixed] = old["metadata"][fixed]
        if new == old:
            return old
        if new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers"):
            self._remove(target, old)
            return new
        if new.get("spec") != old.get("spec"):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        return self._store(target.collection, _key(old), "MODIFIED", new, old)

    def _remove(self, target: Target, old: dict[str, Any]) -> None:
        gone = copy.deepcopy(old)
        self._store(target.collection, _key(old), "DELETED", gone, old)
        del self._stored[target.collection][_key(old)]

    def _check_version(self, target: Target, old: dict[str, Any], new: dict[str, Any]) -> None:
        wanted = new.get("metadata", {}).get("resourceVersion")
        if wanted and wanted != old["metadata"]["resourceVersion"]:
            message = f'Operation cannot be fulfilled on {target.plural} "{target.name}"'
            raise RefusedError(409, "Conflict", message)

    def _store(
        self,
        collection: tuple[str, str],
        key: tuple[str, str],
        change: str,
        obj: dict[str, Any],
        old: dict[str, Any] | None,
    ) -> dict[str, Any]:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        self._stored.setdefault(collection, {})[key] = obj
        self._history.append(_Change(self.version, collection, change, copy.deepcopy(obj), old))
        self._changed.set()
        self._changed = asyncio.Event()
        return copy.deepcopy(obj)

    async def watch(self, target: Target, params: dict[str, str]) -> AsyncGenerator[dict[str, Any], None]:
        since = int(params["resourceVersion"])
        if since < self.oldest:
            raise RefusedError(410, "Expired", f"too old resource version: {since} ({self.oldest})")
        ending = self._ending
        loop = asyncio.get_running_loop()
        ends_at_s = loop.time() + float(params.get("timeoutSeconds") or 1800)
        while True:
            changed = self._changed
            for change in [one for one in self._history if one.version > since]:
                since = change.version
                if event := _event(change, target, params):
                    yield event
            left_s = ends_at_s - loop.time()
            if ending.is_set() or left_s <= 0:
                break
            waits = {asyncio.ensure_future(changed.wait()), asyncio.ensure_future(ending.wait())}
            try:
                await asyncio.wait(waits, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
        if params.get("allowWatchBookmarks") == "true" and since <= self.version:
            yield {
                "type": "BOOKMARK",
                "object": {"metadata": {"resourceVersion": str(max(since, self.version))}},
            }


def _event(change: _Change, target: Target, params: dict[str, str]) -> dict[str, Any] | None:
    metadata = change.object["metadata"]
    if change.collection != target.collection or target.namespace not in {None, metadata.get("namespace")}:
        return None
    matches = change.type != "DELETED" and _selected(change.object, params)
    matched = change.old is not None and _selected(change.old, params)
    if matches:
        return {"type": "MODIFIED" if matched else "ADDED", "object": change.object}
    if not matched:
        return None
    # A real server sends the old content with the new version.
    gone = copy.deepcopy(change.old)
    assert gone is not None
    gone["metadata"]["resourceVersion"] = metadata["resourceVersion"]
    return {"type": "DELETED", "object": gone}


def _selected(obj: dict[str, Any], params: dict[str, str]) -> bool:
    labels = obj["metadata"].get("labels", {})
    for term in filter(None, (params.get("labelSelector") or "").split(",")):
        key, _, value = term.partition("=")
        if labels.get(key) != value:
            return False
    for term in filter(None, (params.get("fieldSelector") or "").split(",")):
        path, _, value = term.partition("=")
        found: Any = obj
        for part in path.split("."):
            found = found.get(part, {}) if isinstance(found, dict) else {}
        if found != value:
            return False
    return True


def _key(obj: dict[str, Any]) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _merged(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = copy.deepcopy(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result
