"""Make our certificates: a CA of our own, and what it issues to the webhook server.

The facts that decide about renewal lie beside a certificate, as JSON in an annotation, together with its
digest. So the manager parses no certificate, and the 11 MB of code that makes them is loaded by
:mod:`spo.manager.certificate_process` only.
"""

import datetime
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

AUTHORITY_DAYS: Final = 5 * 365
AUTHORITY_RENEW_DAYS: Final = 180
SERVER_DAYS: Final = 90
SERVER_RENEW_DAYS: Final = 30
_EARLIER: Final = datetime.timedelta(minutes=5)
"""Certificates count from a little before now: clocks differ."""


class CertificateFacts(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """What the manager must know of a certificate; value of ``CERTIFICATE_ANNOTATION``."""

    digest: str
    """SHA-256 of the certificate's PEM, hex: the facts hold for this one only."""
    renew_after: str
    """RFC 3339."""
    authority: str = ""
    """Digest of the CA that issued it; empty for a CA."""
    names: tuple[str, ...] = ()
    """DNS names that it is for."""

    def problem(
        self, certificate: bytes, now: datetime.datetime, authority: str = "", names: tuple[str, ...] = ()
    ) -> str:
        """Why another certificate is needed; empty if this one will do.

        Args:
            certificate: PEM, as it is stored.
            now: the present moment.
            authority: digest of the CA that must have issued it.
            names: what it must be for.
        """
        if self.digest != digest_of(certificate):
            return "it was not made by this operator"
        if self.authority != authority:
            return "another CA issued it"
        if self.names != names:
            return "it is for other names"
        try:
            due = datetime.datetime.fromisoformat(self.renew_after)
            return "it nears its end" if due <= now else ""
        except (ValueError, TypeError):
            return "nobody knows how long it is valid"


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate, its key (both PEM), and what to note about it."""

    certificate: bytes
    key: bytes
    facts: CertificateFacts


def digest_of(certificate: bytes) -> str:
    """SHA-256, hex."""
    return sha256(certificate).hexdigest()


def facts_from(annotation: str) -> CertificateFacts | None:
    """The facts in an annotation; ``None`` if there are none."""
    try:
        return msgspec.json.decode(annotation, type=CertificateFacts)
    except (msgspec.DecodeError, RecursionError):
        return None


def new_authority(now: datetime.datetime) -> Issued:
    """A CA that may issue certificates for servers, and none for other CAs."""
    from cryptography import x509  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    # A name of its own: while two of our CAs are trusted, nobody may take one for the other.
    name = _name(f"security-profiles-operator-ca-{now:%Y%m%d%H%M%S}")
    builder = (
        _builder(name, name, key, now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
    )
    return _issued(builder, key, key, _due(now, AUTHORITY_DAYS - AUTHORITY_RENEW_DAYS))


def new_server_certificate(
    authority: bytes, authority_key: bytes, names: tuple[str, ...], now: datetime.datetime
) -> Issued:
    """A certificate for a server.

    Args:
        authority: certificate of the CA, PEM.
        authority_key: its key, PEM.
        names: DNS names of the server, the main one first.
        now: the present moment.

    Raises:
        ValueError: the CA cannot be read, or its key is none of ours.
    """
    from cryptography import x509  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.x509.oid import ExtendedKeyUsageOID  # noqa: PLC0415

    issuer = x509.load_pem_x509_certificate(authority)
    issuer_key = serialization.load_pem_private_key(authority_key, None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise ValueError("the key of the CA is no elliptic curve key")
    if issuer_key.public_key() != issuer.public_key():
        raise ValueError("the key of the CA does not belong to its certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_name(names[0]), issuer.subject, key, now, SERVER_DAYS)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    )
    due = _due(now, SERVER_DAYS - SERVER_RENEW_DAYS)
    return _issued(builder, key, issuer_key, due, authority=digest_of(authority), names=names)


def _builder(
    subject: "x509.Name",
    issuer: "x509.Name",
    key: "ec.EllipticCurvePrivateKey",
    now: datetime.datetime,
    days: int,
) -> "x509.CertificateBuilder":
    from cryptography import x509  # noqa: PLC0415 - see above

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _issued(
    builder: "x509.CertificateBuilder",
    key: "ec.EllipticCurvePrivateKey",
    signer: "ec.EllipticCurvePrivateKey",
    due: str,
    *,
    authority: str = "",
    names: tuple[str, ...] = (),
) -> Issued:
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - see above

    certificate = builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    facts = CertificateFacts(digest=digest_of(certificate), renew_after=due, authority=authority, names=names)
    return Issued(certificate, text, facts)


def _name(common_name: str) -> "x509.Name":
    from cryptography import x509  # noqa: PLC0415 - see above
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _usage(*, sign_certificates: bool) -> "x509.KeyUsage":
    from cryptography import x509  # noqa: PLC0415 - see above

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _due(now: datetime.datetime, days: int) -> str:
    return (now + datetime.timedelta(days=days)).isoformat(timespec="seconds")
