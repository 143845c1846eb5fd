"""The resources of access control: stored roles and bindings, and the reviews, which only answer."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any, Final

from onenode.builtin_schema import schema_of
from onenode.cells import name_column
from onenode.durations import age
from onenode.object_names import path_segment_problems
from onenode.registry import Column, Resource

__all__ = ["AUTHENTICATION", "AUTHORIZATION", "RBAC", "authorization_resources", "is_review"]

AUTHENTICATION: Final = "authentication.k8s.io"
AUTHORIZATION: Final = "authorization.k8s.io"
RBAC: Final = "rbac.authorization.k8s.io"

Obj = dict[str, Any]


def _role(binding: Obj, _now: datetime) -> Any:
    return f"{binding['roleRef']['kind']}/{binding['roleRef']['name']}"


def _age(binding: Obj, now: datetime) -> Any:
    return age(binding["metadata"].get("creationTimestamp"), now)


def _subjects(kind: str, binding: Obj, _now: datetime) -> Any:
    found = [subject for subject in binding.get("subjects") or () if subject["kind"] == kind]
    if kind == "ServiceAccount":
        return ", ".join(f"{subject.get('namespace', '')}/{subject['name']}" for subject in found)
    return ", ".join(subject["name"] for subject in found)


_BINDING_COLUMNS: Final = (
    name_column(),
    Column("Role", "string", _role),
    Column("Age", "string", _age),
    *(
        Column(f"{kind}s", "string", partial(_subjects, kind), priority=1)
        for kind in ("User", "Group", "ServiceAccount")
    ),
)


def _resource(group: str, kind: str, plural: str = "", *, namespaced: bool = False, **more: Any) -> Resource:
    return Resource(
        group=group,
        version="v1",
        kind=kind,
        plural=plural or f"{kind.lower()}s",
        singular=kind.lower(),
        namespaced=namespaced,
        load_schema=partial(schema_of, group, "v1", kind),
        **more,
    )


def _review(group: str, kind: str, *, namespaced: bool = False) -> Resource:
    return _resource(group, kind, namespaced=namespaced, verbs=("create",))


def _stored(kind: str, *, namespaced: bool, columns: tuple[Column, ...] = ()) -> Resource:
    # Names such as system:discovery are allowed here.
    return _resource(
        RBAC,
        kind,
        namespaced=namespaced,
        columns=columns,
        plain_selectors=True,
        name_problems=path_segment_problems,
    )


def authorization_resources() -> list[Resource]:
    """The three groups, as discovery lists them."""
    return [
        _review(AUTHENTICATION, "SelfSubjectReview"),
        _review(AUTHENTICATION, "TokenReview"),
        _review(AUTHORIZATION, "LocalSubjectAccessReview", namespaced=True),
        _review(AUTHORIZATION, "SelfSubjectAccessReview"),
        _review(AUTHORIZATION, "SelfSubjectRulesReview"),
        _review(AUTHORIZATION, "SubjectAccessReview"),
        _stored("ClusterRoleBinding", namespaced=False, columns=_BINDING_COLUMNS),
        _stored("ClusterRole", namespaced=False),
        _stored("RoleBinding", namespaced=True, columns=_BINDING_COLUMNS),
        _stored("Role", namespaced=True),
    ]


def is_review(resource: Resource) -> bool:
    """A resource that nothing is stored of."""
    return resource.group in (AUTHENTICATION, AUTHORIZATION)
