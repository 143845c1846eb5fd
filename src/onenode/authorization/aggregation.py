"""Keeps the defaults there, and fills the roles that are the union of other roles."""

from __future__ import annotations

from typing import Any, Final

from onenode.authorization.authorizer import CLUSTER_ROLES
from onenode.authorization.bootstrap import ensure_defaults
from onenode.selectors import SelectorError, match_label_selector
from onenode.store import Store
from onenode.watch import Event

__all__ = ["ClusterRoles", "aggregated_rules"]

Obj = dict[str, Any]

_DEEPEST: Final = 10
"""Levels of roles that consist of roles."""


class ClusterRoles:
    """The controller."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def start(self) -> None:
        """Make the defaults, fill every aggregated role."""
        ensure_defaults(self._store)
        self._aggregate()

    def handle(self, event: Event) -> None:
        """React to changes of cluster roles."""
        if event.record.resource == CLUSTER_ROLES:
            self._aggregate()

    def _aggregate(self) -> None:
        # One pass for each level of nesting: admin holds edit, edit holds view.
        for _ in range(_DEEPEST):
            changed = [name for name in self._aggregated_names() if self._fill(name)]
            if not changed:
                return

    def _aggregated_names(self) -> list[str]:
        records = self._store.records(CLUSTER_ROLES)
        return [record.name for record in records if record.view.get("aggregationRule")]

    def _fill(self, name: str) -> bool:
        current = self._store.get(CLUSTER_ROLES, None, name)
        if current is None:
            return False
        roles = [record.view for record in self._store.records(CLUSTER_ROLES)]
        wanted = aggregated_rules(current, roles)
        if (current.get("rules") or []) == wanted:
            return False
        current["rules"] = wanted
        self._store.update(CLUSTER_ROLES, current)
        return True


def aggregated_rules(role: Obj, roles: list[Obj]) -> list[Obj]:
    """The rules of an aggregated role: those of all roles it selects, equal ones once.

    The order is that of the roles, so that a second look finds nothing to change.
    """
    found: list[Obj] = []
    selectors = role["aggregationRule"].get("clusterRoleSelectors") or []
    for other in roles:
        if other["metadata"]["name"] == role["metadata"]["name"]:
            continue
        labels = other["metadata"].get("labels") or {}
        if any(_selects(selector, labels) for selector in selectors):
            found += [rule for rule in other.get("rules") or () if rule not in found]
    return found


def _selects(selector: Obj, labels: dict[str, str]) -> bool:
    try:
        return match_label_selector(selector, labels)
    except SelectorError:
        return False
