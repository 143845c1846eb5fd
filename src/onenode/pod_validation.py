"""What a pod must not be. The common mistakes, in the words of a real server; the rest fails at the runtime.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from onenode import causes
from onenode.causes import Cause
from onenode.object_names import label_problems
from onenode.quantities import parse_quantity

__all__ = ["validate_container_security", "validate_pod"]

Obj = dict[str, Any]

_RESTART_POLICIES: Final = ("Always", "OnFailure", "Never")
_SECCOMP_TYPES: Final = ("Localhost", "RuntimeDefault", "Unconfined")
_PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
_DNS_POLICIES: Final = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_MUTABLE_TEXT: Final = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
    "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
    "previously negative)"
)


def validate_pod(pod: Obj, old: Obj | None) -> list[Cause]:
    """Causes about a pod, or about its change."""
    spec = pod["spec"]
    if old is not None:
        return _validate_change(spec, old["spec"])
    found: list[Cause] = []
    volumes, volume_causes = _volume_names(spec)
    found += volume_causes
    found += _validate_containers(spec, volumes)
    found += _one_of(spec, "restartPolicy", _RESTART_POLICIES, "spec.restartPolicy")
    found += _one_of(spec, "dnsPolicy", _DNS_POLICIES, "spec.dnsPolicy")
    found += validate_container_security(spec, "spec")
    if spec.get("ephemeralContainers"):
        found.append(causes.forbidden("spec.ephemeralContainers", "cannot be set on create"))
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        text = "must be greater than or equal to 0"
        value = spec["terminationGracePeriodSeconds"]
        found.append(causes.invalid("spec.terminationGracePeriodSeconds", value, text))
    return found


def _one_of(holder: Obj, name: str, known: tuple[str, ...], field: str) -> list[Cause]:
    value = holder.get(name)
    return [] if value in known else [causes.not_supported(field, value, known)]


def _containers(spec: Obj) -> Iterator[tuple[str, Obj]]:
    for field in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(field) or []):
            yield f"spec.{field}[{index}]", container


def _volume_names(spec: Obj) -> tuple[set[str], list[Cause]]:
    names: set[str] = set()
    found: list[Cause] = []
    for index, volume in enumerate(spec.get("volumes") or []):
        name, field = volume.get("name") or "", f"spec.volumes[{index}]"
        if not name:
            found.append(causes.required(f"{field}.name"))
        elif name in names:
            found.append(causes.duplicate(f"{field}.name", name))
        else:
            found += [causes.invalid(f"{field}.name", name, text) for text in label_problems(name)]
        sources = [key for key in volume if key != "name"]
        if len(sources) > 1:
            text = "may not specify more than 1 volume type"
            found += [causes.forbidden(f"{field}.{source}", text) for source in sources[1:]]
        names.add(name)
    return names, found


def _validate_containers(spec: Obj, volumes: set[str]) -> list[Cause]:
    if not spec.get("containers"):
        return [causes.required("spec.containers")]
    found: list[Cause] = []
    names: set[str] = set()
    for field, container in _containers(spec):
        name = container.get("name") or ""
        if not name:
            found.append(causes.required(f"{field}.name"))
        elif name in names:
            found.append(causes.duplicate(f"{field}.name", name))
        else:
            found += [causes.invalid(f"{field}.name", name, text) for text in label_problems(name)]
        names.add(name)
        found += _validate_container(container, field, volumes)
    return found


def _validate_container(container: Obj, field: str, volumes: set[str]) -> list[Cause]:
    found: list[Cause] = []
    if not container.get("image"):
        found.append(causes.required(f"{field}.image"))
    found += _one_of(container, "imagePullPolicy", _PULL_POLICIES, f"{field}.imagePullPolicy")
    mounted: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or []):
        where = f"{field}.volumeMounts[{index}]"
        if not mount.get("name"):
            found.append(causes.required(f"{where}.name"))
        elif mount["name"] not in volumes:
            found.append(causes.not_found(f"{where}.name", mount["name"]))
        path = mount.get("mountPath") or ""
        if not path:
            found.append(causes.required(f"{where}.mountPath"))
        elif path in mounted:
            found.append(causes.invalid(f"{where}.mountPath", path, "must be unique"))
        mounted.add(path)
    found += _validate_environment(container, field)
    found += _validate_resources(container.get("resources") or {}, f"{field}.resources")
    found += validate_container_security(container, field)
    return found


def _validate_environment(container: Obj, field: str) -> list[Cause]:
    return [
        causes.required(f"{field}.env[{index}].name")
        for index, variable in enumerate(container.get("env") or [])
        if not variable.get("name")
    ]


def _validate_resources(resources: Obj, field: str) -> list[Cause]:
    found: list[Cause] = []
    limits = resources.get("limits") or {}
    for name, amount in (resources.get("requests") or {}).items():
        limit = limits.get(name)
        wanted, most = parse_quantity(str(amount)), parse_quantity(str(limit))
        if wanted is not None and most is not None and wanted > most:
            text = f"must be less than or equal to {name} limit of {limit}"
            found.append(causes.invalid(f"{field}.requests", amount, text))
    return found


def validate_container_security(holder: Obj, field: str) -> list[Cause]:
    """Causes about the seccomp profile of a pod or container at ``field``."""
    profile = (holder.get("securityContext") or {}).get("seccompProfile")
    if profile is None:
        return []
    where = f"{field}.securityContext.seccompProfile"
    kind, path = profile.get("type") or "", profile.get("localhostProfile")
    if not kind:
        return [causes.required(f"{where}.type", "type is required when seccompProfile is set")]
    if kind not in _SECCOMP_TYPES:
        return [causes.not_supported(f"{where}.type", kind, _SECCOMP_TYPES)]
    return _path_causes(kind, path, f"{where}.localhostProfile")


def _path_causes(kind: str, path: str | None, field: str) -> list[Cause]:
    if kind != "Localhost":
        text = "can only be set when seccomp type is Localhost"
        return [] if path is None else [causes.invalid(field, path, text)]
    if not path:
        return [causes.required(field, "must be set when seccomp type is Localhost")]
    if path.startswith("/"):
        return [causes.invalid(field, path, "must be a relative path")]
    if ".." in path.split("/"):
        return [causes.invalid(field, path, "must not contain '..'")]
    return []


def _validate_change(spec: Obj, old: Obj) -> list[Cause]:
    """A pod's spec is fixed but for images, deadline and added tolerations."""
    if _fixed(spec) == _fixed(old) and _only_added(spec, old):
        return []
    return [causes.forbidden("spec", _MUTABLE_TEXT)]


def _fixed(spec: Obj) -> Obj:
    kept = {k: v for k, v in spec.items() if k not in ("activeDeadlineSeconds", "tolerations")}
    for field in ("initContainers", "containers"):
        if field in kept:
            kept[field] = [{**container, "image": ""} for container in kept[field]]
    return kept


def _only_added(spec: Obj, old: Obj) -> bool:
    tolerations = spec.get("tolerations") or []
    return all(toleration in tolerations for toleration in old.get("tolerations") or [])
