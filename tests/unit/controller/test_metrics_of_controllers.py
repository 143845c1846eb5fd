"""What ``/metrics`` tells about work queues and controllers."""

import asyncio
import gc

from prometheus_client import CollectorRegistry, generate_latest

from spo.controller import Controller, Request, Result
from spo.controller.metrics import ClientMetrics, ControllerMetrics, process_registry, runtime_registry
from spo.errors import SpoError
from tests.fakes.clock import FakeClock


class Reconciler:
    """Does what the name of the request says."""

    async def reconcile(self, request: Request) -> Result:
        if request.name == "bad":
            raise SpoError("no")
        return Result(60.0) if request.name == "later" else Result()


def shown(metrics: ControllerMetrics) -> list[str]:
    registry = CollectorRegistry()
    registry.register(metrics)
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


async def test_queues_and_reconciles_are_counted_as_controller_runtime_does() -> None:
    clock = FakeClock()
    controller = Controller("seccomp-spod", Reconciler(), workers=2, clock=clock)
    metrics = ControllerMetrics()
    metrics.follow([controller])
    for name in ("good", "bad", "later", "good"):
        controller.enqueue(Request("default", name))
    assert 'workqueue_depth{name="seccomp-spod"} 3.0' in shown(metrics)

    running = asyncio.create_task(controller.run())
    await clock.settle()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert shown(metrics) == [
        'workqueue_depth{name="seccomp-spod"} 0.0',
        'workqueue_adds_total{name="seccomp-spod"} 3.0',
        'workqueue_retries_total{name="seccomp-spod"} 1.0',
        'controller_runtime_reconcile_total{controller="seccomp-spod",result="success"} 1.0',
        'controller_runtime_reconcile_total{controller="seccomp-spod",result="requeue_after"} 1.0',
        'controller_runtime_reconcile_total{controller="seccomp-spod",result="error"} 1.0',
        'controller_runtime_reconcile_errors_total{controller="seccomp-spod"} 1.0',
        'controller_runtime_active_workers{controller="seccomp-spod"} 0.0',
        'controller_runtime_max_concurrent_reconciles{controller="seccomp-spod"} 2.0',
    ]


def test_controllers_that_are_gone_are_not_kept() -> None:
    metrics = ControllerMetrics()
    metrics.follow([Controller("short", Reconciler())])
    gc.collect()

    assert shown(metrics) == []


def test_a_page_has_requests_and_the_process() -> None:
    registry = runtime_registry(ControllerMetrics(), ClientMetrics("api:443", {("GET", "200"): 3}))

    body = generate_latest(registry).decode()

    assert 'rest_client_requests_total{code="200",host="api:443",method="GET"} 3.0' in body
    assert "process_resident_memory_bytes " in body
    assert "python_info" in body


def test_counters_have_no_second_series_for_their_birth() -> None:
    registry = process_registry()
    from prometheus_client import Counter

    Counter("seen", "What was seen.", registry=registry).inc()

    assert b"seen_created" not in generate_latest(registry)
