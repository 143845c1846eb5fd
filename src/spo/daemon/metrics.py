"""Counters of the daemon; the names and help texts are those that users' dashboards know."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter

NAMESPACE: Final = "security_profiles_operator"


class SeccompProfileMetrics:
    """What this node did with seccomp profiles, and what went wrong."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._operations = Counter(
            "seccomp_profile_total",
            "Counter about seccomp profile operations.",
            ("operation",),
            namespace=NAMESPACE,
            registry=registry,
        )
        self._errors = Counter(
            "seccomp_profile_error_total",
            "Counter about seccomp profile errors.",
            ("reason",),
            namespace=NAMESPACE,
            registry=registry,
        )

    def updated(self) -> None:
        """A profile file was written with new content."""
        self._operations.labels("update").inc()

    def deleted(self) -> None:
        """A profile file was removed."""
        self._operations.labels("delete").inc()

    def failed(self, reason: str) -> None:
        """Something went wrong; ``reason`` is also the reason of the Warning event."""
        self._errors.labels(reason).inc()
