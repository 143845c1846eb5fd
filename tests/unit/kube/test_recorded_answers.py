"""Answers recorded from a real API server are understood as they are meant."""

import json
from pathlib import Path
from typing import Any

import pytest

from spo.api.core import EVENTS, LEASES, NAMESPACES, PODS
from spo.api.resource import Resource
from spo.api.seccomp_profile import SECCOMP_PROFILES
from spo.kube.errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NamespaceTerminatingError,
    NotFoundError,
    ServerError,
    api_error,
)
from spo.kube.wire import (
    Added,
    Bookmark,
    Deleted,
    Modified,
    Unreadable,
    WatchError,
    decode_event,
    decode_object,
    decode_page,
    decode_status,
)

DATA = Path(__file__).parents[2] / "data/kube/recorded_answers.json"
EXCHANGES: list[dict[str, Any]] = json.loads(DATA.read_text())["exchanges"]
RESOURCES: dict[str, Resource[Any]] = {
    resource.plural: resource for resource in (EVENTS, LEASES, NAMESPACES, PODS, SECCOMP_PROFILES)
}
BY_KIND = {resource.kind: resource for resource in RESOURCES.values()}


def _id(exchange: dict[str, Any]) -> str:
    return f"{exchange['scenario']}-{exchange['step']}"


def _resource(exchange: dict[str, Any]) -> Resource[Any]:
    parts = exchange["path"].split("?")[0].split("/")
    return next(RESOURCES[part] for part in reversed(parts) if part in RESOURCES)


WATCHES = [one for one in EXCHANGES if "events" in one]
REFUSALS = [one for one in EXCHANGES if one["status"] >= 400]
OBJECTS = [one for one in EXCHANGES if one["status"] < 400 and one.get("body", {}).get("kind") in BY_KIND]


def test_there_is_something_of_everything() -> None:
    assert len(WATCHES) > 15
    assert len(REFUSALS) > 30
    assert len(OBJECTS) > 10


@pytest.mark.parametrize("exchange", WATCHES, ids=_id)
def test_watch_events(exchange: dict[str, Any]) -> None:
    classes = {
        "ADDED": Added,
        "MODIFIED": Modified,
        "DELETED": Deleted,
        "BOOKMARK": Bookmark,
        "ERROR": WatchError,
    }
    for line in exchange["events"]:
        event = decode_event(json.dumps(line).encode(), _resource(exchange).type)
        assert type(event) is classes[line["type"]]
        if isinstance(event, WatchError):
            assert event.object.code == 410
        else:
            assert event.object.metadata.resource_version == line["object"]["metadata"]["resourceVersion"]


@pytest.mark.parametrize("exchange", OBJECTS, ids=_id)
def test_objects(exchange: dict[str, Any]) -> None:
    resource = BY_KIND[exchange["body"]["kind"]]
    found = decode_object(json.dumps(exchange["body"]).encode(), resource.type)
    assert not isinstance(found, Unreadable)
    assert found.metadata.uid == exchange["body"]["metadata"]["uid"]


def test_empty_list() -> None:
    [answer] = [one for one in EXCHANGES if _id(one) == "27-5"]
    page = decode_page(json.dumps(answer["body"]).encode(), SECCOMP_PROFILES.type)
    assert page.items == []
    assert page.continue_ == ""
    assert page.resource_version == answer["body"]["metadata"]["resourceVersion"]


@pytest.mark.parametrize("exchange", REFUSALS, ids=_id)
def test_refusals(exchange: dict[str, Any]) -> None:
    body = exchange["body"]
    text = body if isinstance(body, str) else json.dumps(body)
    status = decode_status(text.encode())
    error = api_error(exchange["status"], status)
    expected: dict[int, type[ApiError]] = {
        400: InvalidError,
        404: NotFoundError,
        409: AlreadyExistsError if status.reason == "AlreadyExists" else ConflictError,
        422: InvalidError,
        500: ServerError,
        504: ServerError,
    }
    assert type(error) is expected[exchange["status"]]
    assert error.message == (body.strip() if isinstance(body, str) else body["message"])
    if exchange["status"] == 504:
        assert error.retry_after_s == 1


@pytest.mark.parametrize(
    ("code", "reasons", "expected"),
    [
        (403, ["NamespaceTerminating"], NamespaceTerminatingError),
        (403, ["Other", "NamespaceTerminating"], NamespaceTerminatingError),
        (403, ["Other"], ForbiddenError),
        (403, None, ForbiddenError),
        (409, ["NamespaceTerminating"], ConflictError),
    ],
)
def test_namespace_that_is_being_deleted(code: int, reasons: list[str] | None, expected: type) -> None:
    causes = None if reasons is None else [{"reason": reason, "message": "m"} for reason in reasons]
    body = {"kind": "Status", "message": "m", "reason": "Forbidden", "details": {"causes": causes}}
    assert type(api_error(code, decode_status(json.dumps(body).encode()))) is expected
