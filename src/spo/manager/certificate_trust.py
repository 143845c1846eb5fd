"""Trust the certificate of the webhooks that somebody else issues, as cert-manager does.

Nobody says beforehand that another CA is about to issue it. So replicas wait a little before they serve
what another CA has issued (:mod:`spo.webhooks.serving_certificate`), and meanwhile that is trusted too.
"""

import re
import ssl
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from spo import klog
from spo.api.secret import AUTHORITY, CERTIFICATE, Secret
from spo.controller import DONE, Result
from spo.errors import TerminalError
from spo.names import WEBHOOK_CERTIFICATE

log = klog.get("certificates")

RECHECK_S: Final = 2.0
"""How often replicas are asked whether they still serve what an earlier CA has issued."""
MAX_TRUSTED: Final = 8
"""CAs in the bundle, the newest first; an issuer that makes a new one each minute must not fill it."""

_BLOCK: Final = re.compile(rb"-----BEGIN CERTIFICATE-----\n.+?\n-----END CERTIFICATE-----\n", re.DOTALL)


class UnusableCertificateError(TerminalError):
    """The Secret holds something that the API server would not take as a CA."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"Secret {WEBHOOK_CERTIFICATE}: {AUTHORITY}: {self.problem}; "
            "check the issuer of its Certificate; what was trusted before stays trusted"
        )


class ReadableSecrets(Protocol):
    """Where the certificate comes from; :class:`spo.manager.admission_api.SecretStore` in production."""

    async def get(self, name: str) -> Secret | None:
        """The present state at the API server."""


class IssuedElsewhere:
    """Keeps the bundle of CAs to trust; :class:`spo.manager.admission.Keeper` of certificates by others."""

    def __init__(
        self,
        secrets: ReadableSecrets,
        stored: Callable[[], bytes],
        all_serve: Callable[[bytes], Awaitable[bool]],
    ) -> None:
        """Take what it works with.

        Args:
            stored: PEM of the CAs in the stored configuration, empty if there are none.
            all_serve: asks every replica whether it serves the certificate with this PEM.
        """
        self._secrets = secrets
        self._stored = stored
        self._all_serve = all_serve
        self.bundle: bytes | None = None
        """PEM of all CAs to trust; empty: those that the API server's machine trusts; ``None``: not known."""

    async def reconcile(self) -> Result:
        """Look at the Secret and at what the replicas serve.

        Raises:
            UnusableCertificateError: no CA can be read in it.
        """
        secret = await self._secrets.get(WEBHOOK_CERTIFICATE)
        certificate = secret.data.get(CERTIFICATE, b"") if secret else b""
        if secret is None or not certificate:
            self.bundle = self.bundle or self._stored() or None  # replicas go on with the last one
            return DONE  # comes back when it is there
        current = certificates_in(secret.data.get(AUTHORITY, b""))
        before = _BLOCK.findall(self._stored() if self.bundle is None else self.bundle)
        earlier = [one for one in before if one not in current]
        if current and earlier and not await self._all_serve(certificate):
            self._trust([*current, *earlier][:MAX_TRUSTED])
            return Result(RECHECK_S)
        self._trust(current)
        return DONE

    def _trust(self, certificates: list[bytes]) -> None:
        bundle = b"".join(certificates)
        if bundle != self.bundle:
            log.info("Trusting the CAs of the webhooks' certificate", count=len(certificates))
        self.bundle = bundle


def certificates_in(pem: bytes) -> list[bytes]:
    """The certificates in a PEM file, one by one; none if it is empty: some issuers tell no CA.

    Raises:
        UnusableCertificateError: there is something else in it.
    """
    if not pem.strip():
        return []
    blocks = _BLOCK.findall(pem.replace(b"\r\n", b"\n").rstrip() + b"\n")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=b"".join(blocks).decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise UnusableCertificateError(f"no certificate: {error}") from error
    return blocks
