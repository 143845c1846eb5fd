import asyncio
from pathlib import Path
from typing import Any

import pytest

from onenode.kubelet.logs import LogOptions, log_tail, read_log
from onenode.pod_access import InvalidLogOptionError, LogError, log_request

LINES = (
    b"2026-01-01T00:00:01.000000001+00:00 stdout F one\n"
    b"2026-01-01T00:00:02.000000001+00:00 stderr F two\n"
    b"2026-01-01T00:00:03.000000001+00:00 stdout P thr\n"
    b"2026-01-01T00:00:03.500000001+00:00 stdout F ee\n"
    b"2026-01-01T00:00:04.000000001+00:00 stdout F \n"
)


async def text(path: Path, **options: Any) -> bytes:
    return b"".join([piece async for piece in read_log(path, LogOptions(**options), lambda: True)])


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "0.log"
    path.write_bytes(LINES)
    return path


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({}, b"one\ntwo\nthree\n\n", id="all"),
        pytest.param({"tail_lines": 2}, b"three\n\n", id="tail-counts-whole-lines"),
        pytest.param({"tail_lines": 0}, b"", id="tail-zero"),
        pytest.param({"tail_lines": 99}, b"one\ntwo\nthree\n\n", id="tail-longer-than-the-log"),
        pytest.param({"since_s": 1767225603.0}, b"three\n\n", id="since"),
        pytest.param({"limit_bytes": 6}, b"one\ntw", id="limit"),
        pytest.param(
            {"timestamps": True, "tail_lines": 2},
            b"2026-01-01T00:00:03.000000001Z three\n2026-01-01T00:00:04.000000001Z \n",
            id="timestamps-once-a-line",
        ),
    ],
)
async def test_read_log(log: Path, options: dict[str, Any], expected: bytes) -> None:
    assert await text(log, **options) == expected


async def test_missing_log_is_empty(tmp_path: Path) -> None:
    assert await text(tmp_path / "none.log") == b""


async def test_foreign_lines_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(b"\xff\xfe garbage\n\n" + LINES[:49])
    assert await text(path) == b"one\n"


async def test_followed_log_shows_what_was_written_before_the_end(log: Path) -> None:
    ended = [False, True]

    def over() -> bool:
        if len(ended) == 1:
            with log.open("ab") as stream:
                stream.write(b"2026-01-01T00:00:05.000000001+00:00 stdout F last\n")
        return ended.pop(0)

    stream = read_log(log, LogOptions(follow=True, tail_lines=1), over)
    assert await asyncio.wait_for(anext(stream), 5) == b"\n"
    assert [piece async for piece in stream] == [b"last\n"]


def test_log_tail_is_cut_to_its_limit(log: Path) -> None:
    assert log_tail(log, lines=3, limit_bytes=100) == "two\nthree\n\n"
    assert log_tail(log, lines=3, limit_bytes=4) == "ee\n\n"


def pod(*names: str, init: tuple[str, ...] = (), **annotations: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "two", "annotations": annotations},
        "spec": {
            "containers": [{"name": name} for name in names],
            "initContainers": [{"name": name} for name in init],
        },
    }


def test_query_with_everything() -> None:
    query = {
        name: [value]
        for name, value in {
            "container": "b",
            "follow": "true",
            "previous": "false",
            "tailLines": "5",
            "limitBytes": "9",
            "timestamps": "1",
            "sinceTime": "2026-01-01T00:00:00Z",
        }.items()
    }
    request = log_request(pod("a", "b"), query)
    assert request.container == "b"
    assert not request.previous
    assert request.options == LogOptions(
        follow=True, tail_lines=5, since_s=1767225600.0, timestamps=True, limit_bytes=9
    )


@pytest.mark.parametrize(
    ("wanted", "query", "message"),
    [
        pytest.param(pod("a"), {"container": "x"}, "container x is not valid for pod two", id="unknown"),
        pytest.param(
            pod("a", "b"),
            {},
            "a container name must be specified for pod two, choose one of: [a b]",
            id="several",
        ),
        pytest.param(
            pod("a"), {"tailLines": "x"}, 'strconv.ParseInt: parsing "x": invalid syntax', id="number"
        ),
    ],
)
def test_queries_that_cannot_be_answered(wanted: dict[str, Any], query: dict[str, str], message: str) -> None:
    with pytest.raises(LogError) as error:
        log_request(wanted, {name: [value] for name, value in query.items()})
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        ({"tailLines": "-1"}, "tailLines", "Invalid value: -1: must be greater than or equal to 0"),
        ({"sinceSeconds": "0"}, "sinceSeconds", "Invalid value: 0: must be greater than 0"),
        (
            {"sinceSeconds": "5", "sinceTime": "2026-01-01T00:00:00Z"},
            "[]",
            "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
        ),
    ],
)
def test_options_out_of_range(query: dict[str, str], field: str, message: str) -> None:
    with pytest.raises(InvalidLogOptionError) as error:
        log_request(pod("a"), {name: [value] for name, value in query.items()})
    assert (error.value.field, error.value.message) == (field, message)


def test_only_or_default_container_need_not_be_named() -> None:
    default = pod("a", "b")
    default["metadata"]["annotations"] = {"kubectl.kubernetes.io/default-container": "b"}
    assert log_request(pod("a", init=("i",)), {}).container == "a"
    assert log_request(default, {}).container == "b"
    assert log_request(pod("a", init=("i",)), {"container": ["i"]}).container == "i"
