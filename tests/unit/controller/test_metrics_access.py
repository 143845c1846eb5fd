"""Who may read the metrics."""

import asyncio
from http import HTTPStatus

import pytest

from spo.api.access_reviews import UserInfo
from spo.controller.metrics_access import CACHE_S, MAX_CACHED, MAX_QUESTIONS, MetricsAccess, Verdict
from spo.kube.errors import ServerError
from tests.fakes.clock import FakeClock


class Cluster:
    """Answers as an API server that knows one reader and one stranger."""

    def __init__(self) -> None:
        self.questions: list[str] = []
        self.away = False
        self.asking = 0
        self.most_at_once = 0
        self.gate: asyncio.Event | None = None

    async def user_of(self, token: str) -> UserInfo | None:
        self.asking += 1
        self.most_at_once = max(self.most_at_once, self.asking)
        try:
            if self.gate is not None:
                await self.gate.wait()
            self.questions.append(token)
            if self.away:
                raise ServerError(503, "ServiceUnavailable", "away")
            return UserInfo(username=token, groups=["g"]) if token in {"reader", "stranger"} else None
        finally:
            self.asking -= 1

    async def may_get(self, user: UserInfo, path: str) -> bool:
        return user.username == "reader" and path == "/metrics-spod"


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def access(cluster: Cluster, clock: FakeClock) -> MetricsAccess:
    return MetricsAccess(cluster, clock)


@pytest.mark.parametrize(
    ("authorization", "path", "verdict"),
    [
        ("Bearer reader", "/metrics-spod", Verdict.ALLOWED),
        ("bearer   reader ", "/metrics-spod", Verdict.ALLOWED),
        ("Bearer reader", "/metrics", Verdict.FORBIDDEN),
        ("Bearer stranger", "/metrics-spod", Verdict.FORBIDDEN),
        ("Bearer wrong", "/metrics-spod", Verdict.WHO_ARE_YOU),
    ],
)
async def test_the_api_server_decides(
    access: MetricsAccess, authorization: str, path: str, verdict: Verdict
) -> None:
    assert await access.verdict(authorization, path) is verdict


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Basic cmVhZGVy", "reader", "Bearer " + "x" * 4097, "Bearer é"]
)
async def test_what_is_no_token_is_refused_without_asking(
    access: MetricsAccess, cluster: Cluster, authorization: str
) -> None:
    verdict = await access.verdict(authorization, "/metrics-spod")

    assert verdict.value is HTTPStatus.UNAUTHORIZED
    assert cluster.questions == []


async def test_a_verdict_holds_for_a_minute(
    access: MetricsAccess, cluster: Cluster, clock: FakeClock
) -> None:
    for _ in range(3):
        await access.verdict("Bearer reader", "/metrics-spod")
        await access.verdict("Bearer wrong", "/metrics-spod")
    assert cluster.questions == ["reader", "wrong"]

    await clock.advance(CACHE_S)
    await access.verdict("Bearer reader", "/metrics-spod")
    assert cluster.questions == ["reader", "wrong", "reader"]


async def test_an_api_server_that_is_away_is_asked_again(access: MetricsAccess, cluster: Cluster) -> None:
    cluster.away = True
    assert await access.verdict("Bearer reader", "/metrics-spod") is Verdict.ASK_LATER

    cluster.away = False
    assert await access.verdict("Bearer reader", "/metrics-spod") is Verdict.ALLOWED


async def test_many_readers_at_once_cost_one_question_and_a_crowd_never_more_than_a_few(
    access: MetricsAccess, cluster: Cluster
) -> None:
    cluster.gate = asyncio.Event()
    tokens = [f"wrong-{number}" for number in range(50)] + ["reader"] * 50
    asked = [asyncio.create_task(access.verdict(f"Bearer {token}", "/metrics-spod")) for token in tokens]
    await asyncio.sleep(0)
    cluster.gate.set()
    verdicts = await asyncio.gather(*asked)

    assert verdicts.count(Verdict.ALLOWED) == 50
    assert cluster.most_at_once <= MAX_QUESTIONS
    assert cluster.questions.count("reader") <= MAX_QUESTIONS


async def test_what_is_remembered_has_a_bound(access: MetricsAccess) -> None:
    for number in range(MAX_CACHED + 50):
        await access.verdict(f"Bearer {number}", "/metrics-spod")

    assert len(access._verdicts) == MAX_CACHED
