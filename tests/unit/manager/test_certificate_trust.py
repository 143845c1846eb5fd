"""Certificates that others issue: whom the API server trusts, and when no longer."""

from datetime import UTC, datetime, timedelta

import pytest

from spo.api.meta import ObjectMeta
from spo.api.secret import Secret
from spo.manager.certificate_trust import (
    MAX_TRUSTED,
    RECHECK_S,
    IssuedElsewhere,
    UnusableCertificateError,
)
from spo.manager.certificates import new_authority
from spo.names import WEBHOOK_CERTIFICATE

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OLD, NEW = (new_authority(NOW + timedelta(days=days)).certificate for days in (0, 1))


class World:
    """Implements spo.manager.certificate_trust.ReadableSecrets, and is everything around it."""

    def __init__(self, stored: bytes = b"") -> None:
        self.data: dict[str, bytes] | None = None
        self.served = True
        self.keeper = IssuedElsewhere(self, lambda: stored, self.all_serve)

    async def get(self, name: str) -> Secret | None:
        assert name == WEBHOOK_CERTIFICATE
        return None if self.data is None else Secret(metadata=ObjectMeta(name=name), data=self.data)

    async def all_serve(self, certificate: bytes) -> bool:
        assert self.data is not None
        assert certificate == self.data["tls.crt"]
        return self.served

    async def issue(self, authority: bytes, certificate: bytes = b"leaf") -> float | None:
        """The issuer writes; after how many seconds the keeper looks again."""
        self.data = {"tls.crt": certificate, "tls.key": b"key", "ca.crt": authority}
        return (await self.keeper.reconcile()).requeue_after


async def test_nothing_is_known_before_the_first_certificate() -> None:
    world = World()
    await world.keeper.reconcile()
    assert world.keeper.bundle is None
    world.data = {}
    await world.keeper.reconcile()
    assert world.keeper.bundle is None


async def test_new_ca_is_trusted_beside_the_old_one_until_every_replica_serves_it() -> None:
    world = World()
    assert await world.issue(OLD) is None
    assert world.keeper.bundle == OLD
    world.served = False
    assert await world.issue(NEW) == RECHECK_S
    assert world.keeper.bundle == NEW + OLD
    assert (await world.keeper.reconcile()).requeue_after == RECHECK_S
    world.served = True
    assert (await world.keeper.reconcile()).requeue_after is None
    assert world.keeper.bundle == NEW


async def test_renewal_by_the_same_ca_changes_nothing() -> None:
    world = World()
    await world.issue(OLD)
    world.served = False
    assert await world.issue(OLD, b"next leaf") is None
    assert world.keeper.bundle == OLD


async def test_next_leader_goes_on_with_what_is_stored() -> None:
    world = World(stored=NEW + OLD)
    world.served = False
    await world.issue(NEW)
    assert world.keeper.bundle == NEW + OLD


async def test_secret_that_is_gone_changes_nothing() -> None:
    world = World(stored=OLD)
    await world.keeper.reconcile()
    assert world.keeper.bundle == OLD


async def test_issuer_that_tells_no_ca() -> None:
    world = World()
    await world.issue(b"")
    assert world.keeper.bundle == b""


async def test_lines_may_end_as_on_windows_and_the_last_one_not_at_all() -> None:
    world = World()
    await world.issue((NEW + OLD).replace(b"\n", b"\r\n").rstrip())
    assert world.keeper.bundle == NEW + OLD


@pytest.mark.parametrize("junk", [b"x", OLD[:100], OLD.replace(b"M", b"?"), b"\xff", OLD[:-30] + NEW[:60]])
async def test_what_is_no_ca_is_told_and_trusted_by_nobody(junk: bytes) -> None:
    world = World()
    await world.issue(OLD)
    with pytest.raises(
        UnusableCertificateError, match=r"Secret webhook-server-cert: ca\.crt: no certificate"
    ):
        await world.issue(junk)
    assert world.keeper.bundle == OLD


async def test_bundle_does_not_grow_for_ever() -> None:
    world = World()
    world.served = False
    made = [new_authority(NOW + timedelta(days=days)).certificate for days in range(MAX_TRUSTED + 3)]
    for authority in made:
        await world.issue(authority)
    assert world.keeper.bundle == b"".join(reversed(made[3:]))
