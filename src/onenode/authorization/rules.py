"""The evaluator of role-based access control. Pure: attributes and rules in, a decision out.

Rules are compiled once into sets and found by subject, so that a request looks only at the bindings of its
user and groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from onenode.requests import User

__all__ = ["MASTERS", "Attributes", "Decision", "Grant", "PolicyRule", "RuleIndex", "build_index", "decide"]

MASTERS: Final = "system:masters"
"""Members may do everything, whatever the rules say."""

Obj = Mapping[str, Any]
_Subject = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What is asked for: a resource, or a path that is none."""

    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    namespace: str = ""
    path: str = ""
    """Set for a path that is not a resource."""

    @property
    def full_resource(self) -> str:
        """``resource`` or ``resource/subresource``."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


class Decision(NamedTuple):
    """Whether, and why."""

    allowed: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One rule of a role, compiled."""

    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    names: frozenset[str]
    urls: frozenset[str]
    url_prefixes: tuple[str, ...]
    source: Obj
    """As it was written."""

    @classmethod
    def of(cls, source: Obj) -> PolicyRule:
        """Compile a rule."""
        urls = _texts(source, "nonResourceURLs")
        return cls(
            _texts(source, "verbs"),
            _texts(source, "apiGroups"),
            _texts(source, "resources"),
            _texts(source, "resourceNames"),
            urls,
            tuple(url[:-1] for url in urls if url.endswith("*")),
            source,
        )

    def allows(self, wanted: Attributes) -> bool:
        """The rule covers what is asked for."""
        if wanted.verb not in self.verbs and "*" not in self.verbs:
            return False
        if wanted.path:
            # startswith takes all prefixes at once.
            return wanted.path in self.urls or wanted.path.startswith(self.url_prefixes)
        if wanted.group not in self.groups and "*" not in self.groups:
            return False
        return self._covers(wanted) and (not self.names or wanted.name in self.names)

    def _covers(self, wanted: Attributes) -> bool:
        resources = self.resources
        if "*" in resources or wanted.full_resource in resources:
            return True
        return bool(wanted.subresource) and f"*/{wanted.subresource}" in resources


def _texts(source: Obj, name: str) -> frozenset[str]:
    return frozenset(source.get(name) or ())


@dataclass(frozen=True, slots=True)
class Grant:
    """What one subject gets by one binding."""

    order: tuple[int, int]
    """Position of the binding and of the subject in it: the first that allows is the reason."""
    rules: tuple[PolicyRule, ...]
    reason: str
    problem: str = ""
    """The role does not exist."""


@dataclass(frozen=True, slots=True)
class RuleIndex:
    """All bindings, by subject; namespaced ones by namespace too."""

    everywhere: dict[_Subject, list[Grant]] = field(default_factory=dict)
    namespaced: dict[tuple[str, _Subject], list[Grant]] = field(default_factory=dict)

    def grants(self, user: User, namespace: str) -> Iterator[Grant]:
        """What a user has, cluster-wide bindings first, each in the order of the bindings."""
        subjects = [("User", user.name), *(("Group", group) for group in user.groups)]
        yield from _in_order(self.everywhere.get(subject, ()) for subject in subjects)
        if namespace:
            yield from _in_order(self.namespaced.get((namespace, subject), ()) for subject in subjects)


def _in_order(found: Iterable[Iterable[Grant]]) -> list[Grant]:
    return sorted((grant for grants in found for grant in grants), key=lambda grant: grant.order)


def decide(index: RuleIndex, user: User, wanted: Attributes) -> Decision:
    """Whether a user may do something; the rules only ever allow."""
    if MASTERS in user.groups:
        return Decision(allowed=True)
    problems: list[str] = []
    for grant in index.grants(user, wanted.namespace):
        if grant.problem and grant.problem not in problems:
            problems.append(grant.problem)
        for rule in grant.rules:
            if rule.allows(wanted):
                return Decision(allowed=True, reason=grant.reason)
    if not problems:
        return Decision(allowed=False)
    text = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
    return Decision(allowed=False, reason=f"RBAC: {text}")


def build_index(
    cluster_roles: Iterable[Obj],
    roles: Iterable[Obj],
    cluster_bindings: Iterable[Obj],
    bindings: Iterable[Obj],
) -> RuleIndex:
    """Compile the stored objects."""
    compiled: dict[tuple[str, str], tuple[PolicyRule, ...]] = {}
    for role in (*cluster_roles, *roles):
        metadata = role["metadata"]
        key = (metadata.get("namespace") or "", metadata["name"])
        compiled[key] = tuple(PolicyRule.of(rule) for rule in role.get("rules") or ())
    index = RuleIndex()
    for position, binding in enumerate((*cluster_bindings, *bindings)):
        _add_binding(index, compiled, binding, position)
    return index


def _add_binding(
    index: RuleIndex, compiled: Mapping[tuple[str, str], tuple[PolicyRule, ...]], binding: Obj, position: int
) -> None:
    namespace = binding["metadata"].get("namespace") or ""
    role = binding["roleRef"]
    is_cluster_role = role["kind"] == "ClusterRole"
    rules = compiled.get(("" if is_cluster_role else namespace, role["name"]))
    resource = "clusterrole" if is_cluster_role else "role"
    problem = "" if rules is not None else f'{resource}.rbac.authorization.k8s.io "{role["name"]}" not found'
    name = binding["metadata"]["name"]
    shown = f'RoleBinding "{name}/{namespace}"' if namespace else f'ClusterRoleBinding "{name}"'
    for number, subject in enumerate(binding.get("subjects") or ()):
        key, text = _subject(subject, namespace)
        reason = f'RBAC: allowed by {shown} of {role["kind"]} "{role["name"]}" to {text}'
        grant = Grant((position, number), rules or (), reason, problem)
        if namespace:
            index.namespaced.setdefault((namespace, key), []).append(grant)
        else:
            index.everywhere.setdefault(key, []).append(grant)


def _subject(subject: Obj, namespace: str) -> tuple[_Subject, str]:
    """How a subject is found, and how it is shown."""
    kind, name = subject["kind"], subject["name"]
    if kind != "ServiceAccount":
        return (kind, name), f'{kind} "{name}"'
    home = subject.get("namespace") or namespace
    return ("User", f"system:serviceaccount:{home}:{name}"), f'ServiceAccount "{name}/{home}"'
