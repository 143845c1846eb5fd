"""What the parts of the server share."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from onenode.auth import Authenticator
from onenode.authorization.access_log import AccessLog
from onenode.authorization.authorizer import Authorizer
from onenode.clock import Clock
from onenode.pod_access import PodAccess
from onenode.registry import Registry
from onenode.store import Store
from onenode.webhooks.admission import Webhooks

__all__ = ["Context"]


@dataclass(frozen=True, kw_only=True)
class Context:
    """One running server."""

    store: Store
    registry: Registry
    auth: Authenticator
    pods: PodAccess | None = None
    """Reaches into running pods; ``None`` if there is no kubelet."""
    access_log: AccessLog | None = None
    """Gets what service accounts ask for, if somebody wants to know."""
    random: random.Random = field(default_factory=random.SystemRandom)

    @cached_property
    def authorizer(self) -> Authorizer:
        """Decides who may do what."""
        return Authorizer(self.store, self.access_log)

    @cached_property
    def webhooks(self) -> Webhooks:
        """Asks the admission webhooks."""
        return Webhooks(self.store, self.registry)

    @property
    def clock(self) -> Clock:
        """The store's clock: one time for everything."""
        return self.store.clock

    def namespace(self, name: str) -> dict[str, Any] | None:
        """A Namespace (shared, not to be changed)."""
        record = self.store.record("namespaces", None, name)
        return None if record is None else record.view
