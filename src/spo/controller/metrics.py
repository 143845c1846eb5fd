"""Metrics of a process and its controllers, named as controller-runtime names them: dashboards know them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from weakref import WeakValueDictionary

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from spo.controller.controller import Controller

RequestCounts = Mapping[tuple[str, str], int]
"""(method, status) -> requests to the API server; the status is ``<error>`` if there was no answer."""


def process_registry() -> CollectorRegistry:
    """A registry that tells CPU time, memory and open files of this process."""
    # Of every counter a second series with the time of its first increment: nobody asked for it.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types here
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


class ControllerMetrics(Collector):
    """Reads the plain numbers that queues and controllers keep; nothing is done between scrapes."""

    def __init__(self) -> None:
        # Weak: a manager that no longer leads lets its controllers go.
        self._controllers: Final[WeakValueDictionary[str, Controller]] = WeakValueDictionary()

    def follow(self, controllers: Iterable[Controller]) -> None:
        """Show these too; one of the same name takes the place of the former."""
        for controller in controllers:
            self._controllers[controller.name] = controller

    def collect(self) -> Iterator[Metric]:
        """See :class:`prometheus_client.registry.Collector`."""
        controllers = sorted(self._controllers.items())
        yield from _queues(controllers)
        yield from _reconciles(controllers)


class ClientMetrics(Collector):
    """Requests to the API server."""

    def __init__(self, host: str, counts: RequestCounts) -> None:
        self._host = host
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """See :class:`prometheus_client.registry.Collector`."""
        requests = CounterMetricFamily(
            "rest_client_requests",
            "Number of HTTP requests, partitioned by status code, method, and host.",
            labels=("code", "host", "method"),
        )
        for (method, code), count in list(self._counts.items()):
            requests.add_metric((code, self._host, method), count)
        yield requests


def runtime_registry(controllers: ControllerMetrics, client: ClientMetrics) -> CollectorRegistry:
    """What ``/metrics`` shows: the process, its interpreter, its work queues, its requests."""
    registry = process_registry()
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    registry.register(controllers)
    registry.register(client)
    return registry


def _queues(controllers: list[tuple[str, Controller]]) -> Iterator[Metric]:
    depth = GaugeMetricFamily("workqueue_depth", "Current depth of workqueue", labels=("name",))
    adds = CounterMetricFamily(
        "workqueue_adds", "Total number of adds handled by workqueue", labels=("name",)
    )
    retries = CounterMetricFamily(
        "workqueue_retries", "Total number of retries handled by workqueue", labels=("name",)
    )
    for name, controller in controllers:
        depth.add_metric((name,), len(controller.queue))
        adds.add_metric((name,), controller.queue.stats.adds)
        retries.add_metric((name,), controller.queue.stats.retries)
    yield from (depth, adds, retries)


def _reconciles(controllers: list[tuple[str, Controller]]) -> Iterator[Metric]:
    total = CounterMetricFamily(
        "controller_runtime_reconcile",
        "Total number of reconciliations per controller",
        labels=("controller", "result"),
    )
    errors = CounterMetricFamily(
        "controller_runtime_reconcile_errors",
        "Total number of reconciliation errors per controller",
        labels=("controller",),
    )
    active = GaugeMetricFamily(
        "controller_runtime_active_workers",
        "Number of currently used workers per controller",
        labels=("controller",),
    )
    workers = GaugeMetricFamily(
        "controller_runtime_max_concurrent_reconciles",
        "Maximum number of concurrent reconciles per controller",
        labels=("controller",),
    )
    for name, controller in controllers:
        stats = controller.stats
        for result, count in (
            ("success", stats.succeeded),
            ("requeue_after", stats.requeued),
            ("error", stats.errors),
        ):
            total.add_metric((name, result), count)
        errors.add_metric((name,), stats.errors)
        active.add_metric((name,), stats.active)
        workers.add_metric((name,), controller.workers)
    yield from (total, errors, active, workers)
