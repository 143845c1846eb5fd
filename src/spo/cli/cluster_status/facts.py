"""What is known of a cluster at one moment; findings depend on nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from spo.api.core import Lease
from spo.api.node_status import SecurityProfileNodeStatus
from spo.api.profile_binding import ProfileBinding
from spo.api.profile_recording import ProfileRecording
from spo.api.seccomp_profile import SeccompProfile
from spo.api.spod import SecurityProfilesOperatorDaemon
from spo.api.webhook_configuration import MutatingWebhookConfiguration
from spo.cli.cluster_status.objects import DaemonPod, StatusNode, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFact:
    """A Secret with a certificate."""

    secret: str
    present: bool = True
    problem: str = ""
    """Why nothing is known of the certificate although there is a Secret; empty: it could be read."""
    not_before: datetime | None = None
    not_after: datetime | None = None
    ours: bool = False
    """The manager made it, and renews it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that findings depend on."""

    now: datetime
    namespace: str
    """Of the operator."""
    spods: Sequence[SecurityProfilesOperatorDaemon] = ()
    manager: Workload | None = None
    lease: Lease | None = None
    daemon_set: Workload | None = None
    pods: Sequence[DaemonPod] = ()
    """Of the DaemonSet."""
    nodes: Sequence[StatusNode] = ()
    node_statuses: Sequence[SecurityProfileNodeStatus] = ()
    webhook: Workload | None = None
    configuration: MutatingWebhookConfiguration | None = None
    endpoints: int = 0
    """Replicas of the webhooks that take connections."""
    trusted: Mapping[str, bool] = field(default_factory=dict)
    """Entry of the configuration -> whether its CAs have issued the certificate that is served."""
    certificates: Sequence[CertificateFact] = ()
    profiles: Sequence[SeccompProfile] = ()
    bindings: Sequence[ProfileBinding] = ()
    recordings: Sequence[ProfileRecording] = ()
    notes: Sequence[str] = ()
    """What could not be looked at, and why."""


def moment(text: str | None) -> datetime | None:
    """A time as the API writes it; ``None`` if it is none."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def age_s(facts: Facts, text: str | None) -> float:
    """Seconds since a time of the API; infinite if there is none."""
    found = moment(text)
    return (facts.now - found).total_seconds() if found else float("inf")
