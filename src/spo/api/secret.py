"""Secrets, as far as certificates are kept in them."""

import msgspec

from spo.api.meta import ObjectMeta
from spo.api.resource import Resource

TLS_SECRET = "kubernetes.io/tls"  # noqa: S105 - a type, not a password
CERTIFICATE = "tls.crt"
KEY = "tls.key"
AUTHORITY = "ca.crt"


class Secret(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A Secret; never log one."""

    metadata: ObjectMeta
    type: str = ""
    data: dict[str, bytes] = {}
    """Decoded; base64 on the wire."""


SECRETS = Resource("", "v1", "Secret", "secrets", True, Secret)
