"""The answer of ``spoc cluster status``, as programs and as people read it."""

from collections.abc import Iterator
from typing import Final

import msgspec

MAX_LISTED: Final = 10
"""Problems of one component that are shown, profiles that are listed, nodes that are named."""


class Finding(msgspec.Struct, rename="camel", kw_only=True, frozen=True):
    """One thing that is wrong."""

    component: str
    """As in :class:`Component`."""
    object: str = ""
    """What it is about, as kubectl names it; namespaces other than the operator's come first."""
    problem: str
    """What is wrong."""
    action: str = ""
    """What to do."""


class Component(msgspec.Struct, rename="camel", kw_only=True, frozen=True):
    """A part of the operator."""

    name: str
    """spod, manager, daemons, webhooks, certificates, profiles, or recordings."""
    healthy: bool
    summary: str
    """Its state in a few words."""
    finding_count: int = 0
    """How many findings there are; :attr:`Report.findings` has the first ten of a component."""


class NodeState(msgspec.Struct, rename="camel", kw_only=True, frozen=True):
    """A node."""

    name: str
    daemon: str
    """``Ready``, ``NotReady``, or ``Absent``."""
    reported: bool
    """The node's daemon has written its node status."""
    installed: int = 0
    """Profiles that are installed there."""
    failed: int = 0
    """Profiles that cannot be installed there."""


class CertificateState(msgspec.Struct, rename="camel", kw_only=True, frozen=True):
    """A certificate."""

    secret: str
    not_after: str | None = None
    """RFC 3339; absent: nobody knows."""


class WaitingNode(msgspec.Struct, rename="camel", kw_only=True, frozen=True):
    """A node that does not have a profile."""

    node_name: str
    message: str = ""


class ProfileTrouble(msgspec.Struct, rename="camel", kw_only=True, frozen=True):
    """A profile that is not installed although it should be."""

    namespace: str
    name: str
    state: str
    message: str = ""
    nodes: list[WaitingNode] = []
    """The first ten that do not have it."""
    node_count: int = 0
    """How many do not have it."""


class Profiles(msgspec.Struct, rename="camel", kw_only=True, frozen=True):
    """All profiles."""

    by_state: dict[str, int] = {}
    """State -> how many; ``Pending`` are those without a status as well."""
    not_installed: list[ProfileTrouble] = []
    """The first ten."""
    not_installed_count: int = 0


class Recordings(msgspec.Struct, rename="camel", kw_only=True, frozen=True):
    """All recordings, and what they made."""

    count: int = 0
    recorded_pods: int = 0
    """Pods being recorded."""
    partial_profiles: int = 0
    """Profiles that are not whole yet."""
    lost: int = 0
    """Observations that were lost, on recordings and recorded profiles."""


class Report(msgspec.Struct, rename="camel", kw_only=True, frozen=True):
    """The state of the operator in a cluster; later versions only add fields."""

    version: int = 1
    healthy: bool
    """No findings."""
    namespace: str
    """Of the operator."""
    components: list[Component]
    findings: list[Finding]
    notes: list[str] = []
    """What could not be looked at."""
    nodes: list[NodeState] = []
    certificates: list[CertificateState] = []
    profiles: Profiles = msgspec.field(default_factory=Profiles)
    recordings: Recordings = msgspec.field(default_factory=Recordings)


def as_json(report: Report) -> str:
    """For programs."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def as_lines(report: Report) -> Iterator[str]:
    """For people: a line for each component, then what is wrong and what to do."""
    total = sum(one.finding_count for one in report.components)
    verdict = "healthy" if report.healthy else f"{total} problem{'s' * (total != 1)}"
    yield f"Operator in namespace {report.namespace}: {verdict}"
    width = max(len(one.name) for one in report.components)
    for one in report.components:
        yield f"  {'ok   ' if one.healthy else 'WRONG'}  {one.name.ljust(width)}  {one.summary}"
    for component in report.components:
        shown = [one for one in report.findings if one.component == component.name]
        for finding in shown:
            yield ""
            about = f"{finding.object}: " if finding.object else ""
            yield f"{finding.component}: {about}{finding.problem}"
            if finding.action:
                yield f"  -> {finding.action}"
        if component.finding_count > len(shown):
            yield ""
            yield f"{component.name}: and {component.finding_count - len(shown)} more"
    for note in report.notes:
        yield ""
        yield f"not looked at: {note}"
