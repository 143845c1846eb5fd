"""``pods/NAME/ephemeralcontainers``: containers that are added to a pod that exists.

Pure. They are stored and reviewed as on a real server; the node does not run them.
"""

from __future__ import annotations

import copy
from typing import Any, Final

from onenode import causes
from onenode.causes import Cause
from onenode.object_names import label_problems
from onenode.pod_validation import validate_container_security

__all__ = ["SUBRESOURCE", "only_ephemeral", "validate_ephemeral"]

Obj = dict[str, Any]

SUBRESOURCE: Final = "ephemeralcontainers"
_FIELD: Final = "spec.ephemeralContainers"
_NOT_FOR_THEM: Final = (
    *("ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resizePolicy"),
    "resources",
)


def only_ephemeral(pod: Obj, old: Obj) -> Obj:
    """The stored pod with the ephemeral containers of another."""
    kept = copy.deepcopy(old)
    wanted = (pod.get("spec") or {}).get("ephemeralContainers")
    if wanted:
        kept["spec"]["ephemeralContainers"] = wanted
    else:
        kept["spec"].pop("ephemeralContainers", None)
    if "managedFields" in pod["metadata"]:
        kept["metadata"]["managedFields"] = pod["metadata"]["managedFields"]
    return kept


def validate_ephemeral(pod: Obj, old: Obj) -> list[Cause]:
    """Causes about a change: what is there stays as it is, what is new is well-formed."""
    containers = pod["spec"].get("ephemeralContainers") or []
    found: list[Cause] = []
    spec = pod["spec"]
    others = [one["name"] for kind in ("initContainers", "containers") for one in spec.get(kind) or ()]
    names = set(others)
    for index, container in enumerate(containers):
        found += _container(container, f"{_FIELD}[{index}]", names, others)
        names.add(str(container.get("name") or ""))
    by_name = {one.get("name"): one for one in containers}
    for before in old["spec"].get("ephemeralContainers") or ():
        name = str(before["name"])
        if name not in by_name:
            text = f"existing ephemeral containers {causes.go_quote(name)} may not be removed\n"
            found.append(causes.forbidden(_FIELD, text))
        elif by_name[name] != before:
            text = f"existing ephemeral containers {causes.go_quote(name)} may not be changed\n"
            found.append(causes.forbidden(_FIELD, text))
    return found


def _container(container: Obj, field: str, taken: set[str], others: list[str]) -> list[Cause]:
    name = str(container.get("name") or "")
    found: list[Cause] = []
    if not name:
        found.append(causes.required(f"{field}.name"))
    elif name in taken:
        found.append(causes.duplicate(f"{field}.name", name))
    else:
        found += [causes.invalid(f"{field}.name", name, text) for text in label_problems(name)]
    if not container.get("image"):
        found.append(causes.required(f"{field}.image"))
    text = "cannot be set for an Ephemeral Container"
    found += [causes.forbidden(f"{field}.{one}", text) for one in _NOT_FOR_THEM if container.get(one)]
    target = container.get("targetContainerName")
    if target and target not in others:
        found.append(causes.not_found(f"{field}.targetContainerName", target))
    return found + validate_container_security(container, field)
