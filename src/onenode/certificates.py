"""Keys and certificates of one onenode: its CA, its serving certificate, the key that signs tokens.

Every file is 0600 in a folder 0700. Certificates are made again when they near their end or lack a name.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["Certificates", "ensure_certificates", "write_secret"]

_CA_DAYS: Final = 3650
_SERVER_DAYS: Final = 365
_RENEW_DAYS: Final = 30
_CLUSTER_NAMES: Final = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


@dataclass(frozen=True, slots=True)
class Certificates:
    """Paths of what a server needs."""

    ca: Path
    server: Path
    server_key: Path
    token_key: Path

    def ca_text(self) -> str:
        """The CA certificate, PEM."""
        return self.ca.read_text()

    def token_signing_key(self) -> ec.EllipticCurvePrivateKey:
        """Key for service account tokens."""
        return _load_key(self.token_key)

    def ssl_context(self) -> ssl.SSLContext:
        """For the HTTPS server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.server, self.server_key)
        return context


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def ensure_certificates(
    folder: Path, hosts: Sequence[str], now: datetime.datetime | None = None
) -> Certificates:
    """Make what is missing.

    Args:
        folder: where the files are.
        hosts: further names and addresses under which clients reach the server.
        now: the present moment, for tests.
    """
    moment = now or datetime.datetime.now(datetime.UTC)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths = Certificates(
        folder / "ca.crt", folder / "server.crt", folder / "server.key", folder / "token.key"
    )
    ca_key_path = folder / "ca.key"
    if not paths.ca.exists() or not ca_key_path.exists():
        _make_ca(paths.ca, ca_key_path, moment)
        paths.server.unlink(missing_ok=True)
    if not paths.token_key.exists():
        write_secret(paths.token_key, _key_text(ec.generate_private_key(ec.SECP256R1())))
    names = sorted({*_CLUSTER_NAMES, "127.0.0.1", "::1", *hosts})
    if not _is_good(paths, names, moment):
        _make_server(paths, ca_key_path, names, moment)
    return paths


def _key_text(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} is no elliptic curve key; remove it to get a new one")
    return key


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _make_ca(path: Path, key_path: Path, now: datetime.datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("onenode-ca")
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=_CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_secret(key_path, _key_text(key))
    write_secret(path, certificate.public_bytes(serialization.Encoding.PEM))


def _make_server(paths: Certificates, ca_key_path: Path, names: list[str], now: datetime.datetime) -> None:
    ca = x509.load_pem_x509_certificate(paths.ca.read_bytes())
    ca_key = _load_key(ca_key_path)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name("onenode"))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=_SERVER_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(n) for n in names]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    write_secret(paths.server_key, _key_text(key))
    write_secret(paths.server, certificate.public_bytes(serialization.Encoding.PEM))


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _is_good(paths: Certificates, names: list[str], now: datetime.datetime) -> bool:
    if not paths.server.exists() or not paths.server_key.exists():
        return False
    certificate = x509.load_pem_x509_certificate(paths.server.read_bytes())
    if certificate.not_valid_after_utc - now < datetime.timedelta(days=_RENEW_DAYS):
        return False
    held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {_general_name(name) for name in names} <= set(held)
