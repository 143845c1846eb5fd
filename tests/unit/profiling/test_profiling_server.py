"""What the profiling server answers, and what it refuses."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.controller.small_http import Request, Response, parsed
from spo.profiling.cpu import CpuProfiler
from spo.profiling.server import MAX_SECONDS, MAX_TRACED_SECONDS, InvalidQueryError, Profiles, seconds_of
from tests.fakes.pprof_reader import read_profile

PROFILE, HEAP = "/debug/pprof/profile", "/debug/pprof/heap"


class Served:
    """Profiles whose time passes when the test says so."""

    def __init__(self) -> None:
        self.paused: list[float] = []
        self.arrived, self.go_on = asyncio.Event(), asyncio.Event()
        self._answers = Profiles(CpuProfiler(), self._pause).answers()

    async def _pause(self, seconds: float) -> None:
        self.paused.append(seconds)
        self.arrived.set()
        await self.go_on.wait()

    async def get(self, path: str, query: str = "", method: str = "GET") -> Response:
        return await self._answers[path](Request(method, path, {}, query))


@pytest.fixture
def _handlers_as_before() -> Iterator[None]:
    numbers = (signal.SIGPROF, signal.SIGVTALRM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
async def served(_handlers_as_before: None) -> AsyncIterator[Served]:
    made = Served()
    yield made
    made.go_on.set()


async def test_index_names_what_there_is(served: Served) -> None:
    index = (await served.get("/debug/pprof/")).body.decode()
    assert PROFILE in index
    assert HEAP in index


async def test_heap_by_type_tells_who_holds_what(served: Served) -> None:
    class Holder:
        __slots__ = ("text",)

        def __init__(self, text: str) -> None:
            self.text = text

    size = 3_000_000
    kept = Holder("x" * size)
    answer = await served.get(HEAP)
    assert (answer.status, answer.content_type) == (HTTPStatus.OK, "application/octet-stream")
    profile = read_profile(answer.body)
    assert profile.sample_types == [("inuse_objects", "count"), ("inuse_space", "bytes")]
    name = f"{__name__}.{Holder.__qualname__}"
    ((_, values),) = [
        one for one in profile.samples if [frame[0] for frame in one[0]] == ["builtins.str", name]
    ]
    assert values[0] == 1
    assert size <= values[1] < 2 * size
    assert kept
    assert served.paused == []


async def test_heap_of_a_while_tells_the_lines(served: Served) -> None:
    asking = asyncio.create_task(served.get(HEAP, "seconds=7"))
    await served.arrived.wait()
    kept = ["y" * 1_000_000 for _ in range(3)]
    served.go_on.set()
    profile = read_profile((await asking).body)
    assert served.paused == [7]
    most, values = max(profile.samples, key=lambda sample: sample[1][1])
    assert most[0][1] == __file__
    assert values[1] >= 3_000_000
    assert kept


async def test_cpu_profile_takes_thirty_seconds_unless_told(served: Served) -> None:
    served.go_on.set()
    profile = read_profile((await served.get(PROFILE)).body)
    await served.get(PROFILE, "seconds=2")
    assert served.paused == [30, 2]
    assert profile.sample_types == [("samples", "count"), ("cpu", "nanoseconds")]
    assert profile.period == ("cpu", "nanoseconds", 10_000_000)


@pytest.mark.parametrize(("path", "what"), [(PROFILE, "CPU"), (f"{HEAP}", "heap")])
async def test_second_profile_at_a_time_is_refused(served: Served, path: str, what: str) -> None:
    first = asyncio.create_task(served.get(path, "seconds=1"))
    await served.arrived.wait()
    refused = await served.get(path, "seconds=1")
    assert refused.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert f"a {what} profile is being taken" in refused.body.decode()
    served.go_on.set()
    assert (await first).status == HTTPStatus.OK
    assert (await served.get(path, "seconds=1")).status == HTTPStatus.OK


@pytest.mark.parametrize("path", [PROFILE, HEAP])
async def test_profile_that_is_given_up_is_over(served: Served, path: str) -> None:
    first = asyncio.create_task(served.get(path, "seconds=1"))
    await served.arrived.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    served.go_on.set()
    assert (await served.get(path, "seconds=1")).status == HTTPStatus.OK


@pytest.mark.parametrize("path", [PROFILE, HEAP])
async def test_only_get_takes_a_profile(served: Served, path: str) -> None:
    assert (await served.get(path, method="HEAD")).status == HTTPStatus.METHOD_NOT_ALLOWED
    assert served.paused == []


@pytest.mark.parametrize(
    "query",
    [
        "seconds=0",
        "seconds=-1",
        "seconds=1.5",
        "seconds=1e9",
        "seconds=301",
        "seconds=9999999999999999999999",
        "seconds=",
        "seconds=٣",
        "seconds",
        "rate=1",
        "seconds=1&x=2",
        "a=1&b=2&c=3&d=4&e=5",
        "%",
        "=",
        "debug=1",
    ],
)
async def test_query_that_means_nothing_is_a_bad_request(served: Served, query: str) -> None:
    answer = await served.get(PROFILE, query)
    assert answer.status == HTTPStatus.BAD_REQUEST
    assert "seconds=" in answer.body.decode()
    assert served.paused == []


async def test_limit_of_the_heap_is_its_own(served: Served) -> None:
    assert (await served.get(HEAP, f"seconds={MAX_TRACED_SECONDS + 1}")).status == HTTPStatus.BAD_REQUEST


def test_query_is_what_follows_the_path() -> None:
    request = parsed(b"GET /debug/pprof/heap?seconds=5?x HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (request.path, request.query) == (HEAP, "seconds=5?x")


def test_go_may_say_that_it_wants_no_text() -> None:
    assert seconds_of("debug=0&seconds=5", MAX_SECONDS) == 5
    assert seconds_of("", MAX_SECONDS) is None


@given(query=st.text())
def test_any_query_has_a_clear_answer(query: str) -> None:
    asked, problem = None, "none"
    try:
        asked = seconds_of(query, MAX_SECONDS)
    except InvalidQueryError as error:
        problem = str(error)
    assert asked is None or 1 <= asked <= MAX_SECONDS
    assert 0 < len(problem) < 300
