"""Fields of a pod as text, for environment variables and files (the downward API)."""

import math
import re
from dataclasses import dataclass
from typing import Final

from onenode.kubelet.errors import ContainerConfigError
from onenode.kubelet.pod import Container, FieldRef, Pod, ResourceFieldRef
from onenode.kubelet.quantity import parse_quantity

_MAP_ITEM = re.compile(r"metadata\.(?P<map>labels|annotations)\['(?P<key>[^']+)'\]")
_QUOTED: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"})


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What is known about a pod only after it got a place and a network."""

    pod_ip: str = ""
    host_ip: str = ""
    cpus: int = 1
    memory_bytes: int = 0


def field_value(pod: Pod, ref: FieldRef, facts: PodFacts) -> str:
    """Text of one field of the pod.

    Raises:
        ContainerConfigError: the field is not one of the downward API.
    """
    metadata = pod.metadata
    simple = {
        "metadata.name": metadata.name,
        "metadata.namespace": metadata.namespace,
        "metadata.uid": metadata.uid,
        "spec.nodeName": pod.spec.node_name,
        "spec.serviceAccountName": pod.spec.service_account_name,
        "status.podIP": facts.pod_ip,
        "status.podIPs": facts.pod_ip,
        "status.hostIP": facts.host_ip,
        "status.hostIPs": facts.host_ip,
    }
    if ref.field_path in simple:
        return simple[ref.field_path]
    maps = {"labels": metadata.labels, "annotations": metadata.annotations}
    match = _MAP_ITEM.fullmatch(ref.field_path)
    if match:
        return maps[match["map"]].get(match["key"], "")
    name = ref.field_path.removeprefix("metadata.")
    if ref.field_path.startswith("metadata.") and name in maps:
        return "\n".join(f'{key}="{value.translate(_QUOTED)}"' for key, value in sorted(maps[name].items()))
    raise ContainerConfigError(f"unsupported fieldPath: {ref.field_path}")


def resource_value(container: Container, ref: ResourceFieldRef, facts: PodFacts) -> str:
    """A limit or request in units of the divisor, rounded up; an absent limit is the node's capacity.

    Raises:
        ContainerConfigError: the resource is unknown.
    """
    kind, _, resource = ref.resource.partition(".")
    tables = {"limits": container.resources.limits, "requests": container.resources.requests}
    capacity = {"cpu": facts.cpus, "memory": facts.memory_bytes}
    if kind not in tables or not resource:
        raise ContainerConfigError(f"unsupported container resource : {ref.resource}")
    given = tables[kind].get(resource)
    if given is None:
        given = capacity.get(resource, 0) if kind == "limits" else 0
    divisor = parse_quantity(ref.divisor or 1) or parse_quantity(1)
    return str(math.ceil(parse_quantity(given) / divisor))
