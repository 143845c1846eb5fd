"""What the look at one component brings."""

from dataclasses import dataclass, field
from typing import Final

from spo.cli.cluster_status.report import Finding

SPOD: Final = "spod"
MANAGER: Final = "manager"
DAEMONS: Final = "daemons"
WEBHOOKS: Final = "webhooks"
CERTIFICATES: Final = "certificates"
PROFILES: Final = "profiles"
RECORDINGS: Final = "recordings"

GRACE_S: Final = 30.0
"""What has begun within this time is under way, not wrong."""


@dataclass(slots=True)
class Part:
    """A component, as far as it is looked at."""

    name: str
    summary: str = ""
    findings: list[Finding] = field(default_factory=list)

    def add(self, problem: str, action: str = "", about: str = "") -> None:
        """Something is wrong."""
        self.findings.append(Finding(component=self.name, object=about, problem=problem, action=action))
