"""Base of the errors of this layer."""

from spo.errors import SpoError


class RpcError(SpoError):
    """A call, or the connection that carries it, failed."""
