"""The documents by which others check the tokens of service accounts (OpenID Connect discovery)."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["issuer_document", "key_id", "public_keys"]

Obj = dict[str, Any]

_COORDINATE_BYTES = 32


def issuer_document(issuer: str, keys_url: str) -> Obj:
    """``/.well-known/openid-configuration``."""
    return {
        "issuer": issuer,
        "jwks_uri": keys_url,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }


def public_keys(key: ec.EllipticCurvePublicKey) -> Obj:
    """``/openid/v1/jwks``: a JSON Web Key Set (RFC 7517)."""
    return {"keys": [{"use": "sig", "kid": key_id(key), "alg": "ES256", **_members(key)}]}


def key_id(key: ec.EllipticCurvePublicKey) -> str:
    """The thumbprint of a key (RFC 7638)."""
    text = json.dumps(_members(key), sort_keys=True, separators=(",", ":"))
    return _encode(hashlib.sha256(text.encode()).digest())


def _members(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    numbers = key.public_numbers()
    x, y = (_encode(number.to_bytes(_COORDINATE_BYTES, "big")) for number in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
