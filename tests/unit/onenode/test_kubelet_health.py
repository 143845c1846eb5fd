import asyncio
import contextlib
from typing import Any

import pytest

from onenode.kubelet.health import follow_health
from onenode.kubelet.pod import Container, Probe, parse_pod
from onenode.kubelet.probes import ProbeResult


class Listener:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def started(self) -> None:
        self.told.append("started")

    def ready(self, value: bool) -> None:
        self.told.append("ready" if value else "not ready")

    def failed(self, kind: str, message: str) -> None:
        self.told.append(f"{kind} failed")

    def unhealthy(self, kind: str) -> None:
        self.told.append(f"{kind} gave up")


class EndOfTestError(Exception):
    """There are no more results."""


async def follow(
    results: str, *, started: bool = False, **probes: dict[str, Any]
) -> tuple[list[str], list[float]]:
    """Follow one probe at a time: ``+`` is a success, ``-`` a failure; what was told, and the waits."""
    waits: list[float] = []
    remaining = list(results)
    listener = Listener()

    async def look(_probe: Probe) -> ProbeResult:
        if not remaining:
            raise EndOfTestError
        return ProbeResult(remaining.pop(0) == "+")

    async def sleep(delay_s: float) -> None:
        waits.append(delay_s)
        await asyncio.sleep(0)

    with contextlib.suppress(EndOfTestError, ExceptionGroup):
        await follow_health(container(**probes), look, listener, started=started, sleep=sleep)
    assert not remaining
    return listener.told, waits


def container(**probes: dict[str, Any]) -> Container:
    stored = {
        "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
        "spec": {"containers": [{"name": "c", **probes}]},
    }
    return parse_pod(stored).spec.containers[0]


@pytest.mark.parametrize(
    ("results", "probes", "told"),
    [
        pytest.param("+", {"readinessProbe": {}}, ["ready"], id="ready"),
        pytest.param(
            "+--",
            {"readinessProbe": {"failureThreshold": 2}},
            ["ready", "Readiness failed", "Readiness failed", "not ready"],
            id="ready-until-enough-failures",
        ),
        pytest.param(
            "-+-+", {"readinessProbe": {"successThreshold": 2}}, ["Readiness failed"] * 2, id="not-in-a-row"
        ),
        pytest.param(
            "+-+---",
            {"livenessProbe": {"failureThreshold": 3}},
            ["ready", *["Liveness failed"] * 4, "Liveness gave up"],
            id="liveness-counts-failures-in-a-row",
        ),
        pytest.param(
            "--+", {"startupProbe": {}}, ["Startup failed"] * 2 + ["started", "ready"], id="startup"
        ),
        pytest.param(
            "--",
            {"startupProbe": {"failureThreshold": 2}, "livenessProbe": {}},
            ["Startup failed", "Startup failed", "Startup gave up"],
            id="startup-gives-up-before-liveness-begins",
        ),
        pytest.param(
            "++",
            {"startupProbe": {}, "readinessProbe": {}},
            ["started", "ready"],
            id="startup-then-readiness",
        ),
    ],
)
async def test_follow_health(results: str, probes: dict[str, dict[str, Any]], told: list[str]) -> None:
    assert (await follow(results, **probes))[0] == told


async def test_startup_probe_that_succeeded_before_is_not_asked_again() -> None:
    assert (await follow("", started=True, startupProbe={}))[0] == ["ready"]


async def test_waits_are_those_of_the_probe() -> None:
    probe = {"initialDelaySeconds": 5, "periodSeconds": 7}
    assert (await follow("++", readinessProbe=probe))[1] == [5, 7, 7]
