"""Configurations of admission webhooks, and admission policies, which are only stored.

Pure: resources, defaults and checks.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from onenode import causes
from onenode.builtin_schema import schema_of
from onenode.causes import Cause
from onenode.cells import name_column
from onenode.durations import age
from onenode.match_conditions import check_match_conditions
from onenode.object_names import subdomain_problems
from onenode.registry import Column, Resource, Subresource
from onenode.selectors import validate_label_selector

__all__ = [
    "GROUP",
    "MUTATING",
    "VALIDATING",
    "admission_resources",
    "default_configuration",
    "default_policy",
    "default_policy_binding",
    "validate_configuration",
    "validate_policy",
    "validate_policy_binding",
]

Obj = dict[str, Any]

GROUP: Final = "admissionregistration.k8s.io"
MUTATING: Final = f"mutatingwebhookconfigurations.{GROUP}"
VALIDATING: Final = f"validatingwebhookconfigurations.{GROUP}"

_FORM: Final = "; desired format: https://host[/path]"
_SIDE_EFFECTS: Final = ("None", "NoneOnDryRun")
_FAILURE: Final = ("Fail", "Ignore")
_MATCH: Final = ("Equivalent", "Exact")
_REINVOCATION: Final = ("IfNeeded", "Never")
_OPERATIONS: Final = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES: Final = ("*", "Cluster", "Namespaced")
_ACTIONS: Final = ("Audit", "Deny", "Warn")
_LONGEST_TIMEOUT_S: Final = 30


# Resources


def _count(field: str, obj: Obj, _now: datetime) -> Any:
    return len((obj.get("spec") or obj).get(field) or [])


def _age(obj: Obj, now: datetime) -> Any:
    return age(obj["metadata"].get("creationTimestamp"), now)


def _parameter_kind(policy: Obj, _now: datetime) -> Any:
    kind = (policy.get("spec") or {}).get("paramKind")
    return f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else "<unset>"


def _policy_name(binding: Obj, _now: datetime) -> Any:
    return (binding.get("spec") or {}).get("policyName", "")


def _parameter(binding: Obj, _now: datetime) -> Any:
    reference = (binding.get("spec") or {}).get("paramRef")
    if not reference:
        return "<unset>"
    namespace = reference.get("namespace") or "*"
    return f"{namespace}/{reference.get('name') or '*'}"


_AGE: Final = Column("Age", "string", _age)
_WEBHOOKS: Final = (name_column(), Column("Webhooks", "integer", partial(_count, "webhooks")), _AGE)
_POLICIES: Final = (
    name_column(),
    Column("Validations", "integer", partial(_count, "validations")),
    Column("ParamKind", "string", _parameter_kind),
    _AGE,
)
_BINDINGS: Final = (
    name_column(),
    Column("PolicyName", "string", _policy_name),
    Column("ParamRef", "string", _parameter),
    _AGE,
)


def _resource(kind: str, plural: str, columns: tuple[Column, ...], **more: Any) -> Resource:
    return Resource(
        group=GROUP,
        version="v1",
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        namespaced=False,
        load_schema=partial(schema_of, GROUP, "v1", kind),
        categories=("api-extensions",),
        columns=columns,
        plain_selectors=True,
        **more,
    )


def admission_resources() -> list[Resource]:
    """The group, as discovery lists it."""
    status = {"status": Subresource("status")}
    return [
        _resource("MutatingWebhookConfiguration", "mutatingwebhookconfigurations", _WEBHOOKS),
        _resource("ValidatingAdmissionPolicy", "validatingadmissionpolicies", _POLICIES, subresources=status),
        _resource("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", _BINDINGS),
        _resource("ValidatingWebhookConfiguration", "validatingwebhookconfigurations", _WEBHOOKS),
    ]


# Webhooks


def default_configuration(obj: Obj) -> None:
    """Fill in what a configuration leaves open."""
    for webhook in obj.get("webhooks") or ():
        webhook.setdefault("failurePolicy", "Fail")
        webhook.setdefault("matchPolicy", "Equivalent")
        webhook.setdefault("namespaceSelector", {})
        webhook.setdefault("objectSelector", {})
        webhook.setdefault("timeoutSeconds", 10)
        if obj.get("kind") == "MutatingWebhookConfiguration":
            webhook.setdefault("reinvocationPolicy", "Never")
        for rule in webhook.get("rules") or ():
            rule.setdefault("scope", "*")
        service = (webhook.get("clientConfig") or {}).get("service")
        if service:
            service.setdefault("port", 443)


def validate_configuration(obj: Obj, _old: Obj | None) -> list[Cause]:
    """Causes about the webhooks of a configuration."""
    found: list[Cause] = []
    names: set[str] = set()
    for index, webhook in enumerate(obj.get("webhooks") or ()):
        path = f"webhooks[{index}]"
        name = str(webhook.get("name") or "")
        if name in names:
            found.append(causes.duplicate(f"{path}.name", name))
        names.add(name)
        found += _webhook(webhook, path, mutating=obj.get("kind") == "MutatingWebhookConfiguration")
    return found


def _webhook(webhook: Obj, path: str, *, mutating: bool) -> list[Cause]:
    found = _name(str(webhook.get("name") or ""), f"{path}.name")
    for index, rule in enumerate(webhook.get("rules") or ()):
        found += _rule(rule, f"{path}.rules[{index}]")
    found += _one_of(webhook.get("failurePolicy"), f"{path}.failurePolicy", _FAILURE)
    found += _one_of(webhook.get("matchPolicy"), f"{path}.matchPolicy", _MATCH)
    if mutating:
        found += _one_of(webhook.get("reinvocationPolicy"), f"{path}.reinvocationPolicy", _REINVOCATION)
    if webhook.get("sideEffects") is None:
        text = f"must specify one of {', '.join(_SIDE_EFFECTS)}"
        found.append(causes.required(f"{path}.sideEffects", text))
    else:
        found += _one_of(webhook["sideEffects"], f"{path}.sideEffects", _SIDE_EFFECTS)
    seconds = webhook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= _LONGEST_TIMEOUT_S:
        text = "the timeout value must be between 1 and 30 seconds"
        found.append(causes.invalid(f"{path}.timeoutSeconds", seconds, text))
    for name in ("namespaceSelector", "objectSelector"):
        found += validate_label_selector(webhook.get(name), f"{path}.{name}")
    found += _client(webhook.get("clientConfig") or {}, f"{path}.clientConfig")
    found += _versions(webhook.get("admissionReviewVersions") or [], f"{path}.admissionReviewVersions")
    found += check_match_conditions(webhook.get("matchConditions") or (), f"{path}.matchConditions")
    return found


def _name(name: str, path: str) -> list[Cause]:
    if not name:
        return [causes.required(path)]
    problems = subdomain_problems(name)
    if problems:
        return [causes.invalid(path, name, text) for text in problems]
    if name.count(".") < 2:
        return [
            causes.invalid(path, name, "should be a domain with at least three segments separated by dots")
        ]
    return []


def _one_of(value: Any, path: str, allowed: Iterable[str]) -> list[Cause]:
    return [] if value is None or value in allowed else [causes.not_supported(path, value, allowed)]


def _versions(versions: list[str], path: str) -> list[Cause]:
    if not versions:
        return [causes.required(path, "must specify one of v1, v1beta1")]
    if not {"v1", "v1beta1"} & set(versions):
        text = "must include at least one of v1, v1beta1"
        return [causes.invalid(path, versions, text)]
    return [causes.duplicate(f"{path}[{i}]", v) for i, v in enumerate(versions) if v in versions[:i]]


def _client(config: Obj, path: str) -> list[Cause]:
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        return [causes.required(path, "exactly one of url or service is required")]
    return _url(str(url), f"{path}.url") if url is not None else _service(service or {}, f"{path}.service")


def _url(url: str, path: str) -> list[Cause]:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return [causes.required(path, f"url must be a valid URL: {error}{_FORM}")]
    return _url_parts(parts, path)


def _url_parts(parts: SplitResult, path: str) -> list[Cause]:
    found: list[Cause] = []
    if parts.scheme != "https":
        text = f"'https' is the only allowed URL scheme{_FORM}"
        found.append(causes.invalid(path, parts.scheme, text))
    if not parts.hostname:
        found.append(causes.invalid(path, "", f"host must be specified{_FORM}"))
    if "@" in parts.netloc:
        user = parts.netloc.rpartition("@")[0]
        found.append(causes.invalid(path, user, "user information is not permitted in the URL"))
    if parts.fragment:
        found.append(causes.invalid(path, parts.fragment, "fragments are not permitted in the URL"))
    if parts.query:
        found.append(causes.invalid(path, parts.query, "query parameters are not permitted in the URL"))
    return found


def _service(service: Obj, path: str) -> list[Cause]:
    found = [
        causes.required(f"{path}.{field}", f"service {field} is required")
        for field in ("name", "namespace")
        if not service.get(field)
    ]
    port = service.get("port")
    if port is not None and not 1 <= port <= 65535:
        text = "port is not valid: must be between 1 and 65535, inclusive"
        found.append(causes.invalid(f"{path}.port", port, text))
    place = service.get("path")
    if place is not None and not str(place).startswith("/"):
        found.append(causes.invalid(f"{path}.path", place, "must start with a '/'"))
    return found


def _rule(rule: Obj, path: str) -> list[Cause]:
    found: list[Cause] = []
    operations = rule.get("operations") or []
    if not operations:
        found.append(causes.required(f"{path}.operations"))
    elif "*" in operations and len(operations) > 1:
        text = "if '*' is present, must not specify other operations"
        found.append(causes.invalid(f"{path}.operations", operations, text))
    for index, operation in enumerate(operations):
        found += _one_of(operation, f"{path}.operations[{index}]", _OPERATIONS)
    for field in ("apiGroups", "apiVersions", "resources"):
        values = rule.get(field) or []
        if not values:
            found.append(causes.required(f"{path}.{field}"))
        elif field != "resources" and "*" in values and len(values) > 1:
            text = "if '*' is present, must not specify other " + (
                "API groups" if field == "apiGroups" else "API versions"
            )
            found.append(causes.invalid(f"{path}.{field}", values, text))
    found += _resources(rule.get("resources") or [], f"{path}.resources")
    return found + _one_of(rule.get("scope"), f"{path}.scope", _SCOPES)


def _resources(resources: list[str], path: str) -> list[Cause]:
    found: list[Cause] = []
    for index, resource in enumerate(resources):
        at = f"{path}[{index}]"
        kind, slash, sub = str(resource).partition("/")
        if not resource:
            found.append(causes.required(at))
        elif slash and not (kind and sub):
            found.append(causes.invalid(at, resource, "must be of the form resource/subresource"))
        elif (
            sub == "*" and kind != "*" and any(r.startswith(f"{kind}/") and r != resource for r in resources)
        ):
            text = f"if '{resource}' is present, must not specify {kind}/<subresource>"
            found.append(causes.invalid(at, resource, text))
    if "*/*" in resources and len(resources) > 1:
        text = "if '*/*' is present, must not specify other resources"
        found.append(causes.invalid(path, resources, text))
    return found


# Policies


def default_policy(obj: Obj) -> None:
    """Fill in what a policy leaves open."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("failurePolicy", "Fail")
    _default_match(spec, "matchConstraints")


def default_policy_binding(obj: Obj) -> None:
    """Fill in what a binding leaves open."""
    _default_match(obj.setdefault("spec", {}), "matchResources")


def _default_match(spec: Obj, field: str) -> None:
    match = spec.get(field)
    if match is None:
        return
    match.setdefault("matchPolicy", "Equivalent")
    match.setdefault("namespaceSelector", {})
    match.setdefault("objectSelector", {})
    for rules in ("resourceRules", "excludeResourceRules"):
        for rule in match.get(rules) or ():
            rule.setdefault("scope", "*")


def validate_policy(obj: Obj, _old: Obj | None) -> list[Cause]:
    """Causes about a policy; its expressions are not compiled, for nothing evaluates them."""
    spec = obj.get("spec") or {}
    found: list[Cause] = []
    match = spec.get("matchConstraints")
    if match is None:
        found.append(causes.required("spec.matchConstraints"))
    elif not match.get("resourceRules"):
        found.append(causes.required("spec.matchConstraints.resourceRules"))
    else:
        found += _match(match, "spec.matchConstraints")
    if not spec.get("validations") and not spec.get("auditAnnotations"):
        text = "validations or auditAnnotations must contain at least one item"
        found += [causes.required("spec.validations", text), causes.required("spec.auditAnnotations", text)]
    for index, validation in enumerate(spec.get("validations") or ()):
        if not str(validation.get("expression") or "").strip():
            found.append(
                causes.required(f"spec.validations[{index}].expression", "expression is not specified")
            )
    return found + _one_of(spec.get("failurePolicy"), "spec.failurePolicy", _FAILURE)


def validate_policy_binding(obj: Obj, _old: Obj | None) -> list[Cause]:
    """Causes about a binding."""
    spec = obj.get("spec") or {}
    found: list[Cause] = []
    if not spec.get("policyName"):
        found.append(causes.required("spec.policyName"))
    actions = spec.get("validationActions") or []
    if not actions:
        found.append(causes.required("spec.validationActions"))
    for index, action in enumerate(actions):
        found += _one_of(action, f"spec.validationActions[{index}]", _ACTIONS)
    if {"Deny", "Warn"} <= set(actions):
        text = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the "
        )
        text += "API response and headers serves no purpose)"
        found.append(causes.invalid("spec.validationActions", actions, text))
    if spec.get("matchResources"):
        found += _match(spec["matchResources"], "spec.matchResources")
    return found


def _match(match: Obj, path: str) -> list[Cause]:
    found = _one_of(match.get("matchPolicy"), f"{path}.matchPolicy", _MATCH)
    for name in ("namespaceSelector", "objectSelector"):
        found += validate_label_selector(match.get(name), f"{path}.{name}")
    for index, rule in enumerate(match.get("resourceRules") or ()):
        found += _rule(rule, f"{path}.resourceRules[{index}]")
    return found
