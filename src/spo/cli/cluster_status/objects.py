"""Slim views of what ``spoc cluster status`` reads beside our own kinds."""

from typing import Final

import msgspec

from spo.api.meta import Condition, ObjectMeta
from spo.api.resource import Resource


class Waiting(msgspec.Struct, rename="camel", kw_only=True):
    """Why a container does not run yet, or not again."""

    reason: str = ""
    message: str = ""


class Terminated(msgspec.Struct, rename="camel", kw_only=True):
    """How a container ended."""

    exit_code: int = 0
    reason: str = ""
    message: str = ""
    finished_at: str | None = None


class ContainerState(msgspec.Struct, rename="camel", kw_only=True):
    """At most one of them; neither while it runs."""

    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerStatus(msgspec.Struct, rename="camel", kw_only=True):
    """How a container of a pod fares."""

    name: str = ""
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = msgspec.field(default_factory=ContainerState)
    last_state: ContainerState = msgspec.field(default_factory=ContainerState)


class DaemonPodSpec(msgspec.Struct, rename="camel", kw_only=True):
    """Where a pod runs."""

    node_name: str | None = None


class DaemonPodStatus(msgspec.Struct, rename="camel", kw_only=True):
    """How a pod fares."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: list[Condition] = []
    container_statuses: list[ContainerStatus] = []
    init_container_statuses: list[ContainerStatus] = []


class DaemonPod(msgspec.Struct, rename="camel", kw_only=True):
    """A pod of the DaemonSet."""

    metadata: ObjectMeta
    spec: DaemonPodSpec = msgspec.field(default_factory=DaemonPodSpec)
    status: DaemonPodStatus = msgspec.field(default_factory=DaemonPodStatus)


class WorkloadSpec(msgspec.Struct, rename="camel", kw_only=True):
    """How many pods are wanted; absent for a DaemonSet."""

    replicas: int | None = None


class WorkloadStatus(msgspec.Struct, rename="camel", kw_only=True):
    """How many pods there are: replicas of a Deployment, nodes of a DaemonSet."""

    ready_replicas: int = 0
    desired_number_scheduled: int = 0
    number_ready: int = 0


class Workload(msgspec.Struct, rename="camel", kw_only=True):
    """A Deployment or a DaemonSet."""

    metadata: ObjectMeta
    spec: WorkloadSpec = msgspec.field(default_factory=WorkloadSpec)
    status: WorkloadStatus = msgspec.field(default_factory=WorkloadStatus)


class EndpointAddress(msgspec.Struct, rename="camel", kw_only=True):
    """A pod behind a Service."""

    ip: str = ""


class EndpointSubset(msgspec.Struct, rename="camel", kw_only=True):
    """Pods behind a Service that are ready."""

    addresses: list[EndpointAddress] | None = None


class Endpoints(msgspec.Struct, rename="camel", kw_only=True):
    """The pods behind a Service."""

    metadata: ObjectMeta
    subsets: list[EndpointSubset] | None = None

    @property
    def ready(self) -> int:
        """How many of them are ready."""
        return sum(len(one.addresses or ()) for one in self.subsets or ())


class Taint(msgspec.Struct, rename="camel", kw_only=True):
    """What keeps pods from a node."""

    key: str = ""


class NodeSpec(msgspec.Struct, rename="camel", kw_only=True):
    """What is wanted of a node."""

    taints: list[Taint] = []


class NodeConditions(msgspec.Struct, rename="camel", kw_only=True):
    """How a node fares."""

    conditions: list[Condition] = []


class StatusNode(msgspec.Struct, rename="camel", kw_only=True):
    """A node."""

    metadata: ObjectMeta
    spec: NodeSpec = msgspec.field(default_factory=NodeSpec)
    status: NodeConditions = msgspec.field(default_factory=NodeConditions)


NODES: Final = Resource("", "v1", "Node", "nodes", False, StatusNode)
DEPLOYMENTS: Final = Resource("apps", "v1", "Deployment", "deployments", True, Workload)
DAEMON_SETS: Final = Resource("apps", "v1", "DaemonSet", "daemonsets", True, Workload)
DAEMON_PODS: Final = Resource("", "v1", "Pod", "pods", True, DaemonPod)
ENDPOINTS: Final = Resource("", "v1", "Endpoints", "endpoints", True, Endpoints)
