"""GET: one object, lists with pages, and lists of the past."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Final

from onenode import causes
from onenode.answers import Answer, Renderer
from onenode.requests import Request
from onenode.selection import Selection
from onenode.status import (
    ApiError,
    bad_request,
    expired,
    invalid_options,
    not_found,
    too_large_version,
)
from onenode.store import ExpiredError, Store
from onenode.watch import Record

__all__ = ["get_object", "list_objects", "parse_version"]

_TOO_OLD: Final = "The resourceVersion for the provided list is too old."
_CONTINUE_TOO_OLD: Final = (
    "The provided continue parameter is too old to display a consistent list result. You can start a "
    "new list without the continue parameter, or use the continue token in this response to retrieve "
    "the remainder of the results. Continuing with the provided token results in an inconsistent list -"
    " objects that were created, modified, or deleted between the time the first chunk was returned and"
    " now may show up in the list."
)
_MATCHES: Final = ("Exact", "NotOlderThan", "")


def parse_version(text: str) -> int | None:
    """A resourceVersion; ``None`` if none is given.

    Raises:
        ValueError: it is not a number; the text is Go's.
    """
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        shown = causes.go_quote(text)
        raise ValueError(
            f"resourceVersion: Invalid value: {shown}: strconv.ParseUint: parsing {shown}: invalid syntax"
        )
    return int(text)


def _wanted_version(request: Request, store: Store) -> int | None:
    try:
        version = parse_version(request.parameter("resourceVersion"))
    except ValueError as error:
        raise bad_request(f"invalid resource version: {error}") from error
    if version is not None and version > store.revision:
        raise too_large_version(version, store.revision)
    return version


def get_object(request: Request, store: Store, selection: Selection, renderer: Renderer) -> Answer:
    """Answer GET of one name."""
    resource = selection.resource
    _wanted_version(request, store)
    record = store.record(resource.stored_as, selection.namespace, selection.name)
    if record is None:
        raise not_found(resource, selection.name)
    return renderer.one(record.view)


def _check_options(request: Request) -> None:
    match, version = request.parameter("resourceVersionMatch"), request.parameter("resourceVersion")
    found = []
    if "sendInitialEvents" in request.query:
        text = "sendInitialEvents is forbidden for list"
        found.append(causes.forbidden("sendInitialEvents", text))
    if match and match not in _MATCHES:
        found.append(causes.not_supported("resourceVersionMatch", match, _MATCHES))
    elif match and request.parameter("continue"):
        text = "resourceVersionMatch is forbidden when continue is provided"
        found.append(causes.forbidden("resourceVersionMatch", text))
    elif match and not version:
        text = "resourceVersionMatch is forbidden unless resourceVersion is provided"
        found.append(causes.forbidden("resourceVersionMatch", text))
    elif match == "Exact" and version == "0":
        text = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        found.append(causes.forbidden("resourceVersionMatch", text))
    if found:
        raise invalid_options("ListOptions", found)


def list_objects(request: Request, store: Store, selection: Selection, renderer: Renderer) -> Answer:
    """Answer GET of a collection."""
    _check_options(request)
    limit = max(request.integer("limit") or 0, 0)
    request.integer("timeoutSeconds")
    token = request.parameter("continue")
    if token:
        records, revision = _continued(request, store, selection, token)
        limit = 0 if request.parameter("resourceVersion") == "0" else limit
    else:
        records, revision, limit = _first_page(request, store, selection, limit)
    metadata: dict[str, Any] = {"resourceVersion": str(revision)}
    if limit and len(records) > limit:
        metadata["continue"] = _token(revision, records[limit - 1].key)
        if selection.is_everything:
            metadata["remainingItemCount"] = len(records) - limit
        records = records[:limit]
    return renderer.many(records, metadata)


def _selected(records: list[Record], selection: Selection) -> list[Record]:
    if selection.is_everything:
        return records
    return [record for record in records if selection.matches(record)]


def _first_page(
    request: Request, store: Store, selection: Selection, limit: int
) -> tuple[list[Record], int, int]:
    version = _wanted_version(request, store)
    match = request.parameter("resourceVersionMatch")
    name = selection.resource.stored_as
    if version and (match == "Exact" or (limit and not match)):
        try:
            records = store.records_at(name, selection.namespace, version)
        except ExpiredError as error:
            raise expired(_TOO_OLD) from error
        return _selected(records, selection), version, limit
    records = _selected(store.records(name, selection.namespace), selection)
    # As a watch cache does: what may be stale comes whole.
    return records, store.revision, 0 if version == 0 else limit


def _continued(request: Request, store: Store, selection: Selection, token: str) -> tuple[list[Record], int]:
    if request.parameter("resourceVersion") not in ("", "0"):
        raise bad_request("specifying resource version is not allowed when using continue")
    revision, start = _parse_token(token)
    name = selection.resource.stored_as
    try:
        records = (
            store.records(name, selection.namespace)
            if revision < 0
            else store.records_at(name, selection.namespace, revision)
        )
    except ExpiredError as error:
        raise _ContinueExpiredError(_token(-1, start)) from error
    rest = [record for record in records if record.key > start]
    return _selected(rest, selection), store.revision if revision < 0 else revision


class _ContinueExpiredError(ApiError):
    """A page of a list that is gone; offers a token for an inconsistent rest."""

    def __init__(self, token: str) -> None:
        super().__init__(410, "Expired", _CONTINUE_TOO_OLD)
        self.token = token

    def to_status(self) -> dict[str, Any]:
        return {**super().to_status(), "metadata": {"continue": self.token}}


def _token(revision: int, key: tuple[str, str]) -> str:
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": f"{key[0]}/{key[1]}\x00"})
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _parse_token(token: str) -> tuple[int, tuple[str, str]]:
    try:
        parsed = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, _, name = str(parsed["start"]).rstrip("\x00").partition("/")
        return int(parsed["rv"]), (namespace, name)
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        text = f"illegal base64 data at input byte {len(token) - len(token) % 4}"
        raise bad_request(f"invalid continue token: continue key is not valid: {text}") from error
