"""Who is known: the administrator's token, tokens of service accounts, and nobody else."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from onenode.auth import Authenticator, load_admin_token
from onenode.certificates import ensure_certificates
from onenode.store import Store

ADMIN = "the-admin-token"


class Clock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def auth(clock: Clock) -> Authenticator:
    store = Store(":memory:", clock)
    store.create("serviceaccounts", {"metadata": {"name": "spod", "namespace": "ns"}})
    store.create("pods", {"metadata": {"name": "p", "namespace": "ns"}})
    return Authenticator(store, ADMIN, ec.generate_private_key(ec.SECP256R1()))


def pod_uid(auth: Authenticator) -> str:
    pod = auth.store.get("pods", "ns", "p")
    assert pod is not None
    uid: str = pod["metadata"]["uid"]
    return uid


def test_admin_token_is_the_administrator(auth: Authenticator) -> None:
    user = auth.authenticate(f"Bearer {ADMIN}")
    assert user is not None
    assert "system:masters" in user.groups


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x", f"Basic {ADMIN}", "Bearer a.b.c", "Bearer é"])
def test_everybody_else_is_nobody(auth: Authenticator, header: str) -> None:
    assert auth.authenticate(header) is None


def test_service_account_token_names_the_account(auth: Authenticator, clock: Clock) -> None:
    token, expiry = auth.issue_token("ns", "spod", "p", pod_uid(auth), expiration_s=600)
    user = auth.authenticate(f"Bearer {token}")
    assert user is not None
    assert user.name == "system:serviceaccount:ns:spod"
    assert user.extra["authentication.kubernetes.io/pod-name"] == ["p"]
    assert expiry == clock.now + timedelta(seconds=600)


def test_token_ends_with_its_time(auth: Authenticator, clock: Clock) -> None:
    token, expiry = auth.issue_token("ns", "spod")
    clock.now = expiry
    assert auth.authenticate(f"Bearer {token}") is None


@pytest.mark.parametrize(("resource", "name"), [("pods", "p"), ("serviceaccounts", "spod")])
def test_token_ends_with_what_it_is_bound_to(auth: Authenticator, resource: str, name: str) -> None:
    token, _ = auth.issue_token("ns", "spod", "p", pod_uid(auth))
    auth.store.delete_now(resource, "ns", name)
    assert auth.authenticate(f"Bearer {token}") is None
    auth.store.create(resource, {"metadata": {"name": name, "namespace": "ns"}})
    assert auth.authenticate(f"Bearer {token}") is None


def test_changed_claims_are_refused(auth: Authenticator) -> None:
    token, _ = auth.issue_token("ns", "spod")
    header, claims, signature = token.split(".")
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    decoded["sub"] = "system:serviceaccount:kube-system:admin"
    forged = base64.urlsafe_b64encode(json.dumps(decoded).encode()).rstrip(b"=").decode()
    assert auth.authenticate(f"Bearer {header}.{forged}.{signature}") is None


def test_token_for_others_is_not_for_us(auth: Authenticator) -> None:
    token, _ = auth.issue_token("ns", "spod", audiences=["vault"])
    assert auth.authenticate(f"Bearer {token}") is None


def test_unknown_account_gets_no_token(auth: Authenticator) -> None:
    with pytest.raises(LookupError, match="ns/nosuch does not exist"):
        auth.issue_token("ns", "nosuch")


def test_secrets_are_for_the_owner_only_and_stay(tmp_path: Path) -> None:
    first = load_admin_token(tmp_path / "token")
    certificates = ensure_certificates(tmp_path / "pki", ["10.0.0.1"])
    before = {p.name: p.read_bytes() for p in (tmp_path / "pki").iterdir()}
    assert load_admin_token(tmp_path / "token") == first
    assert ensure_certificates(tmp_path / "pki", ["10.0.0.1"]) == certificates
    assert {p.name: p.read_bytes() for p in (tmp_path / "pki").iterdir()} == before
    for path in [tmp_path / "token", *(tmp_path / "pki").iterdir()]:
        assert path.stat().st_mode & 0o777 == 0o600
    certificates.ssl_context()


def test_new_host_gets_a_new_certificate_from_the_same_ca(tmp_path: Path) -> None:
    first = ensure_certificates(tmp_path, [])
    ca, server = first.ca.read_bytes(), first.server.read_bytes()
    ensure_certificates(tmp_path, ["node-7"])
    assert first.ca.read_bytes() == ca
    assert first.server.read_bytes() != server
