"""What service accounts ask for, in a file."""

import json
from pathlib import Path

from onenode.authorization.access_log import AccessLog
from onenode.authorization.rules import Attributes
from onenode.requests import User

ACCOUNT = User("system:serviceaccount:ns:a")
GET = Attributes(verb="get", group="g", version="v1", resource="things", name="x", namespace="ns")


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_is_allowed_is_written_once(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "log")
    for _ in range(3):
        log.note(ACCOUNT, GET, allowed=True)
    assert lines(tmp_path / "log") == [
        {
            "user": ACCOUNT.name,
            "verb": "get",
            "group": "g",
            "resource": "things",
            "namespace": "ns",
            "name": "x",
            "path": "",
            "allowed": True,
        }
    ]


def test_what_is_refused_is_written_each_time(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "log")
    for allowed in (False, False, True, False):
        log.note(ACCOUNT, GET, allowed=allowed)
    assert [one["allowed"] for one in lines(tmp_path / "log")] == [False, False, True, False]


def test_people_are_left_out(tmp_path: Path) -> None:
    AccessLog(tmp_path / "log").note(User("jane"), GET, allowed=True)
    assert lines(tmp_path / "log") == []
