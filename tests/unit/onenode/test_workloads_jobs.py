"""When a Job is over and how many pods it wants."""

from datetime import UTC, datetime
from typing import Any

import pytest

from onenode.workloads.job_plan import JobCounts, back_off_s, judge, wanted_pods

NOW = datetime(2026, 1, 1, 0, 1, 0, tzinfo=UTC)


def spec(policy: str = "Never", **fields: Any) -> dict[str, Any]:
    return {"parallelism": 1, "backoffLimit": 2, "template": {"spec": {"restartPolicy": policy}}, **fields}


@pytest.mark.parametrize(
    ("job", "counts", "wanted"),
    [
        (spec(completions=2), JobCounts(1, 1, 0), None),
        (spec(completions=2), JobCounts(0, 2, 0), "CompletionsReached"),
        (spec(completions=0), JobCounts(0, 0, 0), "CompletionsReached"),
        (spec(), JobCounts(1, 1, 0), None),
        (spec(), JobCounts(0, 1, 0), "CompletionsReached"),
        (spec(completions=1), JobCounts(0, 0, 2), None),
        (spec(completions=1), JobCounts(0, 0, 3), "BackoffLimitExceeded"),
        (spec("OnFailure", completions=1), JobCounts(1, 0, 0, restarts=1), None),
        (spec("OnFailure", completions=1), JobCounts(1, 0, 0, restarts=2), "BackoffLimitExceeded"),
        (spec(completions=1), JobCounts(1, 0, 0, restarts=9), None),
        (spec(completions=1, activeDeadlineSeconds=61), JobCounts(1, 0, 0), None),
        (spec(completions=1, activeDeadlineSeconds=60), JobCounts(1, 0, 0), "DeadlineExceeded"),
    ],
)
def test_end_of_a_job(job: dict[str, Any], counts: JobCounts, wanted: str | None) -> None:
    verdict = judge(job, counts, datetime(2026, 1, 1, tzinfo=UTC), NOW)
    assert (verdict.reason if verdict else None) == wanted


@pytest.mark.parametrize(
    ("job", "counts", "wanted"),
    [
        (spec(completions=5, parallelism=2), JobCounts(0, 0, 0), 2),
        (spec(completions=5, parallelism=2), JobCounts(1, 4, 0), 1),
        (spec(completions=5, parallelism=0), JobCounts(0, 0, 0), 0),
        (spec(parallelism=3), JobCounts(3, 0, 0), 3),
        (spec(parallelism=3), JobCounts(2, 1, 0), 2),
    ],
)
def test_pods_that_should_run(job: dict[str, Any], counts: JobCounts, wanted: int) -> None:
    assert wanted_pods(job, counts) == wanted


def failed(second: int) -> dict[str, Any]:
    state = {"terminated": {"finishedAt": f"2026-01-01T00:00:{second:02d}Z"}}
    return {"metadata": {}, "status": {"phase": "Failed", "containerStatuses": [{"state": state}]}}


def test_each_failure_doubles_the_wait() -> None:
    assert back_off_s([], NOW) == 0.0
    assert back_off_s([failed(55)], NOW) == 5.0
    assert back_off_s([failed(20), failed(55)], NOW) == 15.0
    assert back_off_s([failed(30)], NOW) == 0.0
