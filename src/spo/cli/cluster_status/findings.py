"""Pure: from facts to the whole report."""

from spo.cli.cluster_status.admission import certificates_part, webhooks_part
from spo.cli.cluster_status.control import daemons_part, manager_part, node_states, spod_part
from spo.cli.cluster_status.facts import Facts
from spo.cli.cluster_status.profiles import profiles_part, recordings_part
from spo.cli.cluster_status.report import MAX_LISTED, CertificateState, Component, Report


def report_of(facts: Facts) -> Report:
    """What is healthy, what is not, and what to do."""
    profile_part, profiles = profiles_part(facts)
    recording_part, recordings = recordings_part(facts)
    parts = (
        spod_part(facts),
        manager_part(facts),
        daemons_part(facts),
        webhooks_part(facts),
        certificates_part(facts),
        profile_part,
        recording_part,
    )
    components = [
        Component(
            name=one.name,
            healthy=not one.findings,
            summary=one.summary,
            finding_count=len(one.findings),
        )
        for one in parts
    ]
    return Report(
        healthy=all(one.healthy for one in components),
        namespace=facts.namespace,
        components=components,
        findings=[finding for one in parts for finding in one.findings[:MAX_LISTED]],
        notes=list(facts.notes),
        nodes=node_states(facts),
        certificates=[
            CertificateState(
                secret=one.secret, not_after=one.not_after.isoformat() if one.not_after else None
            )
            for one in facts.certificates
        ],
        profiles=profiles,
        recordings=recordings,
    )
