"""Certificates as they lie in Secrets and in the webhook configuration."""

import base64
import binascii

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from spo.api.secret import CERTIFICATE, Secret
from spo.api.webhook_configuration import MutatingWebhookConfiguration
from spo.cli.cluster_status.facts import CertificateFact
from spo.names import CERTIFICATE_ANNOTATION


def certificate_fact(name: str, secret: Secret | None) -> CertificateFact:
    """What a Secret holds."""
    if secret is None:
        return CertificateFact(secret=name, present=False)
    ours = CERTIFICATE_ANNOTATION in secret.metadata.annotations
    try:
        certificate = x509.load_pem_x509_certificate(secret.data.get(CERTIFICATE, b""))
    except ValueError:
        return CertificateFact(secret=name, problem=f"{CERTIFICATE} holds no certificate", ours=ours)
    return CertificateFact(
        secret=name,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        ours=ours,
    )


def trusted_entries(
    configuration: MutatingWebhookConfiguration | None, serving: Secret | None
) -> dict[str, bool]:
    """Entry of the configuration -> whether one of its CAs has issued the certificate that is served.

    Empty if there is no such certificate: then nothing can be said.
    """
    if configuration is None or serving is None:
        return {}
    try:
        certificate = x509.load_pem_x509_certificate(serving.data.get(CERTIFICATE, b""))
    except ValueError:
        return {}
    return {
        str(one.get("name", "")): _is_trusted(certificate, (one.get("clientConfig") or {}).get("caBundle"))
        for one in configuration.webhooks
    }


def _is_trusted(certificate: x509.Certificate, bundle: object) -> bool:
    if not isinstance(bundle, str):
        return False
    try:
        authorities = x509.load_pem_x509_certificates(base64.b64decode(bundle, validate=True))
    except (ValueError, binascii.Error):
        return False
    return any(_has_issued(one, certificate) for one in authorities)


def _has_issued(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
