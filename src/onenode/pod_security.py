"""Pod security standards: what the label ``pod-security.kubernetes.io/enforce`` of a Namespace allows.

Pure. The levels are ``privileged`` (everything), ``baseline`` and ``restricted``; the checks and their words
are those of a real server, version ``latest``, but for those about Windows, AppArmor, SELinux and sysctls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from onenode.causes import go_quote

__all__ = ["enforced_violations", "pod_spec_of", "warned_violations"]

Obj = Mapping[str, Any]
Check = Callable[[Obj], str]
"""The details of a violation; empty if there is none."""

_PREFIX: Final = "pod-security.kubernetes.io/"
_LEVELS: Final = ("privileged", "baseline", "restricted")
_TEMPLATES: Final = frozenset({"daemonsets.apps", "deployments.apps", "replicasets.apps", "jobs.batch"})
_DEFAULT_CAPABILITIES: Final = frozenset(
    {"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE"}
    | {"SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"}
)
_VOLUMES: Final = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim"}
    | {"projected", "secret"}
)
_CONTAINERS: Final = ("initContainers", "containers", "ephemeralContainers")


def enforced_violations(labels: Mapping[str, str], spec: Obj) -> str:
    """Why a pod may not be in a Namespace with these labels; empty if it may."""
    level, shown = _level(labels, "enforce")
    return _told(f"violates PodSecurity {shown}", level, spec)


def warned_violations(labels: Mapping[str, str], spec: Obj) -> str:
    """What to warn about; without a label of its own the enforced level counts."""
    level, shown = _level(labels, "warn" if f"{_PREFIX}warn" in labels else "enforce")
    return _told(f"would violate PodSecurity {shown}", level, spec)


def pod_spec_of(stored_as: str, obj: Obj) -> Obj | None:
    """The pod spec inside a workload; ``None`` for other kinds."""
    if stored_as not in _TEMPLATES:
        return None
    found: Obj = ((obj.get("spec") or {}).get("template") or {}).get("spec") or {}
    return found


def _level(labels: Mapping[str, str], mode: str) -> tuple[int, str]:
    level = labels.get(f"{_PREFIX}{mode}", "privileged")
    if level not in _LEVELS:
        # An unknown level protects as the highest one does.
        level = "restricted"
    version = labels.get(f"{_PREFIX}{mode}-version", "latest")
    return _LEVELS.index(level), go_quote(f"{level}:{version}")


def _told(start: str, level: int, spec: Obj) -> str:
    found = [(text, check(spec)) for least, most, text, check in _CHECKS if least <= level <= most]
    details = ", ".join(f"{text} ({detail})" for text, detail in found if detail)
    return f"{start}: {details}" if details else ""


def _containers(spec: Obj) -> list[Obj]:
    return [one for field in _CONTAINERS for one in spec.get(field) or ()]


def _security(holder: Obj) -> Obj:
    found: Obj = holder.get("securityContext") or {}
    return found


def _plural(kind: str, names: Iterable[Any]) -> str:
    quoted = [go_quote(str(name)) for name in names]
    return f"{kind}{'s' if len(quoted) > 1 else ''} {', '.join(quoted)}"


def _bad(spec: Obj, is_bad: Callable[[Obj], bool], text: str) -> str:
    """``container "a" TEXT`` for the containers that are bad."""
    names = [one.get("name") for one in _containers(spec) if is_bad(one)]
    return f"{_plural('container', names)} {text}" if names else ""


def _escalation(spec: Obj) -> str:
    return _bad(
        spec,
        lambda one: _security(one).get("allowPrivilegeEscalation") is not False,
        "must set securityContext.allowPrivilegeEscalation=false",
    )


def _added(container: Obj, allowed: frozenset[str]) -> list[str]:
    added = (_security(container).get("capabilities") or {}).get("add") or ()
    return [name for name in added if name not in allowed]


def _additions(spec: Obj, allowed: frozenset[str]) -> str:
    names = sorted({name for one in _containers(spec) for name in _added(one, allowed)})
    if not names:
        return ""
    shown = ", ".join(go_quote(name) for name in names)
    text = f"must not include {shown} in securityContext.capabilities.add"
    return _bad(spec, lambda one: bool(_added(one, allowed)), text)


def _capabilities_baseline(spec: Obj) -> str:
    return _additions(spec, _DEFAULT_CAPABILITIES)


def _capabilities_restricted(spec: Obj) -> str:
    not_dropped = _bad(
        spec,
        lambda one: "ALL" not in ((_security(one).get("capabilities") or {}).get("drop") or ()),
        'must set securityContext.capabilities.drop=["ALL"]',
    )
    added = _additions(spec, frozenset({"NET_BIND_SERVICE"}))
    return "; ".join(filter(None, [not_dropped, added]))


def _host_namespaces(spec: Obj) -> str:
    return ", ".join(f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name))


def _host_paths(spec: Obj) -> str:
    names = [one.get("name") for one in spec.get("volumes") or () if one.get("hostPath") is not None]
    return _plural("volume", names) if names else ""


def _host_ports(spec: Obj) -> str:
    ports = sorted(
        {
            int(port["hostPort"])
            for c in _containers(spec)
            for port in c.get("ports") or ()
            if port.get("hostPort")
        }
    )
    if not ports:
        return ""
    text = f"hostPort{'s' if len(ports) > 1 else ''} {', '.join(map(str, ports))}"
    return _bad(
        spec, lambda one: any(port.get("hostPort") for port in one.get("ports") or ()), f"uses {text}"
    )


def _privileged(spec: Obj) -> str:
    text = "must not set securityContext.privileged=true"
    return _bad(spec, lambda one: bool(_security(one).get("privileged")), text)


def _proc_mount(spec: Obj) -> str:
    text = 'must not set securityContext.procMount to "Unmasked"'
    return _bad(spec, lambda one: _security(one).get("procMount") == "Unmasked", text)


def _volume_types(spec: Obj) -> str:
    found = [
        (one.get("name"), kind)
        for one in spec.get("volumes") or ()
        for kind in one
        if kind != "name" and kind not in _VOLUMES
    ]
    if not found:
        return ""
    kinds = sorted({kind for _, kind in found})
    uses = "uses" if len(found) == 1 else "use"
    names = _plural("volume", [name for name, _ in found])
    return f"{names} {uses} {_plural('restricted volume type', kinds)}"


def _non_root(spec: Obj) -> str:
    pod = _security(spec).get("runAsNonRoot")
    wrong = _bad(
        spec,
        lambda one: _security(one).get("runAsNonRoot") is False,
        "must not set securityContext.runAsNonRoot=false",
    )
    if pod is False:
        wrong = "; ".join(filter(None, ["pod must not set securityContext.runAsNonRoot=false", wrong]))
    if wrong or pod:
        return wrong
    text = "must set securityContext.runAsNonRoot=true"
    missing = _bad(spec, lambda one: _security(one).get("runAsNonRoot") is None, text)
    return f"pod or {missing}" if missing else ""


def _root_user(spec: Obj) -> str:
    pod = "pod must not set runAsUser=0" if _security(spec).get("runAsUser") == 0 else ""
    own = _bad(spec, lambda one: _security(one).get("runAsUser") == 0, "must not set runAsUser=0")
    return "; ".join(filter(None, [pod, own]))


def _profile(holder: Obj) -> Any:
    return (_security(holder).get("seccompProfile") or {}).get("type")


def _seccomp_baseline(spec: Obj) -> str:
    text = 'must not set securityContext.seccompProfile.type to "Unconfined"'
    pod = f"pod {text}" if _profile(spec) == "Unconfined" else ""
    return "; ".join(filter(None, [pod, _bad(spec, lambda one: _profile(one) == "Unconfined", text)]))


def _seccomp_restricted(spec: Obj) -> str:
    wrong = _seccomp_baseline(spec)
    if wrong or _profile(spec) is not None:
        return wrong
    text = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    missing = _bad(spec, lambda one: _profile(one) is None, text)
    return f"pod or {missing}" if missing else ""


_CHECKS: Final[tuple[tuple[int, int, str, Check], ...]] = (
    (2, 2, "allowPrivilegeEscalation != false", _escalation),
    (1, 1, "non-default capabilities", _capabilities_baseline),
    (2, 2, "unrestricted capabilities", _capabilities_restricted),
    (1, 2, "host namespaces", _host_namespaces),
    (1, 2, "hostPath volumes", _host_paths),
    (1, 2, "hostPort", _host_ports),
    (1, 2, "privileged", _privileged),
    (1, 2, "procMount", _proc_mount),
    (2, 2, "restricted volume types", _volume_types),
    (2, 2, "runAsNonRoot != true", _non_root),
    (2, 2, "runAsUser=0", _root_user),
    (1, 1, "seccompProfile", _seccomp_baseline),
    (2, 2, "seccompProfile", _seccomp_restricted),
)
"""Lowest and highest level that a check belongs to, what it is called, the check; in the order of answers."""
