"""What of the node's pods matters to recordings."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec

from spo.api.core import ObjectReference, SecurityContext
from spo.api.meta import OwnerReference
from spo.api.resource import Resource
from spo.names import TRACE_BPF_ANNOTATION

_OVER: Final = frozenset({"Succeeded", "Failed"})
_LOCALHOST: Final = "Localhost"
_SCHEME: Final = "://"


class _Metadata(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str | None = None
    uid: str = ""
    resource_version: str = ""
    generate_name: str | None = None
    creation_timestamp: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[OwnerReference] = []


class _ContainerContext(SecurityContext, rename="camel"):
    allow_privilege_escalation: bool | None = None


class _Container(msgspec.Struct, rename="camel"):
    name: str = ""
    security_context: _ContainerContext | None = None


class _Spec(msgspec.Struct, rename="camel"):
    security_context: SecurityContext | None = None
    init_containers: list[_Container] = []
    containers: list[_Container] = []


class _Terminated(msgspec.Struct):
    container_id: str = msgspec.field(default="", name="containerID")


class _State(msgspec.Struct):
    terminated: _Terminated | None = None


class _ContainerStatus(msgspec.Struct, rename="camel"):
    name: str = ""
    container_id: str = msgspec.field(default="", name="containerID")
    state: _State = msgspec.field(default_factory=_State)
    last_state: _State = msgspec.field(default_factory=_State)


class _Status(msgspec.Struct, rename="camel"):
    phase: str = ""
    init_container_statuses: list[_ContainerStatus] = []
    container_statuses: list[_ContainerStatus] = []
    ephemeral_container_statuses: list[_ContainerStatus] = []


class TracedPod(msgspec.Struct, rename="camel"):
    """A pod as the API has it; the parts that are read here."""

    metadata: _Metadata
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


TRACED_PODS: Final = Resource("", "v1", "Pod", "pods", True, TracedPod)


class ContainerRecord(msgspec.Struct, frozen=True, gc=False):
    """A container of a pod."""

    name: str
    no_new_privileges: bool
    profile: str
    """Localhost profile that it runs under; empty for none."""


class PodRecord(msgspec.Struct, frozen=True):
    """What is kept of a pod; without the annotation nothing but its uid."""

    uid: str
    namespace: str = ""
    name: str = ""
    created: str = ""
    labels: dict[str, str] = {}
    traces: dict[str, str] = {}
    """Container name -> value of its annotation."""
    generated: bool = False
    """Made from a template."""
    owner_uid: str = ""
    containers: tuple[ContainerRecord, ...] = ()
    instances: tuple[tuple[str, str, bool], ...] = ()
    """(id, container name, whether it has ended) of those that the kubelet reports."""
    over: bool = False
    """All containers have ended for good."""


def project_pod(pod: TracedPod, prefix: str = TRACE_BPF_ANNOTATION) -> PodRecord:
    """The record of a pod.

    Args:
        prefix: of the annotations that ask for the recorder in question.
    """
    metadata = pod.metadata
    traces = annotated(metadata.annotations, prefix)
    if not traces:
        return PodRecord(metadata.uid)
    owner = next((one.uid for one in metadata.owner_references if one.controller), "")
    return PodRecord(
        uid=metadata.uid,
        namespace=metadata.namespace or "",
        name=metadata.name,
        created=metadata.creation_timestamp,
        labels=metadata.labels,
        traces=traces,
        generated=bool(metadata.generate_name),
        owner_uid=owner,
        containers=tuple(_record(one, pod.spec) for one in (*pod.spec.init_containers, *pod.spec.containers)),
        instances=tuple(dict.fromkeys(_instances(pod.status))),
        over=pod.status.phase in _OVER,
    )


def annotated(annotations: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Container name -> value, of the annotations with a prefix."""
    length = len(prefix)
    return {key[length:]: value for key, value in annotations.items() if key.startswith(prefix)}


def reference_of(namespace: str, name: str, uid: str) -> ObjectReference:
    """What an event about a pod points to."""
    return ObjectReference(api_version="v1", kind="Pod", name=name, namespace=namespace, uid=uid)


def _record(container: _Container, spec: _Spec) -> ContainerRecord:
    context = container.security_context
    escalation = context.allow_privilege_escalation if context else None
    profile = (context.seccomp_profile if context else None) or (
        spec.security_context.seccomp_profile if spec.security_context else None
    )
    path = profile.localhost_profile or "" if profile and profile.type == _LOCALHOST else ""
    return ContainerRecord(container.name, escalation is False, path)


def _instances(status: _Status) -> Iterator[tuple[str, str, bool]]:
    every = (
        *status.init_container_statuses,
        *status.container_statuses,
        *status.ephemeral_container_statuses,
    )
    for one in every:
        ended = {
            state.terminated.container_id
            for state in (one.state, one.last_state)
            if state.terminated is not None
        }
        # A status may name the id in one of the two places only.
        for identifier in dict.fromkeys((*sorted(ended), one.container_id)):
            if identifier:
                yield _bare(identifier), one.name, identifier in ended


def _bare(identifier: str) -> str:
    """Without the name of the runtime in front."""
    return identifier.rpartition(_SCHEME)[2]


class PodBook:
    """The node's pods by uid, with all containers they ever had, until they are forgotten.

    The cache of the informer forgets a pod with its deletion, and so what its last status said.
    """

    def __init__(self, changed: Callable[[PodRecord], None]) -> None:
        """Take who is told of each pod that is traced and has changed, or gone."""
        self._changed = changed
        self._records: dict[str, PodRecord] = {}
        self._gone: set[str] = set()

    def observed(self, old: PodRecord | None, new: PodRecord | None) -> None:
        """Listener of the informer."""
        if old is not None and (new is None or new.uid != old.uid):
            self._leave(old)
        if new is None:
            return
        before = self._records.get(new.uid)
        record = new if before is None else _joined(before, new)
        self._records[new.uid] = record
        self._gone.discard(new.uid)
        self._changed(record)

    def get(self, uid: str) -> PodRecord | None:
        """The pod, also when it is gone; ``None`` if it was never seen or is forgotten."""
        return self._records.get(uid)

    def uid_of(self, container_id: str) -> str:
        """Uid of the pod of a container that the kubelet reports; empty if it does not."""
        for record in self._records.values():
            if any(identifier == container_id for identifier, _, _ in record.instances):
                return record.uid
        return ""

    def is_present(self, uid: str) -> bool:
        """Whether the API server has the pod."""
        return uid in self._records and uid not in self._gone

    def forget(self, uid: str) -> None:
        """Nothing more is wanted of a pod that is gone."""
        if uid in self._gone:
            self._gone.discard(uid)
            self._records.pop(uid, None)

    def traced(self) -> list[PodRecord]:
        """All pods with an annotation."""
        return [record for record in self._records.values() if record.traces]

    def _leave(self, record: PodRecord) -> None:
        if not record.traces:
            self._records.pop(record.uid, None)
            return
        self._gone.add(record.uid)
        self._changed(self._records.get(record.uid, record))


def _joined(before: PodRecord, now: PodRecord) -> PodRecord:
    """``now``, with the instances that only ``before`` names: those have ended."""
    present = {identifier for identifier, _, _ in now.instances}
    earlier = tuple((one[0], one[1], True) for one in before.instances if one[0] not in present)
    return msgspec.structs.replace(now, instances=(*earlier, *now.instances)) if earlier else now
