"""Certificates from a process of their own are what the same order gives here."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from spo.manager import certificate_process
from spo.manager.certificate_process import CertificateOrder, CertificateProcessError, issue_in_child
from spo.manager.certificates import digest_of, new_authority

NOW = datetime(2026, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)


async def test_child_makes_a_ca_and_what_it_issues() -> None:
    authority = await issue_in_child(CertificateOrder(now=NOW))
    assert authority.facts.digest == digest_of(authority.certificate)
    served = await issue_in_child(
        CertificateOrder(
            now=NOW, names=("a.b", "c"), authority=authority.certificate, authority_key=authority.key
        )
    )
    assert served.facts.authority == digest_of(authority.certificate)
    assert served.facts.names == ("a.b", "c")
    parsed = x509.load_pem_x509_certificate(served.certificate)
    parsed.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate))
    names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.b", "c"]


async def test_ca_that_cannot_be_used_is_told() -> None:
    one, other = new_authority(NOW), new_authority(NOW)
    order = CertificateOrder(now=NOW, names=("a",), authority=one.certificate, authority_key=other.key)
    with pytest.raises(ValueError, match=r"^the key of the CA does not belong to its certificate$"):
        await issue_in_child(order)


async def test_child_that_fails_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no memory >&2\nexit 9\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(
        CertificateProcessError, match=r"^cannot make a certificate: exit status 9: no memory$"
    ):
        await issue_in_child(CertificateOrder(now=NOW))
    broken.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(certificate_process, "PATIENCE_S", 0.2)
    with pytest.raises(CertificateProcessError, match=r"nothing within 0\.2 s"):
        await issue_in_child(CertificateOrder(now=NOW))
