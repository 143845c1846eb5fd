"""The CA and the certificate: made, renewed and replaced in an order that leaves no moment of distrust."""

import base64
from datetime import timedelta

import pytest

from spo.api.meta import ObjectMeta
from spo.api.secret import Secret
from spo.manager.admission_scope import SETTLE_S, AdmissionScope
from spo.manager.certificate_secrets import PREVIOUS, CertificateKeeper, UnusableAuthorityError
from spo.manager.certificates import AUTHORITY_DAYS, SERVER_DAYS, new_authority
from spo.names import WEBHOOK_AUTHORITY, WEBHOOK_CERTIFICATE
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
    """A keeper and what it looks at."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.secrets = StoredSecrets()
        self.scope = AdmissionScope(self.clock)
        self.served: list[bytes] = []
        self.keeper = CertificateKeeper(self.secrets, self.scope, self.all_serve, "spo", self.clock)

    async def all_serve(self, certificate: bytes) -> bool:
        return all(one == certificate for one in self.served)

    def store_configuration(self) -> None:
        assert self.keeper.bundle is not None
        self.scope.stored({}, {}, self.keeper.bundle)

    def certificate(self, name: str) -> bytes:
        return self.secrets.stored[name].data["tls.crt"]

    async def settle(self) -> None:
        """Until nothing more is written."""
        for _ in range(10):
            self.secrets.writes.clear()
            await self.keeper.reconcile()
            self.store_configuration()
            await self.clock.advance(SETTLE_S)
            if not self.secrets.writes:
                return
        raise AssertionError("writes for ever")


@pytest.fixture
async def world() -> World:
    made = World()
    await made.settle()
    return made


async def test_first_start_makes_both_and_the_next_one_nothing() -> None:
    world = World()
    await world.keeper.reconcile()
    assert world.secrets.writes == [WEBHOOK_AUTHORITY, WEBHOOK_CERTIFICATE]
    assert world.keeper.bundle == world.certificate(WEBHOOK_AUTHORITY)
    assert set(world.secrets.stored[WEBHOOK_CERTIFICATE].data) == {"tls.crt", "tls.key", "ca.crt"}
    again = CertificateKeeper(world.secrets, world.scope, world.all_serve, "spo", world.clock)
    await again.reconcile()
    assert world.secrets.writes == [WEBHOOK_AUTHORITY, WEBHOOK_CERTIFICATE]
    assert again.bundle == world.keeper.bundle


async def test_server_secret_does_not_hold_the_key_of_the_ca(world: World) -> None:
    key = world.secrets.stored[WEBHOOK_AUTHORITY].data["tls.key"]
    assert key not in world.secrets.stored[WEBHOOK_CERTIFICATE].data.values()


async def test_certificate_near_its_end_is_renewed_by_the_same_ca(world: World) -> None:
    authority, certificate = world.certificate(WEBHOOK_AUTHORITY), world.certificate(WEBHOOK_CERTIFICATE)
    await world.clock.advance(timedelta(days=SERVER_DAYS - 29).total_seconds())
    await world.keeper.reconcile()
    assert world.secrets.writes == [WEBHOOK_CERTIFICATE]
    assert world.certificate(WEBHOOK_CERTIFICATE) != certificate
    assert world.keeper.bundle == authority


async def test_new_ca_is_trusted_before_it_issues_and_the_old_one_goes_last(world: World) -> None:
    old = world.certificate(WEBHOOK_AUTHORITY)
    await world.clock.advance(timedelta(days=SERVER_DAYS - 31).total_seconds())
    await world.settle()
    served = world.certificate(WEBHOOK_CERTIFICATE)
    world.served = [served, served]
    del world.secrets.stored[WEBHOOK_AUTHORITY]

    world.secrets.writes.clear()
    result = await world.keeper.reconcile()
    new = world.certificate(WEBHOOK_AUTHORITY)
    assert world.secrets.writes == [WEBHOOK_AUTHORITY]  # nothing is issued by it yet
    assert world.keeper.bundle == new + old
    assert result.requeue_after == 1.0
    await world.keeper.reconcile()
    world.store_configuration()
    await world.keeper.reconcile()
    assert world.secrets.writes == [WEBHOOK_AUTHORITY]  # stored, but not everywhere in use

    await world.clock.advance(SETTLE_S)
    await world.keeper.reconcile()
    assert world.secrets.writes == [WEBHOOK_AUTHORITY, WEBHOOK_CERTIFICATE]
    issued = world.certificate(WEBHOOK_CERTIFICATE)
    assert issued != served

    world.served = [issued, served]
    await world.keeper.reconcile()
    assert world.keeper.bundle == new + old  # one replica still serves the old one
    world.served = [issued, issued]
    await world.keeper.reconcile()
    assert world.keeper.bundle == new
    assert PREVIOUS not in world.secrets.stored[WEBHOOK_AUTHORITY].data
    await world.settle()
    assert world.certificate(WEBHOOK_CERTIFICATE) == issued


async def test_ca_near_its_end_is_replaced(world: World) -> None:
    old = world.certificate(WEBHOOK_AUTHORITY)
    await world.clock.advance(timedelta(days=AUTHORITY_DAYS - 179).total_seconds())
    await world.keeper.reconcile()
    assert world.keeper.bundle == world.certificate(WEBHOOK_AUTHORITY) + old


@pytest.mark.parametrize("name", [WEBHOOK_AUTHORITY, WEBHOOK_CERTIFICATE])
@pytest.mark.parametrize(
    "data",
    [
        pytest.param({}, id="empty"),
        pytest.param({"tls.crt": b"junk", "tls.key": b"junk"}, id="junk"),
        pytest.param({"tls.crt": base64.b64encode(b"x")}, id="no-key"),
    ],
)
async def test_secret_changed_by_hand_is_made_anew(world: World, name: str, data: dict[str, bytes]) -> None:
    annotations = world.secrets.stored[name].metadata.annotations
    metadata = ObjectMeta(name=name, annotations=annotations)
    world.secrets.stored[name] = Secret(metadata=metadata, data=data)
    await world.settle()
    assert world.certificate(name).startswith(b"-----BEGIN CERTIFICATE-----")
    assert world.keeper.bundle is not None
    assert b"junk" not in world.keeper.bundle
    assert world.keeper.bundle.count(b"BEGIN CERTIFICATE") == 1


async def test_key_that_is_not_the_cas_is_one_clear_error(world: World) -> None:
    authority = world.secrets.stored[WEBHOOK_AUTHORITY]
    other = world.secrets.stored.pop(WEBHOOK_CERTIFICATE).data["tls.key"]
    world.secrets.stored[WEBHOOK_AUTHORITY] = Secret(
        metadata=authority.metadata, data={**authority.data, "tls.key": other}
    )
    with pytest.raises(UnusableAuthorityError, match=r"Secret webhook-ca: .*; delete it to get a new CA"):
        await world.keeper.reconcile()


async def test_what_another_issuer_made_is_trusted_until_ours_is_served(world: World) -> None:
    ours, theirs = world.certificate(WEBHOOK_AUTHORITY), new_authority(world.clock.now()).certificate
    data = {"tls.crt": b"leaf", "tls.key": b"key", "ca.crt": theirs}
    world.secrets.stored[WEBHOOK_CERTIFICATE] = Secret(
        metadata=ObjectMeta(name=WEBHOOK_CERTIFICATE), data=data
    )
    world.served = [b"leaf"]
    world.secrets.writes.clear()
    await world.keeper.reconcile()
    assert world.keeper.bundle == ours + theirs
    assert world.secrets.writes == [WEBHOOK_AUTHORITY]  # first all must know whom to trust
    world.store_configuration()
    await world.clock.advance(SETTLE_S)
    await world.keeper.reconcile()
    assert world.secrets.writes == [WEBHOOK_AUTHORITY, WEBHOOK_CERTIFICATE]
    await world.keeper.reconcile()
    assert world.keeper.bundle == ours + theirs  # a replica has not followed
    world.served = [world.certificate(WEBHOOK_CERTIFICATE)]
    await world.settle()
    assert world.keeper.bundle == ours


@pytest.mark.parametrize("junk", [b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
async def test_ca_that_is_none_never_gets_into_the_bundle(world: World, junk: bytes) -> None:
    data = {"tls.crt": b"leaf", "tls.key": b"key", "ca.crt": junk}
    world.secrets.stored[WEBHOOK_CERTIFICATE] = Secret(
        metadata=ObjectMeta(name=WEBHOOK_CERTIFICATE), data=data
    )
    await world.settle()
    assert world.keeper.bundle == world.certificate(WEBHOOK_AUTHORITY)
    assert world.secrets.stored[WEBHOOK_CERTIFICATE].data["ca.crt"] == world.keeper.bundle
