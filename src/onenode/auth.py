"""Who asks: the administrator by a random token, service accounts by signed ones."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from onenode.certificates import write_secret
from onenode.openid import key_id
from onenode.requests import User
from onenode.secret_tokens import ISSUER as SECRET_ISSUER
from onenode.secret_tokens import SECRETS, claims_of_secret, secret_of_claims
from onenode.store import Store

__all__ = ["ISSUER", "Authenticator", "load_admin_token"]

ISSUER: Final = "https://kubernetes.default.svc.cluster.local"
_ADMIN: Final = User("kubernetes-admin", ("system:masters", "system:authenticated"))
_COORDINATE_BYTES: Final = 32
DEFAULT_TOKEN_S: Final = 3600


def load_admin_token(path: Path) -> str:
    """The administrator's token; made on first use."""
    if not path.exists():
        write_secret(path, secrets.token_urlsafe(32).encode())
    return path.read_text().strip()


def _groups(namespace: str) -> tuple[str, ...]:
    return ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Judges and makes tokens.

    Args:
        store: holds the service accounts and pods that tokens are bound to.
        admin_token: the administrator's.
        key: signs the tokens of service accounts.
    """

    store: Store
    admin_token: str
    key: ec.EllipticCurvePrivateKey

    def authenticate(self, authorization: str) -> User | None:
        """The user of an ``Authorization`` header; ``None`` if it proves nothing."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            return None
        if hmac.compare_digest(token.encode(), self.admin_token.encode()):
            return _ADMIN
        return self.service_account(token)

    def issue_token(
        self,
        namespace: str,
        service_account: str,
        pod_name: str | None = None,
        pod_uid: str | None = None,
        expiration_s: int = DEFAULT_TOKEN_S,
        audiences: Sequence[str] = (),
    ) -> tuple[str, datetime]:
        """A token of a service account and the moment it ends.

        Args:
            namespace: of the service account.
            service_account: its name.
            pod_name: the token dies with this pod; ``None`` binds it to the account only.
            pod_uid: that pod's uid.
            expiration_s: life time.
            audiences: for whom it is; the API server itself if empty.

        Raises:
            LookupError: there is no such service account.
        """
        account = self.store.record("serviceaccounts", namespace, service_account)
        if account is None:
            raise LookupError(f"service account {namespace}/{service_account} does not exist")
        now = self.store.clock().astimezone(UTC)
        expiry = now + timedelta(seconds=expiration_s)
        bound: dict[str, Any] = {"namespace": namespace}
        if pod_name:
            bound["pod"] = {"name": pod_name, "uid": pod_uid}
        bound["serviceaccount"] = {"name": service_account, "uid": account.view["metadata"]["uid"]}
        claims = {
            "aud": list(audiences) or [ISSUER],
            "exp": int(expiry.timestamp()),
            "iat": int(now.timestamp()),
            "iss": ISSUER,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": bound,
            "nbf": int(now.timestamp()),
            "sub": f"system:serviceaccount:{namespace}:{service_account}",
        }
        return self._sign(claims), expiry

    def issue_secret_token(self, namespace: str, service_account: str, secret: str) -> str:
        """A token that is valid while the Secret named ``secret`` holds it.

        Raises:
            LookupError: there is no such service account.
        """
        account = self.store.record("serviceaccounts", namespace, service_account)
        if account is None:
            raise LookupError(f"service account {namespace}/{service_account} does not exist")
        uid = account.view["metadata"]["uid"]
        return self._sign(claims_of_secret(namespace, service_account, uid, secret))

    def _sign(self, claims: dict[str, Any]) -> str:
        kid = key_id(self.key.public_key())
        header = _encode(json.dumps({"alg": "ES256", "kid": kid, "typ": "JWT"}).encode())
        text = f"{header}.{_encode(json.dumps(claims).encode())}"
        der = self.key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
        raw = b"".join(n.to_bytes(_COORDINATE_BYTES, "big") for n in utils.decode_dss_signature(der))
        return f"{text}.{_encode(raw)}"

    def review(self, token: str, audiences: Sequence[str]) -> tuple[User | None, list[str]]:
        """The user of a token that is meant for one of ``audiences``, and the token's own audiences."""
        if hmac.compare_digest(token.encode(), self.admin_token.encode()):
            return (_ADMIN if ISSUER in audiences else None), [ISSUER]
        claims = self._verified(token)
        own = [] if claims is None else list(claims.get("aud", [ISSUER]))
        return self.service_account(token, audiences), own

    def service_account(self, token: str, audiences: Sequence[str] = (ISSUER,)) -> User | None:
        """The service account that a valid token for one of ``audiences`` (this server) names."""
        claims = self._verified(token)
        if claims is None or not set(audiences) & set(claims.get("aud", [ISSUER])):
            return None
        if claims["iss"] == SECRET_ISSUER:
            return self._of_secret(token, claims)
        bound = claims["kubernetes.io"]
        namespace, account, pod = bound["namespace"], bound["serviceaccount"], bound.get("pod")
        if not self._lives("serviceaccounts", namespace, account):
            return None
        if pod is not None and not self._lives("pods", namespace, pod):
            return None
        extra = {"authentication.kubernetes.io/credential-id": [f"JTI={claims['jti']}"]}
        if pod is not None:
            extra["authentication.kubernetes.io/pod-name"] = [pod["name"]]
            extra["authentication.kubernetes.io/pod-uid"] = [pod["uid"]]
        return User(claims["sub"], _groups(namespace), account["uid"], extra)

    def _of_secret(self, token: str, claims: dict[str, Any]) -> User | None:
        namespace, account, name = secret_of_claims(claims)
        secret = self.store.record(SECRETS, namespace, name)
        if secret is None or not self._lives("serviceaccounts", namespace, account):
            return None
        held = (secret.view.get("data") or {}).get("token", "")
        if not hmac.compare_digest(held.encode(), base64.b64encode(token.encode())):
            return None
        return User(claims["sub"], _groups(namespace), account["uid"])

    def _lives(self, resource: str, namespace: str, bound: dict[str, Any]) -> bool:
        record = self.store.record(resource, namespace, bound["name"])
        return record is not None and record.view["metadata"].get("uid") == bound["uid"]

    def _verified(self, token: str) -> dict[str, Any] | None:
        """The claims of a token that we signed and that is not over."""
        text, _, signature = token.rpartition(".")
        try:
            raw = _decode(signature)
            half = _COORDINATE_BYTES
            numbers = int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")
            der = utils.encode_dss_signature(*numbers)
            self.key.public_key().verify(der, text.encode(), ec.ECDSA(hashes.SHA256()))
            claims: dict[str, Any] = json.loads(_decode(text.partition(".")[2]))
        except (InvalidSignature, ValueError, binascii.Error):
            return None
        # We signed it, so its form is ours.
        if claims["iss"] == SECRET_ISSUER:
            return claims
        now = self.store.clock().timestamp()
        return claims if claims["nbf"] <= now + 1 and now < claims["exp"] else None
