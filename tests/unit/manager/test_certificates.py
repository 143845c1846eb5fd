"""Certificates that a TLS client accepts, and the facts that decide about their renewal."""

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from spo.manager.certificates import (
    CertificateFacts,
    Issued,
    digest_of,
    facts_from,
    new_authority,
    new_server_certificate,
)

NAMES = ("webhook-service.spo.svc", "webhook-service.spo")


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def handshake(authorities: bytes, served: Issued, name: str, folder: Path) -> None:
    """Let a client that trusts ``authorities`` meet a server; raises if it does not trust it."""
    file = folder / "pair.pem"
    file.write_bytes(served.certificate + served.key)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(file)
    client_context = ssl.create_default_context(cadata=authorities.decode())
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(10):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    client.do_handshake()


@pytest.mark.parametrize("name", NAMES)
def test_server_certificate_is_trusted_for_its_names(name: str, tmp_path: Path) -> None:
    authority = new_authority(now())
    served = new_server_certificate(authority.certificate, authority.key, NAMES, now())
    handshake(authority.certificate, served, name, tmp_path)


def test_other_names_and_other_authorities_are_not_trusted(tmp_path: Path) -> None:
    authority, other = new_authority(now()), new_authority(now())
    served = new_server_certificate(authority.certificate, authority.key, NAMES, now())
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(authority.certificate, served, "kubernetes.default.svc", tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(other.certificate, served, NAMES[0], tmp_path)


def test_bundle_of_two_authorities_trusts_what_either_has_issued(tmp_path: Path) -> None:
    old, new = new_authority(now()), new_authority(now() + datetime.timedelta(seconds=1))
    bundle = new.certificate + old.certificate
    for authority in (old, new):
        served = new_server_certificate(authority.certificate, authority.key, NAMES, now())
        handshake(bundle, served, NAMES[0], tmp_path)


def test_server_certificate_can_issue_nothing() -> None:
    authority = new_authority(now())
    served = new_server_certificate(authority.certificate, authority.key, NAMES, now())
    parsed = x509.load_pem_x509_certificate(served.certificate)
    assert not parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not parsed.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_renewal_comes_well_before_the_end() -> None:
    authority = new_authority(now())
    served = new_server_certificate(authority.certificate, authority.key, NAMES, now())
    for issued, days in ((authority, 180), (served, 30)):
        end = x509.load_pem_x509_certificate(issued.certificate).not_valid_after_utc
        due = datetime.datetime.fromisoformat(issued.facts.renew_after)
        assert abs((end - due) - datetime.timedelta(days=days)) < datetime.timedelta(minutes=1)


def test_key_of_another_authority_is_refused() -> None:
    one, other = new_authority(now()), new_authority(now())
    with pytest.raises(ValueError, match="does not belong to its certificate"):
        new_server_certificate(one.certificate, other.key, NAMES, now())


FACTS = CertificateFacts(
    digest=digest_of(b"pem"), renew_after="2026-01-02T00:00:00+00:00", authority="a", names=NAMES
)
BEFORE = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("certificate", "day", "authority", "names", "problem"),
    [
        pytest.param(b"pem", 1, "a", NAMES, "", id="good"),
        pytest.param(b"xyz", 1, "a", NAMES, "it was not made by this operator", id="replaced-by-hand"),
        pytest.param(b"pem", 1, "b", NAMES, "another CA issued it", id="other-authority"),
        pytest.param(b"pem", 1, "a", NAMES[:1], "it is for other names", id="other-names"),
        pytest.param(b"pem", 2, "a", NAMES, "it nears its end", id="due"),
    ],
)
def test_reason_for_another_certificate(
    certificate: bytes, day: int, authority: str, names: tuple[str, ...], problem: str
) -> None:
    moment = datetime.datetime(2026, 1, day, tzinfo=datetime.UTC)
    assert FACTS.problem(certificate, moment, authority, names) == problem


@pytest.mark.parametrize("due", ["", "soon", "2026-01-02"])
def test_unreadable_date_is_a_reason(due: str) -> None:
    facts = CertificateFacts(digest=digest_of(b"pem"), renew_after=due)
    assert facts.problem(b"pem", BEFORE) == "nobody knows how long it is valid"


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", "{", '{"digest": 5, "renewAfter": ""}', "[" * 10_000]
)
def test_annotation_that_tells_nothing_is_no_facts(text: str) -> None:
    assert facts_from(text) is None
