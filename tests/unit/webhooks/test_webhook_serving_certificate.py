"""When a certificate from the Secret is served: at once, or when API servers have heard of its CA."""

from datetime import UTC, datetime

from spo.api.meta import ObjectMeta
from spo.api.secret import Secret
from spo.manager.certificates import Issued, new_authority, new_server_certificate
from spo.webhooks.serving_certificate import TRUST_S, ServingCertificate
from tests.fakes.clock import FakeClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CAS = [new_authority(NOW) for _ in range(3)]


def secret(authority: Issued, version: str) -> Secret:
    issued = new_server_certificate(authority.certificate, authority.key, ("w.example",), NOW)
    data = {"tls.crt": issued.certificate, "tls.key": issued.key, "ca.crt": authority.certificate}
    return Secret(metadata=ObjectMeta(name="cert", resource_version=version), data=data)


class Loading(ServingCertificate):
    """Notes what is loaded."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.taken: list[str] = []

    def _take(self, new: Secret) -> None:
        super()._take(new)
        self.taken.append(new.metadata.resource_version)


async def test_certificate_of_another_ca_waits_until_that_is_trusted() -> None:
    clock = FakeClock()
    certificate = Loading(clock)
    certificate.secret_changed(None, secret(CAS[0], "1"))
    certificate.secret_changed(None, secret(CAS[0], "2"))
    assert certificate.taken == ["1", "2"]  # the first, and a renewal: at once
    certificate.secret_changed(None, secret(CAS[1], "3"))
    await clock.advance(TRUST_S - 0.1)
    assert certificate.taken == ["1", "2"]
    await clock.advance(0.1)
    assert certificate.taken == ["1", "2", "3"]
    assert certificate.problem == ""


async def test_only_the_last_of_several_is_served() -> None:
    clock = FakeClock()
    certificate = Loading(clock)
    for number, authority in enumerate(CAS):
        certificate.secret_changed(None, secret(authority, str(number)))
    certificate.secret_changed(None, None)
    await clock.advance(2 * TRUST_S)
    assert certificate.taken == ["0", "2"]


async def test_one_that_cannot_be_used_does_not_count() -> None:
    clock = FakeClock()
    certificate = Loading(clock)
    broken = Secret(metadata=ObjectMeta(name="cert"), data={"tls.crt": b"x", "ca.crt": b"y"})
    certificate.secret_changed(None, broken)
    assert "no usable pair" in certificate.problem
    certificate.secret_changed(None, secret(CAS[0], "1"))
    assert certificate.taken == ["", "1"]
    assert certificate.loaded.is_set()
