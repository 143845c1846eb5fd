"""Pure: webhooks and certificates."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from spo.cli.cluster_status.control import ready
from spo.cli.cluster_status.facts import CertificateFact, Facts, age_s
from spo.cli.cluster_status.part import CERTIFICATES, GRACE_S, WEBHOOKS, Part
from spo.cli.text import enumerated
from spo.names import METRICS_CERTIFICATE, OPERATOR_NAME, WEBHOOK_AUTHORITY, WEBHOOK_NAME, WEBHOOK_SERVICE

NEAR_END: Final = {WEBHOOK_AUTHORITY: 0.08}
"""Secret -> share of the time of its certificate that is left when it should have been renewed long ago."""
_NEAR_END_OF_SERVERS: Final = 0.25


def webhooks_part(facts: Facts) -> Part:
    """Who answers the API server, what it sends, and whether it trusts the answer."""
    part = Part(WEBHOOKS)
    about = f"deployment/{WEBHOOK_NAME}"
    where = f"kubectl -n {facts.namespace}"
    wanted = 0
    if facts.webhook is not None:
        replicas = facts.webhook.spec.replicas
        wanted = replicas if replicas is not None else 1
    entries = facts.configuration.webhooks if facts.configuration else []
    part.summary = f"{facts.endpoints} of {wanted} replicas ready, {len(entries)} entries"
    if facts.webhook is None:
        part.add(f"absent{_refused(entries)}", "apply the operator's manifest again", about)
    elif wanted == 0:
        part.add(f"scaled to 0{_refused(entries)}", f"{where} scale {about} --replicas=3", about)
    elif facts.endpoints == 0:
        action = f"{where} describe pods -l name={WEBHOOK_NAME}"
        part.add(f"Service {WEBHOOK_SERVICE} has no ready replica{_refused(entries)}", action, about)
    elif facts.webhook.status.ready_replicas < wanted:
        ready_count = facts.webhook.status.ready_replicas
        action = f"{where} describe pods -l name={WEBHOOK_NAME}"
        part.add(f"{ready_count} of {wanted} replicas are ready", action, about)
    _configuration(facts, part)
    _inactive(facts, part)
    return part


def certificates_part(facts: Facts) -> Part:
    """The Secrets with certificates, and how long these are valid."""
    part = Part(CERTIFICATES)
    ends = (f"{one.secret} until {one.not_after:%Y-%m-%d}" for one in facts.certificates if one.not_after)
    part.summary = ", ".join(ends) or "unknown"
    for one in facts.certificates:
        if problem := _certificate_problem(facts, one):
            where = f"kubectl -n {facts.namespace}"
            make = "the manager makes it anew" if one.ours or not one.present else "renew it in cert-manager"
            if one.present and one.ours:
                make += f": {where} delete secret {one.secret}"
            part.add(
                problem, f"{make}; see also {where} logs deployment/{OPERATOR_NAME}", f"secret/{one.secret}"
            )
    return part


def _configuration(facts: Facts, part: Part) -> None:
    holding = {one.metadata.namespace or "" for one in facts.bindings}
    holding |= {one.metadata.namespace or "" for one in facts.recordings}
    needed = sorted(holding)
    logs = f"see why: kubectl -n {facts.namespace} logs deployment/{OPERATOR_NAME}"
    if facts.configuration is None:
        if needed:
            part.add(
                "there is no MutatingWebhookConfiguration, so nothing is bound or recorded in "
                f"{enumerated(needed)}; the manager makes it",
                logs,
            )
        return
    about = f"mutatingwebhookconfiguration/{facts.configuration.metadata.name}"
    untrusted = [name for name, trusted in sorted(facts.trusted.items()) if not trusted]
    if untrusted:
        part.add(
            f"the caBundle of {enumerated(untrusted)} does not hold the CA of the certificate that is "
            "served, so the API server trusts no answer",
            f"the manager repairs it; if it does not, {logs}",
            about,
        )


def _inactive(facts: Facts, part: Part) -> None:
    """Bindings that new pods pass by; recordings are looked at with theirs."""
    for one in facts.bindings:
        condition = ready(one.status.conditions if one.status else ())
        metadata = one.metadata
        if condition is not None and condition.status == "True":
            continue
        since = condition.last_transition_time if condition else metadata.creation_timestamp
        if age_s(facts, since) <= GRACE_S:
            continue
        about = f"{metadata.namespace}/profilebinding/{metadata.name}"
        text = condition.message or condition.reason if condition else "nobody has looked at it"
        part.add(f"new pods are not bound: {text}", f"kubectl -n {facts.namespace} get pods", about)


def _refused(entries: Iterable[dict[str, Any]]) -> str:
    """What happens to pods while nobody answers."""
    failing = [one for one in entries if one.get("failurePolicy", "Fail") == "Fail"]
    if not failing:
        return ""
    namespaces = sorted({name for one in failing for name in _namespaces(one)})
    of = f" of {enumerated(namespaces)}" if namespaces else ""
    return f"; new pods{of} are refused meanwhile"


def _namespaces(entry: dict[str, Any]) -> list[str]:
    selector = entry.get("namespaceSelector") or {}
    return [
        name
        for one in selector.get("matchExpressions") or []
        if one.get("operator") == "In"
        for name in one.get("values") or []
    ]


def _certificate_problem(facts: Facts, one: CertificateFact) -> str:
    if not one.present:
        harm = "metrics are not served" if one.secret == METRICS_CERTIFICATE else "admission stops with it"
        return f"the Secret is absent; {harm}"
    if one.problem or one.not_after is None or one.not_before is None:
        return one.problem
    return _time_problem(facts, one.secret, one.not_before, one.not_after)


def _time_problem(facts: Facts, secret: str, not_before: datetime, not_after: datetime) -> str:
    if not_after <= facts.now:
        return f"the certificate has expired at {not_after:%Y-%m-%d %H:%M} UTC"
    if not_before > facts.now:
        return f"the certificate is not valid before {not_before:%Y-%m-%d %H:%M} UTC; is the clock right?"
    left, whole = not_after - facts.now, not_after - not_before
    if left < whole * NEAR_END.get(secret, _NEAR_END_OF_SERVERS):
        return f"the certificate expires in {left.days} days and has not been renewed"
    return ""
