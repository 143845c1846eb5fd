from dataclasses import replace
from pathlib import Path

import pytest

from onenode.kubelet.quantity import parse_quantity
from onenode.kubelet.records import ContainerRecord, Ended, crash_wait_s, record_from_status
from onenode.kubelet.settings import KubeletSettings
from onenode.kubelet.state import ContainerPhase, ContainerState, parse_time, timestamp

SETTINGS = KubeletSettings(node_name="n", state=Path("/s"), seccomp_root=Path("/s/seccomp"), instance="i")


def run(attempt: int) -> ContainerState:
    return ContainerState(
        id=f"id{attempt}",
        pod_uid="u",
        name="c",
        attempt=attempt,
        phase=ContainerPhase.RUNNING,
        started_s=50.0,
    )


def end(exit_code: int, *, started_s: float = 50.0, finished_s: float = 100.0) -> Ended:
    return Ended(exit_code=exit_code, reason="Error", started_s=started_s, finished_s=finished_s)


@pytest.mark.parametrize(
    ("crashes", "wait_s"), [(0, 0), (1, 0), (2, 10), (3, 20), (4, 40), (7, 300), (1000, 300)]
)
def test_crash_wait_doubles_up_to_a_limit(crashes: int, wait_s: float) -> None:
    assert crash_wait_s(crashes, SETTINGS) == wait_s


def test_second_crash_waits_and_the_history_moves_on() -> None:
    record = ContainerRecord().with_running(run(0)).with_end(end(1), SETTINGS)
    assert (record.retry_at_s, record.next_attempt, record.previous) == (0.0, 1, None)
    record = record.with_running(run(1)).with_end(end(2), SETTINGS)
    assert (record.retry_at_s, record.next_attempt, record.restarts) == (110.0, 2, 1)
    assert record.previous == end(1)


def test_long_run_forgets_earlier_crashes() -> None:
    record = replace(ContainerRecord(crashes=6), running=run(6))
    assert record.with_end(end(1, finished_s=50.0 + 601), SETTINGS).retry_at_s == 0.0


def test_failure_to_create_waits_longer_each_time_and_is_forgotten_by_a_start() -> None:
    record = ContainerRecord()
    waits = []
    for _ in range(7):
        record = record.with_failure("CreateContainerError", "no profile", 100.0, SETTINGS)
        waits.append(record.retry_at_s - 100.0)
    assert waits == [1, 2, 4, 8, 16, 20, 20]
    started = record.with_running(run(0))
    assert (started.waiting_reason, started.failures) == ("", 0)


def test_status_read_back_gives_the_same_end() -> None:
    ended = Ended(
        exit_code=3, reason="Error", message="m", started_s=50.0, finished_s=100.0, container_id="abc"
    )
    status = {"state": {"terminated": ended.to_wire()}, "restartCount": 2, "image": "i", "imageID": "d"}
    record = record_from_status(status, SETTINGS, 500.0)
    assert (record.ended, record.restarts, record.image, record.image_id) == (ended, 2, "i", "d")


def test_run_that_vanished_counts_as_killed() -> None:
    status = {"state": {"running": {"startedAt": timestamp(50.0)}}, "containerID": "podman://abc"}
    record = record_from_status(status, SETTINGS, 500.0)
    assert record.ended is not None
    assert (record.ended.exit_code, record.ended.reason) == (137, "ContainerStatusUnknown")


def test_waiting_container_keeps_its_last_end_and_its_back_off() -> None:
    status = {
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": end(1).to_wire()},
        "restartCount": 2,
    }
    record = record_from_status(status, SETTINGS, 500.0)
    assert record.ended is not None
    assert (record.ended.exit_code, record.retry_at_s, record.next_attempt) == (1, 120.0, 3)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("500m", 0.5), ("1Gi", 2**30), ("1.5k", 1500), ("2e3", 2000), ("1E", 10**18), (3, 3)],
)
def test_quantities(text: str | int, value: float) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1970-01-01T00:01:40Z", 100.0),
        ("1970-01-01T00:01:40.123456789Z", 100.123456),
        ("1970-01-01T01:01:40.5+01:00", 100.5),
        ("0001-01-01T00:00:00Z", 0.0),
        ("yesterday", 0.0),
        ("", 0.0),
    ],
)
def test_times_of_podman(text: str, value: float) -> None:
    assert parse_time(text) == pytest.approx(value)
