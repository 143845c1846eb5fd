from typing import Any

import pytest

from onenode.kubelet.plan import (
    Finish,
    StartContainer,
    StartSandbox,
    Step,
    StopContainers,
    Wait,
    initialized,
    next_step,
)
from onenode.kubelet.pod import PodSpec, parse_pod
from onenode.kubelet.records import ContainerRecord, Ended
from onenode.kubelet.state import ContainerPhase, ContainerState

NOW = 1000.0
NEW = ContainerRecord()
RUNNING = ContainerRecord(
    running=ContainerState(id="a", pod_uid="u", name="c", attempt=0, phase=ContainerPhase.RUNNING)
)
DONE = ContainerRecord(ended=Ended(exit_code=0, reason="Completed", finished_s=NOW))
FAILED = ContainerRecord(ended=Ended(exit_code=3, reason="Error", finished_s=NOW))
HELD = ContainerRecord(ended=Ended(exit_code=3, reason="Error", finished_s=NOW), retry_at_s=NOW + 10)


def spec(policy: str = "Always", *, init: tuple[str, ...] = (), sidecar: str = "") -> PodSpec:
    inits: list[dict[str, Any]] = [{"name": name} for name in init]
    if sidecar:
        inits.append({"name": sidecar, "restartPolicy": "Always"})
    stored = {
        "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
        "spec": {
            "restartPolicy": policy,
            "initContainers": inits,
            "containers": [{"name": "a"}, {"name": "b"}],
        },
    }
    return parse_pod(stored).spec


@pytest.mark.parametrize(
    ("wanted", "records", "expected"),
    [
        pytest.param(spec(), {"a": NEW, "b": NEW}, StartContainer("a"), id="first"),
        pytest.param(spec(), {"a": RUNNING, "b": NEW}, StartContainer("b"), id="second"),
        pytest.param(spec(), {"a": RUNNING, "b": RUNNING}, Wait(), id="all-run"),
        pytest.param(spec(), {"a": RUNNING, "b": DONE}, StartContainer("b"), id="always-again"),
        pytest.param(spec(), {"a": RUNNING, "b": HELD}, Wait(NOW + 10), id="back-off"),
        pytest.param(spec(), {"a": NEW, "b": HELD}, StartContainer("a"), id="others-are-not-held-up"),
        pytest.param(spec("OnFailure"), {"a": DONE, "b": FAILED}, StartContainer("b"), id="on-failure"),
        pytest.param(spec("OnFailure"), {"a": DONE, "b": DONE}, Finish("Succeeded"), id="on-failure-done"),
        pytest.param(spec("Never"), {"a": DONE, "b": FAILED}, Finish("Failed"), id="never-failed"),
        pytest.param(spec("Never"), {"a": DONE, "b": DONE}, Finish("Succeeded"), id="never-done"),
        pytest.param(spec("Never"), {"a": FAILED, "b": RUNNING}, Wait(), id="never-waits-for-the-other"),
        pytest.param(
            spec(init=("i", "j")), {"i": NEW, "j": NEW, "a": NEW, "b": NEW}, StartContainer("i"), id="init"
        ),
        pytest.param(
            spec(init=("i", "j")), {"i": RUNNING, "j": NEW, "a": NEW, "b": NEW}, Wait(), id="init-runs"
        ),
        pytest.param(
            spec(init=("i", "j")),
            {"i": DONE, "j": NEW, "a": NEW, "b": NEW},
            StartContainer("j"),
            id="next-init",
        ),
        pytest.param(
            spec(init=("i",)), {"i": FAILED, "a": NEW, "b": NEW}, StartContainer("i"), id="init-again"
        ),
        pytest.param(spec(init=("i",)), {"i": HELD, "a": NEW, "b": NEW}, Wait(NOW + 10), id="init-held"),
        pytest.param(
            spec("Never", init=("i",)), {"i": FAILED, "a": NEW, "b": NEW}, Finish("Failed"), id="init-never"
        ),
        pytest.param(
            spec(sidecar="s"), {"s": NEW, "a": NEW, "b": NEW}, StartContainer("s"), id="sidecar-first"
        ),
        pytest.param(
            spec(sidecar="s"), {"s": RUNNING, "a": NEW, "b": NEW}, StartContainer("a"), id="sidecar-stays"
        ),
        pytest.param(
            spec("Never", sidecar="s"),
            {"s": RUNNING, "a": DONE, "b": DONE},
            Finish("Succeeded"),
            id="sidecar-ends",
        ),
        pytest.param(
            spec(sidecar="s"), {"s": HELD, "a": RUNNING, "b": RUNNING}, Wait(NOW + 10), id="sidecar-held"
        ),
    ],
)
def test_next_step(wanted: PodSpec, records: dict[str, ContainerRecord], expected: Step) -> None:
    assert next_step(wanted, records, sandbox_ready=True, now_s=NOW) == expected


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param({"a": NEW, "b": NEW}, StartSandbox(), id="first-of-all"),
        pytest.param({"a": RUNNING, "b": NEW}, StopContainers(), id="network-gone"),
        pytest.param({"a": FAILED, "b": DONE}, StartSandbox(), id="again"),
    ],
)
def test_without_sandbox(records: dict[str, ContainerRecord], expected: Step) -> None:
    assert next_step(spec(), records, sandbox_ready=False, now_s=NOW) == expected


def test_finished_pod_needs_no_sandbox() -> None:
    records = {"a": DONE, "b": DONE}
    assert next_step(spec("Never"), records, sandbox_ready=False, now_s=NOW) == Finish("Succeeded")


def test_initialized_counts_sidecars_once_started() -> None:
    wanted = spec(init=("i",), sidecar="s")
    assert initialized(wanted, {"i": DONE, "s": RUNNING})
    assert not initialized(wanted, {"i": DONE, "s": NEW})
    assert not initialized(wanted, {"i": RUNNING, "s": RUNNING})
