"""Keep the CA and the certificate of the webhooks: create, renew, replace without a moment of distrust.

A new CA is first trusted beside the old one, then it issues the serving certificate, and the old one goes
when every replica serves what the new one issued.
"""

import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, Protocol

import msgspec

from spo import klog
from spo.api.meta import ObjectMeta
from spo.api.secret import AUTHORITY, CERTIFICATE, KEY, TLS_SECRET, Secret
from spo.controller import Result
from spo.errors import TerminalError
from spo.kube.clock import Clock
from spo.manager.admission_scope import AdmissionScope
from spo.manager.certificate_process import CertificateOrder, Issue, issue_here
from spo.manager.certificate_trust import UnusableCertificateError, certificates_in
from spo.manager.certificates import (
    CertificateFacts,
    Issued,
    digest_of,
    facts_from,
)
from spo.names import CERTIFICATE_ANNOTATION, WEBHOOK_AUTHORITY, WEBHOOK_CERTIFICATE, WEBHOOK_SERVICE

log = klog.get("certificates")

PREVIOUS: Final = "previous.crt"
"""Key in the CA's Secret: PEM of the CA before this one, as long as it must be trusted."""

CHECK_S: Final = 3600.0
WAIT_FOR_TRUST_S: Final = 1.0
WAIT_FOR_REPLICAS_S: Final = 2.0


class UnusableAuthorityError(TerminalError):
    """The Secret of the CA was changed into something that cannot issue certificates."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"Secret {WEBHOOK_AUTHORITY}: {self.problem}; delete it to get a new CA"


class Secrets(Protocol):
    """The two Secrets; :class:`spo.manager.admission_api.SecretStore` in production."""

    async def get(self, name: str) -> Secret | None:
        """The present state at the API server."""

    async def write(self, secret: Secret) -> Secret:
        """Store all of it."""


FurtherCertificate = Callable[[Secret, datetime], Awaitable[None]]
"""Takes the Secret of the CA and the present moment; looks at a certificate that needs no order of steps."""


class CertificateKeeper:
    """Makes the Secrets what they should be."""

    def __init__(
        self,
        secrets: Secrets,
        scope: AdmissionScope,
        all_serve: Callable[[bytes], Awaitable[bool]],
        operator_namespace: str,
        clock: Clock,
        further: FurtherCertificate | None = None,
        issue: Issue = issue_here,
    ) -> None:
        """Take what it works with.

        Args:
            all_serve: asks every replica whether it serves the certificate with this PEM.
            further: what else the CA issues.
            issue: makes certificates.
        """
        self._new = issue
        self._further = further
        self._secrets = secrets
        self._scope = scope
        self._all_serve = all_serve
        self._clock = clock
        service = f"{WEBHOOK_SERVICE}.{operator_namespace}"
        self._names: Final = (f"{service}.svc", service, f"{service}.svc.cluster.local")
        self.bundle: bytes | None = None
        """PEM of all CAs to trust; ``None`` before the first :meth:`reconcile`."""

    async def reconcile(self) -> Result:
        """Look at all Secrets, change at most what is due."""
        now = self._clock.now()
        authority, result = await self._keep(now)
        if self._further is not None:
            # Last: what goes wrong there must not keep the webhooks from their certificate.
            await self._further(authority, now)
        return result

    async def _keep(self, now: datetime) -> tuple[Secret, Result]:
        """Look at the CA and the certificate of the webhooks."""
        serving = await self._secrets.get(WEBHOOK_CERTIFICATE)
        authority = await self._trust_issuer(serving, await self._authority(serving, now))
        previous = authority.data.get(PREVIOUS, b"")
        self.bundle = authority.data[CERTIFICATE] + previous
        problem = self._problem(serving, authority, now)
        if problem:
            if previous and serving is not None and not self._scope.trusts(self.bundle):
                return authority, Result(WAIT_FOR_TRUST_S)
            await self._issue(authority, problem, now)
            return authority, Result(WAIT_FOR_REPLICAS_S if previous else CHECK_S)
        if previous and serving is not None:
            if not await self._all_serve(serving.data[CERTIFICATE]):
                return authority, Result(WAIT_FOR_REPLICAS_S)
            await self._drop_previous(authority)
            self.bundle = authority.data[CERTIFICATE]
        return authority, Result(CHECK_S)

    async def _authority(self, serving: Secret | None, now: datetime) -> Secret:
        """The CA's Secret; a new CA if it is absent, not ours, or near its end."""
        present = await self._secrets.get(WEBHOOK_AUTHORITY)
        problem = problem_of(present, now)
        if present is not None and not problem:
            return present
        log.info("Making a CA", problem=problem)
        old = present.data.get(CERTIFICATE, b"") if present else b""
        if not _is_certificate(old):
            # The CA is gone, but its certificate is still served until the next one is issued.
            old = serving.data.get(AUTHORITY, b"") if serving else b""
        issued = await self._new(CertificateOrder(now=now))
        data = {CERTIFICATE: issued.certificate, KEY: issued.key}
        if _is_certificate(old):
            data[PREVIOUS] = old
        return await self._secrets.write(secret_of(WEBHOOK_AUTHORITY, data, issued.facts))

    async def _trust_issuer(self, serving: Secret | None, authority: Secret) -> Secret:
        """What somebody else has issued, as cert-manager does, is still served while ours takes its place."""
        if serving is None or PREVIOUS in authority.data:
            return authority
        issuer = serving.data.get(AUTHORITY, b"")
        made = facts_from(serving.metadata.annotations.get(CERTIFICATE_ANNOTATION, ""))
        ours = made is not None and made.digest == digest_of(serving.data.get(CERTIFICATE, b""))
        if ours or not _is_certificate(issuer) or issuer == authority.data[CERTIFICATE]:
            return authority
        facts = facts_from(authority.metadata.annotations[CERTIFICATE_ANNOTATION])
        if facts is None:
            return authority
        data = {**authority.data, PREVIOUS: issuer}
        return await self._secrets.write(secret_of(WEBHOOK_AUTHORITY, data, facts))

    def _problem(self, serving: Secret | None, authority: Secret, now: datetime) -> str:
        return problem_of(serving, now, digest_of(authority.data[CERTIFICATE]), self._names)

    async def _issue(self, authority: Secret, problem: str, now: datetime) -> None:
        log.info("Issuing the certificate of the webhooks", problem=problem)
        ca = authority.data[CERTIFICATE]
        issued = await issued_by(self._new, authority, self._names, now)
        data = {CERTIFICATE: issued.certificate, KEY: issued.key, AUTHORITY: ca}
        await self._secrets.write(secret_of(WEBHOOK_CERTIFICATE, data, issued.facts))

    async def _drop_previous(self, authority: Secret) -> None:
        log.info("Every replica serves a certificate of the new CA; the old one is no longer trusted")
        data = {key: value for key, value in authority.data.items() if key != PREVIOUS}
        facts = facts_from(authority.metadata.annotations[CERTIFICATE_ANNOTATION])
        if facts is not None:
            await self._secrets.write(secret_of(WEBHOOK_AUTHORITY, data, facts))


def problem_of(secret: Secret | None, now: datetime, authority: str = "", names: tuple[str, ...] = ()) -> str:
    """Why a certificate must be made anew, empty if it will do; see :meth:`CertificateFacts.problem`."""
    if secret is None:
        return "there is none"
    facts = facts_from(secret.metadata.annotations.get(CERTIFICATE_ANNOTATION, ""))
    if facts is None or not secret.data.get(KEY):
        return "it was not made by this operator"
    return facts.problem(secret.data.get(CERTIFICATE, b""), now, authority, names)


async def issued_by(issue: Issue, authority: Secret, names: tuple[str, ...], now: datetime) -> Issued:
    """A new certificate for a server.

    Raises:
        UnusableAuthorityError: the Secret holds no CA.
    """
    try:
        return await issue(
            CertificateOrder(
                now=now,
                names=names,
                authority=authority.data[CERTIFICATE],
                authority_key=authority.data[KEY],
            )
        )
    except ValueError as error:
        raise UnusableAuthorityError(str(error)) from error


def _is_certificate(pem: bytes) -> bool:
    """Whether it is one; the API server refuses a bundle that holds anything else."""
    with contextlib.suppress(UnusableCertificateError):
        return bool(certificates_in(pem))
    return False


def secret_of(name: str, data: dict[str, bytes], facts: CertificateFacts) -> Secret:
    """A Secret with a certificate and what to note about it."""
    text = msgspec.json.encode(facts).decode()
    return Secret(
        metadata=ObjectMeta(name=name, annotations={CERTIFICATE_ANNOTATION: text}), type=TLS_SECRET, data=data
    )
