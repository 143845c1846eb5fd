"""What the server fills in and refuses in roles and bindings."""

from __future__ import annotations

from typing import Any, Final

from onenode import causes
from onenode.causes import Cause

__all__ = ["default_binding", "validate_binding", "validate_role"]

Obj = dict[str, Any]

_GROUP: Final = "rbac.authorization.k8s.io"
_SUBJECTS: Final = ("ServiceAccount", "User", "Group")


def validate_role(obj: Obj, _old: Obj | None) -> list[Cause]:
    """Rules are about resources or about paths, never both."""
    namespaced = obj.get("kind") == "Role"
    found: list[Cause] = []
    for number, rule in enumerate(obj.get("rules") or ()):
        found += _rule_causes(rule, f"rules[{number}]", namespaced=namespaced)
    return found


def _rule_causes(rule: Obj, path: str, *, namespaced: bool) -> list[Cause]:
    found: list[Cause] = []
    if not rule.get("verbs"):
        found.append(causes.required(f"{path}.verbs", "verbs must contain at least one value"))
    urls = rule.get("nonResourceURLs")
    if urls:
        where = f"{path}.nonResourceURLs"
        if namespaced:
            found.append(causes.invalid(where, urls, "namespaced rules cannot apply to non-resource URLs"))
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            text = "rules cannot apply to both regular resources and non-resource URLs"
            found.append(causes.invalid(where, urls, text))
        return found
    if not rule.get("apiGroups"):
        found.append(
            causes.required(f"{path}.apiGroups", "resource rules must supply at least one api group")
        )
    if not rule.get("resources"):
        found.append(causes.required(f"{path}.resources", "resource rules must supply at least one resource"))
    return found


def default_binding(obj: Obj) -> None:
    """API groups of the role and of the subjects."""
    role = obj.get("roleRef")
    if isinstance(role, dict) and not role.get("apiGroup"):
        role["apiGroup"] = _GROUP
    subjects = obj.get("subjects") or []
    for number, subject in enumerate(subjects):
        if subject.get("kind") in ("User", "Group") and not subject.get("apiGroup"):
            # In the order in which the fields are declared.
            rest = {name: subject[name] for name in subject if name not in ("kind", "apiGroup")}
            subjects[number] = {"kind": subject["kind"], "apiGroup": _GROUP, **rest}


def validate_binding(obj: Obj, old: Obj | None) -> list[Cause]:
    """A binding names an existing kind of role and complete subjects; its role stays."""
    role = obj.get("roleRef") or {}
    found: list[Cause] = []
    if role.get("apiGroup", "") != _GROUP:
        found.append(causes.not_supported("roleRef.apiGroup", role.get("apiGroup", ""), [_GROUP]))
    kinds = ("Role", "ClusterRole") if obj.get("kind") == "RoleBinding" else ("ClusterRole",)
    if role.get("kind", "") not in kinds:
        found.append(causes.not_supported("roleRef.kind", role.get("kind", ""), kinds))
    if not role.get("name"):
        found.append(causes.required("roleRef.name"))
    for number, subject in enumerate(obj.get("subjects") or ()):
        found += _subject_causes(subject, f"subjects[{number}]", namespaced=len(kinds) > 1)
    if old is not None and old.get("roleRef") != role:
        found.append(causes.invalid("roleRef", role, "cannot change roleRef"))
    return found


def _subject_causes(subject: Obj, path: str, *, namespaced: bool) -> list[Cause]:
    found: list[Cause] = []
    if not subject.get("name"):
        found.append(causes.required(f"{path}.name"))
    kind = subject.get("kind", "")
    if kind not in _SUBJECTS:
        return [*found, causes.not_supported(f"{path}.kind", kind, _SUBJECTS)]
    wanted = "" if kind == "ServiceAccount" else _GROUP
    if subject.get("apiGroup", "") != wanted:
        found.append(causes.not_supported(f"{path}.apiGroup", subject.get("apiGroup", ""), [wanted]))
    if kind == "ServiceAccount" and not namespaced and not subject.get("namespace"):
        found.append(causes.required(f"{path}.namespace"))
    return found
