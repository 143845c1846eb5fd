"""Counters of the daemon; the names and help texts are those that users' dashboards know."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter

NAMESPACE: Final = "security_profiles_operator"
UPDATE: Final = "update"
DELETE: Final = "delete"

SECCOMP_REASONS: Final = (
    "SeccompNotSupportedOnNode",
    "InvalidSeccompProfile",
    "ProfileNotAllowed",
    "CannotSaveSeccompProfile",
    "CannotRemoveSeccompProfile",
    "CannotUpdateSeccompProfile",
    "CannotUpdateNodeStatus",
)
SELINUX_REASONS: Final = (
    "CannotSaveSelinuxPolicy",
    "CannotUpdatePolicyStatus",
    "CannotRemoveSelinuxPolicy",
    "CannotContactSelinuxd",
    "CannotWritePolicyFile",
    "CannotGetPolicyStatus",
)
APPARMOR_REASONS: Final = (
    "AppArmorNotSupportedOnNode",
    "CannotLoadAppArmorProfile",
    "CannotUnloadAppArmorProfile",
    "CannotUpdateAppArmorProfile",
    "CannotUpdateNodeStatus",
)


class ProfileMetrics:
    """What this node did with the profiles of one kind, and what went wrong.

    Every series is there from the start, with 0: an alert on the increase of one that appears with 1 would
    miss the first error.

    Args:
        kind: ``seccomp``, ``selinux`` or ``apparmor``.
        reasons: that are known beforehand.
    """

    def __init__(self, registry: CollectorRegistry, kind: str, reasons: tuple[str, ...]) -> None:
        self._operations = Counter(
            f"{kind}_profile_total",
            f"Counter about {kind} profile operations.",
            ("operation",),
            namespace=NAMESPACE,
            registry=registry,
        )
        self._errors = Counter(
            f"{kind}_profile_error_total",
            f"Counter about {kind} profile errors.",
            ("reason",),
            namespace=NAMESPACE,
            registry=registry,
        )
        for operation in (DELETE, UPDATE):
            self._operations.labels(operation)
        for reason in reasons:
            self._errors.labels(reason)

    def updated(self) -> None:
        """A profile was installed with new content."""
        self._operations.labels(UPDATE).inc()

    def deleted(self) -> None:
        """A profile was removed."""
        self._operations.labels(DELETE).inc()

    def failed(self, reason: str) -> None:
        """Something went wrong; ``reason`` is also the reason of the Warning event."""
        self._errors.labels(reason).inc()


class SeccompProfileMetrics(ProfileMetrics):
    """Of seccomp profiles."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry, "seccomp", SECCOMP_REASONS)


class SelinuxProfileMetrics(ProfileMetrics):
    """Of SELinux profiles."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry, "selinux", SELINUX_REASONS)


class AppArmorProfileMetrics(ProfileMetrics):
    """Of AppArmor profiles."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry, "apparmor", APPARMOR_REASONS)
