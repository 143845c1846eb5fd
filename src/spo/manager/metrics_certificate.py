"""The certificate with which daemons and managers serve their metrics, of the CA of the webhooks."""

import asyncio
from datetime import datetime
from typing import Final

from spo import klog
from spo.api.secret import AUTHORITY, CERTIFICATE, KEY, Secret
from spo.manager.certificate_process import Issue, issue_here
from spo.manager.certificate_secrets import PREVIOUS, Secrets, issued_by, problem_of, secret_of
from spo.manager.certificates import digest_of, facts_from
from spo.names import CERTIFICATE_ANNOTATION, MANAGER_METRICS_SERVICE, METRICS_CERTIFICATE, METRICS_SERVICE

log = klog.get("certificates")


class MetricsCertificate:
    """Keeps Secret ``metrics-server-cert``; readers of metrics mount its ``ca.crt``, servers the rest."""

    def __init__(self, secrets: Secrets, operator_namespace: str, issue: Issue = issue_here) -> None:
        self._secrets = secrets
        self._issue = issue
        self.looked_at: Final = asyncio.Event()
        """Set once the Secret is there."""
        services = (f"{name}.{operator_namespace}" for name in (METRICS_SERVICE, MANAGER_METRICS_SERVICE))
        self._names: Final = tuple(
            f"{service}{suffix}" for service in services for suffix in ("", ".svc", ".svc.cluster.local")
        )

    async def keep(self, authority: Secret, now: datetime) -> None:
        """Look at the Secret, write it if something is due.

        Args:
            authority: Secret of the CA.
            now: the present moment.
        """
        present = await self._secrets.get(METRICS_CERTIFICATE)
        ca = authority.data[CERTIFICATE]
        # For the minutes until every server has read what the new CA issued.
        trusted = ca + authority.data.get(PREVIOUS, b"")
        problem = problem_of(present, now, digest_of(ca), self._names)
        if problem:
            log.info("Issuing the certificate of the metrics", problem=problem)
            issued = await issued_by(self._issue, authority, self._names, now)
            data = {CERTIFICATE: issued.certificate, KEY: issued.key, AUTHORITY: trusted}
            await self._secrets.write(secret_of(METRICS_CERTIFICATE, data, issued.facts))
        elif present is not None and present.data.get(AUTHORITY) != trusted:
            facts = facts_from(present.metadata.annotations[CERTIFICATE_ANNOTATION])
            if facts is not None:
                data = {**present.data, AUTHORITY: trusted}
                await self._secrets.write(secret_of(METRICS_CERTIFICATE, data, facts))
        self.looked_at.set()
