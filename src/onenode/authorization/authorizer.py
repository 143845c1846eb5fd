"""Decides by the roles and bindings that are stored."""

from __future__ import annotations

from typing import Final

from onenode.authorization.access_log import AccessLog
from onenode.authorization.attributes import attributes_of, forbidden_request
from onenode.authorization.rules import Attributes, Decision, Grant, RuleIndex, build_index, decide
from onenode.registry import Resource
from onenode.requests import Request, User
from onenode.store import Store

__all__ = ["BINDINGS", "CLUSTER_BINDINGS", "CLUSTER_ROLES", "ROLES", "Authorizer"]

_GROUP: Final = "rbac.authorization.k8s.io"
CLUSTER_ROLES: Final = f"clusterroles.{_GROUP}"
ROLES: Final = f"roles.{_GROUP}"
CLUSTER_BINDINGS: Final = f"clusterrolebindings.{_GROUP}"
BINDINGS: Final = f"rolebindings.{_GROUP}"
_RESOURCES: Final = (CLUSTER_ROLES, ROLES, CLUSTER_BINDINGS, BINDINGS)


class Authorizer:
    """The rules in force.

    The index is made anew when a role or binding has changed, at the next question: no decision is taken
    by old rules.
    """

    def __init__(self, store: Store, log: AccessLog | None = None) -> None:
        self._store = store
        self._log = log
        self._revision = -1
        self._versions: tuple[int, ...] | None = None
        self._index = RuleIndex()

    def _current(self) -> RuleIndex:
        store = self._store
        if store.revision != self._revision:
            self._revision = store.revision
            records = [store.records(resource) for resource in _RESOURCES]
            # Revisions are never given twice, so equal ones are the same objects.
            versions = tuple(record.revision for found in records for record in found)
            if versions != self._versions:
                self._versions = versions
                self._index = build_index(*([record.view for record in found] for found in records))
        return self._index

    def decide(self, user: User, wanted: Attributes) -> Decision:
        """Whether a user may do something, and why."""
        return decide(self._current(), user, wanted)

    def grants(self, user: User, namespace: str) -> list[Grant]:
        """Everything that the rules give a user in a namespace."""
        return list(self._current().grants(user, namespace))

    def check(self, user: User, wanted: Attributes) -> None:
        """Raise unless allowed.

        Raises:
            ApiError: 403.
        """
        decision = self.decide(user, wanted)
        if self._log is not None:
            self._log.note(user, wanted, allowed=decision.allowed)
        if not decision.allowed:
            raise forbidden_request(user, wanted, decision.reason)

    def check_create(self, user: User, resource: Resource, namespace: str, name: str) -> None:
        """Raise unless a user may create the object of this name.

        Raises:
            ApiError: 403.
        """
        wanted = Attributes(
            verb="create",
            group=resource.group,
            version=resource.version,
            resource=resource.plural,
            name=name,
            namespace=namespace,
        )
        self.check(user, wanted)

    def check_request(self, request: Request) -> None:
        """Raise unless the user of a request may make it.

        Raises:
            ApiError: 403.
        """
        self.check(request.user, attributes_of(request))
