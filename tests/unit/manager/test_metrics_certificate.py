"""The certificate of the metrics: of the CA of the webhooks, renewed with it."""

from datetime import timedelta

import pytest
from cryptography import x509

from spo.api.secret import Secret
from spo.manager.admission_scope import AdmissionScope
from spo.manager.certificate_secrets import PREVIOUS, CertificateKeeper
from spo.manager.certificates import SERVER_DAYS
from spo.manager.metrics_certificate import MetricsCertificate
from spo.names import METRICS_CERTIFICATE, WEBHOOK_AUTHORITY, WEBHOOK_CERTIFICATE
from tests.fakes.clock import FakeClock


class StoredSecrets:
    """Implements spo.manager.certificate_secrets.Secrets."""

    def __init__(self) -> None:
        self.stored: dict[str, Secret] = {}
        self.writes: list[str] = []

    async def get(self, name: str) -> Secret | None:
        return self.stored.get(name)

    async def write(self, secret: Secret) -> Secret:
        self.writes.append(secret.metadata.name)
        self.stored[secret.metadata.name] = secret
        return secret


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.secrets = StoredSecrets()
        self.keeper = CertificateKeeper(
            self.secrets,
            AdmissionScope(self.clock),
            self.all_serve,
            "spo",
            self.clock,
            MetricsCertificate(self.secrets, "spo").keep,
        )

    async def all_serve(self, _: bytes) -> bool:
        return True

    async def look(self) -> list[str]:
        """Names of the Secrets that were written."""
        self.secrets.writes.clear()
        await self.keeper.reconcile()
        return list(self.secrets.writes)

    def data(self, name: str = METRICS_CERTIFICATE) -> dict[str, bytes]:
        return self.secrets.stored[name].data


@pytest.fixture
async def world() -> World:
    made = World()
    assert await made.look() == [WEBHOOK_AUTHORITY, WEBHOOK_CERTIFICATE, METRICS_CERTIFICATE]
    return made


async def test_it_is_of_our_ca_and_has_all_names(world: World) -> None:
    certificate = x509.load_pem_x509_certificate(world.data()["tls.crt"])
    authority = x509.load_pem_x509_certificate(world.data(WEBHOOK_AUTHORITY)["tls.crt"])

    certificate.verify_directly_issued_by(authority)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [
        f"{service}.spo{suffix}"
        for service in ("metrics", "manager-metrics")
        for suffix in ("", ".svc", ".svc.cluster.local")
    ]
    assert world.data()["ca.crt"] == world.data(WEBHOOK_AUTHORITY)["tls.crt"]


async def test_nothing_is_written_twice(world: World) -> None:
    assert await world.look() == []


async def test_it_is_renewed_before_its_end(world: World) -> None:
    before = world.data()["tls.crt"]
    await world.clock.advance(timedelta(days=SERVER_DAYS - 29).total_seconds())

    assert METRICS_CERTIFICATE in await world.look()
    assert world.data()["tls.crt"] != before


async def test_one_that_was_removed_comes_back(world: World) -> None:
    del world.secrets.stored[METRICS_CERTIFICATE]

    assert await world.look() == [METRICS_CERTIFICATE]


async def test_readers_trust_the_old_ca_too_while_servers_change(world: World) -> None:
    old = world.data(WEBHOOK_AUTHORITY)["tls.crt"]
    del world.secrets.stored[WEBHOOK_AUTHORITY]

    assert METRICS_CERTIFICATE in await world.look()
    new = world.data(WEBHOOK_AUTHORITY)["tls.crt"]
    assert new != old
    assert world.data()["ca.crt"] == new + old

    authority = world.secrets.stored[WEBHOOK_AUTHORITY]
    authority.data.pop(PREVIOUS)
    served = world.data()["tls.crt"]
    assert METRICS_CERTIFICATE in await world.look()
    assert world.data()["ca.crt"] == new
    assert world.data()["tls.crt"] == served
