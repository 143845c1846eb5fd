"""Environment variables, command and arguments of a container."""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from onenode.kubelet.downward import PodFacts, field_value, resource_value
from onenode.kubelet.errors import ContainerConfigError
from onenode.kubelet.pod import Container, EnvFrom, EnvVar, KeyRef, Pod

Lookup = Callable[[str, str, str], dict[str, Any] | None]
"""Stored object by resource (plural), namespace, name."""

_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")
_VARIABLE_NAME = re.compile(r"[^=\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class EnvironmentSource:
    """Where values come from."""

    lookup: Lookup
    facts: PodFacts
    service: Mapping[str, str]
    """Variables every container gets: the address of the API server."""


def container_environment(pod: Pod, container: Container, source: EnvironmentSource) -> dict[str, str]:
    """All variables of a container; later ones win, and values may refer to earlier ones.

    Raises:
        ContainerConfigError: an object or key that is not optional does not exist.
    """
    values = dict(source.service)
    for origin in container.env_from:
        values.update(_from_object(pod, origin, source))
    for variable in container.env:
        if not _VARIABLE_NAME.fullmatch(variable.name):
            raise ContainerConfigError(f"invalid environment variable name {variable.name!r}")
        value = _value(pod, container, variable, source, values)
        if value is not None:
            values[variable.name] = value.replace("\0", "")
    return values


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by its value, ``$$`` by ``$``; unknown names stay as they are."""

    def replacement(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return values.get(match[1], match[0])

    return _REFERENCE.sub(replacement, text)


def object_data(lookup: Lookup, resource: str, namespace: str, name: str) -> dict[str, bytes] | None:
    """Contents of a ConfigMap (``configmaps``) or Secret (``secrets``); ``None`` if there is none."""
    stored = lookup(resource, namespace, name)
    if stored is None:
        return None
    encoded = stored.get("data" if resource == "secrets" else "binaryData") or {}
    plain = {} if resource == "secrets" else stored.get("data") or {}
    contents = {key: text.encode() for key, text in plain.items()}
    contents.update({key: base64.b64decode(text) for key, text in encoded.items()})
    return contents


def _from_object(pod: Pod, origin: EnvFrom, source: EnvironmentSource) -> dict[str, str]:
    resource, ref = (
        ("configmaps", origin.config_map_ref) if origin.config_map_ref else ("secrets", origin.secret_ref)
    )
    if ref is None:
        return {}
    data = object_data(source.lookup, resource, pod.metadata.namespace, ref.name)
    if data is None:
        if ref.optional:
            return {}
        raise ContainerConfigError(_not_found(resource, ref.name))
    names = {key: origin.prefix + key for key in sorted(data)}
    return {
        name: data[key].decode(errors="replace").replace("\0", "")
        for key, name in names.items()
        if _VARIABLE_NAME.fullmatch(name)
    }


def _value(
    pod: Pod, container: Container, variable: EnvVar, source: EnvironmentSource, known: Mapping[str, str]
) -> str | None:
    origin = variable.value_from
    if origin is None:
        return expand(variable.value or "", known)
    if origin.field_ref:
        return field_value(pod, origin.field_ref, source.facts)
    if origin.resource_field_ref:
        named = pod.container(origin.resource_field_ref.container_name or container.name)
        return resource_value(named or container, origin.resource_field_ref, source.facts)
    if origin.config_map_key_ref:
        return _key_value(pod, "configmaps", origin.config_map_key_ref, source)
    if origin.secret_key_ref:
        return _key_value(pod, "secrets", origin.secret_key_ref, source)
    raise ContainerConfigError(f"environment variable {variable.name} has no source")


def _key_value(pod: Pod, resource: str, ref: KeyRef, source: EnvironmentSource) -> str | None:
    data = object_data(source.lookup, resource, pod.metadata.namespace, ref.name)
    if data is None:
        if ref.optional:
            return None
        raise ContainerConfigError(_not_found(resource, ref.name))
    if ref.key not in data:
        if ref.optional:
            return None
        kind = "Secret" if resource == "secrets" else "ConfigMap"
        raise ContainerConfigError(
            f"couldn't find key {ref.key} in {kind} {pod.metadata.namespace}/{ref.name}"
        )
    return data[ref.key].decode(errors="replace")


def _not_found(resource: str, name: str) -> str:
    return f'{resource.removesuffix("s")} "{name}" not found'
