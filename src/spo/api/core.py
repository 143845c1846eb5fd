"""Slim views of core kinds: decoding skips every field that is not named here."""

import msgspec

from spo.api.meta import Condition, ObjectMeta
from spo.api.resource import Resource


class SeccompProfileReference(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Which seccomp profile a security context asks for."""

    type: str = ""
    localhost_profile: str | None = None


class SecurityContext(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Of a pod or a container."""

    seccomp_profile: SeccompProfileReference | None = None


class Container(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A container of a pod."""

    name: str = ""
    image: str = ""
    security_context: SecurityContext | None = None


class PodSpec(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """What a pod runs, and where."""

    node_name: str | None = None
    security_context: SecurityContext | None = None
    containers: list[Container] = []
    init_containers: list[Container] = []


class PodStatus(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """How far a pod is."""

    phase: str = ""


class Pod(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A pod."""

    metadata: ObjectMeta
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)


class NodeStatus(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """State of a node."""

    conditions: list[Condition] = []


class Node(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A node."""

    metadata: ObjectMeta
    status: NodeStatus = msgspec.field(default_factory=NodeStatus)


class Namespace(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A namespace."""

    metadata: ObjectMeta


class ObjectReference(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """The object an event is about."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    namespace: str | None = None
    uid: str = ""
    resource_version: str = ""


class EventSource(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Who reports an event."""

    component: str = ""
    host: str = ""


class Event(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Something that happened to an object."""

    metadata: ObjectMeta
    involved_object: ObjectReference
    type: str = ""
    reason: str = ""
    message: str = ""
    count: int = 0
    first_timestamp: str | None = None
    last_timestamp: str | None = None
    source: EventSource = msgspec.field(default_factory=EventSource)
    reporting_component: str = ""
    reporting_instance: str = ""


class LeaseSpec(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Who holds a lease, and until when."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Lease(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A lock with a time limit."""

    metadata: ObjectMeta
    spec: LeaseSpec = msgspec.field(default_factory=LeaseSpec)


PODS = Resource("", "v1", "Pod", "pods", True, Pod)
NODES = Resource("", "v1", "Node", "nodes", False, Node)
NAMESPACES = Resource("", "v1", "Namespace", "namespaces", False, Namespace)
EVENTS = Resource("", "v1", "Event", "events", True, Event)
LEASES = Resource("coordination.k8s.io", "v1", "Lease", "leases", True, Lease)
