"""Counters of recordings; like audits they are of pods, so their number is bounded."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter

from spo.daemon.metrics import NAMESPACE

MAX_SERIES: Final = 1000
"""With those of the audits 10,000: every container that is recorded has one."""
OTHER: Final = "other"


def merged_series(registry: CollectorRegistry) -> Counter:
    """Counts what is counted in the series ``other``."""
    return Counter(
        "metric_series_merged_total",
        "Counter about what was counted in the series other, because there are too many series.",
        namespace=NAMESPACE,
        registry=registry,
    )


class RecordingMetrics:
    """What recordings on this node gave, and what they lost."""

    def __init__(self, registry: CollectorRegistry, node: str, *, max_series: int = MAX_SERIES) -> None:
        self._node = node
        self._max_series = max_series
        self._known: set[tuple[str, str]] = set()
        self.merged: Final = merged_series(registry)
        """See :func:`merged_series`; there is one for all metrics of pods."""
        self._syscalls = Counter(
            "seccomp_profile_bpf_total",
            "Counter about seccomp profile bpf events, requires the bpf recorder to be enabled.",
            ("node", "mount_namespace", "profile"),
            namespace=NAMESPACE,
            registry=registry,
        )
        self._lost = Counter(
            "profile_recording_lost_total",
            "Counter about observations that recorded profiles may lack.",
            namespace=NAMESPACE,
            registry=registry,
        )

    def recorded(self, mount_namespace: int, profile: str, count: int) -> None:
        """A container has ended.

        Args:
            mount_namespace: the kernel's number of it that is never used again.
            profile: name of the profile, without the number of its replica.
            count: different syscalls that it made.
        """
        labels = (str(mount_namespace), profile)
        if labels not in self._known:
            if len(self._known) >= self._max_series:
                self.merged.inc(count)
                labels = (OTHER, OTHER)
            else:
                self._known.add(labels)
        self._syscalls.labels(self._node, *labels).inc(count)

    def lost(self, count: int) -> None:
        """A profile was written that may lack something."""
        self._lost.inc(count)
