"""Counters of what seccomp, SELinux and AppArmor logged or refused, with a bound on their number."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from spo.daemon.metrics import NAMESPACE
from spo.daemon.metrics_recording import merged_series
from spo.rpc.log_enricher import AppArmorCount, Losses, SeccompCount, SelinuxCount

MAX_SERIES: Final = 9_000
"""Together with those of recordings 10,000: a workload can make up executables without end."""
OTHER: Final = "other"

LABELS: Final = ("node", "namespace", "pod", "container", "executable", "syscall")
_REFUSALS_PER_LOOK: Final = 1000
"""Looking for series that may go takes milliseconds: a workload must not be able to cause it at will."""
_KINDS: Final = ("seccomp", "selinux", "apparmor")
_Labels = tuple[str, ...]
_OTHER_LABELS: Final[_Labels] = (OTHER,) * (len(LABELS) - 1)


class AuditMetrics(Collector):
    """Slim: a dictionary entry per series.

    Args:
        has_pod: whether a (namespace, pod) is on this node; series of others make room when it is needed.
        merged: counts what goes to the series ``other``, if there is such a counter already.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        node: str,
        has_pod: Callable[[str, str], bool],
        *,
        max_series: int = MAX_SERIES,
        merged: Counter | None = None,
    ) -> None:
        self._node = node
        self._has_pod = has_pod
        self._max_series = max_series
        self._series: dict[str, dict[_Labels, int]] = {kind: {} for kind in _KINDS}
        self._refused = 0
        self._merged = merged or merged_series(registry)
        self._lost = Counter(
            "log_enricher_lost_total",
            "Counter about audits that the log enricher could not count, by reason.",
            ("reason",),
            namespace=NAMESPACE,
            registry=registry,
        )
        for reason in Losses.__struct_fields__:
            self._lost.labels(reason)  # with 0: an alert on the increase would miss the first
        registry.register(self)

    def add(self, entry: SeccompCount | SelinuxCount | AppArmorCount) -> None:
        """Count what a container did."""
        match entry:
            case SeccompCount():
                kind, what = "seccomp", entry.syscall
            case SelinuxCount():
                kind, what = "selinux", ""
            case AppArmorCount():
                kind, what = "apparmor", ""
        labels: _Labels = (entry.namespace, entry.pod, entry.container, entry.executable, what)
        series = self._series[kind]
        if labels not in series and not self._has_room():
            self._merged.inc(entry.count)
            labels = _OTHER_LABELS
        series[labels] = series.get(labels, 0) + entry.count

    def lost(self, before: Losses, now: Losses) -> None:
        """What the enricher has lost between two of its reports."""
        for reason in Losses.__struct_fields__:
            more: int = getattr(now, reason) - getattr(before, reason)
            if more > 0:
                self._lost.labels(reason).inc(more)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """See :class:`prometheus_client.registry.Collector`."""
        for kind in _KINDS:
            family = CounterMetricFamily(
                f"{NAMESPACE}_{kind}_profile_audit",
                f"Counter about {kind} profile audits, requires the log enricher to be enabled.",
                labels=LABELS,
            )
            for labels, count in list(self._series[kind].items()):
                family.add_metric((self._node, *labels), count)
            yield family

    @property
    def _count(self) -> int:
        return sum(map(len, self._series.values()))

    def _has_room(self) -> bool:
        if self._count < self._max_series:
            return True
        if self._refused % _REFUSALS_PER_LOOK == 0:
            self._forget_gone()
        if self._count < self._max_series:
            return True
        self._refused += 1
        return False

    def _forget_gone(self) -> None:
        """Drop the series of pods that are not here any more."""
        for series in self._series.values():
            pods: dict[Sequence[str], bool] = {}
            for labels in list(series):
                pod = labels[:2]
                if pod not in pods:
                    pods[pod] = labels == _OTHER_LABELS or self._has_pod(*pod)
                if not pods[pod]:
                    del series[labels]
