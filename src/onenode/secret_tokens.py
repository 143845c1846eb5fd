"""Tokens that live in a Secret: their claims, which differ from those that end by time. Pure."""

from __future__ import annotations

from typing import Any, Final

__all__ = [
    "ACCOUNT_ANNOTATION",
    "ACCOUNT_UID_ANNOTATION",
    "ISSUER",
    "SECRETS",
    "TOKEN_TYPE",
    "claims_of_secret",
    "secret_of_claims",
]

ISSUER: Final = "kubernetes/serviceaccount"
SECRETS: Final = "secrets"
TOKEN_TYPE: Final = "kubernetes.io/service-account-token"  # noqa: S105 - a type
ACCOUNT_ANNOTATION: Final = "kubernetes.io/service-account.name"
ACCOUNT_UID_ANNOTATION: Final = "kubernetes.io/service-account.uid"
_PREFIX: Final = "kubernetes.io/serviceaccount/"


def claims_of_secret(namespace: str, account: str, account_uid: str, secret: str) -> dict[str, Any]:
    """What a token says that stays valid while its Secret holds it."""
    return {
        "iss": ISSUER,
        f"{_PREFIX}namespace": namespace,
        f"{_PREFIX}secret.name": secret,
        f"{_PREFIX}service-account.name": account,
        f"{_PREFIX}service-account.uid": account_uid,
        "sub": f"system:serviceaccount:{namespace}:{account}",
    }


def secret_of_claims(claims: dict[str, Any]) -> tuple[str, dict[str, Any], str]:
    """Namespace, account (``name``, ``uid``) and Secret that a token names."""
    account = {key: claims[f"{_PREFIX}service-account.{key}"] for key in ("name", "uid")}
    return claims[f"{_PREFIX}namespace"], account, claims[f"{_PREFIX}secret.name"]
