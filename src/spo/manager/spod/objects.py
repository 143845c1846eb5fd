"""Slim views of the workloads that the manager reads."""

from typing import Final

import msgspec

from spo.api.meta import ObjectMeta
from spo.api.resource import Resource


class TemplateMeta(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Metadata of a pod template."""

    annotations: dict[str, str] = {}


class AppContainer(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A container: what image it runs."""

    image: str = ""
    image_pull_policy: str | None = None


class AppPodSpec(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """The containers of a pod template."""

    containers: list[AppContainer] = []


class Template(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A pod template."""

    metadata: TemplateMeta = msgspec.field(default_factory=TemplateMeta)
    spec: AppPodSpec = msgspec.field(default_factory=AppPodSpec)


class WorkloadSpec(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Of a Deployment or a DaemonSet."""

    template: Template = msgspec.field(default_factory=Template)


class Deployment(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A Deployment."""

    metadata: ObjectMeta
    spec: WorkloadSpec = msgspec.field(default_factory=WorkloadSpec)


class DaemonSetStatus(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """How far a DaemonSet is, in numbers of nodes."""

    observed_generation: int = 0
    desired_number_scheduled: int = 0
    updated_number_scheduled: int = 0
    number_ready: int = 0


class DaemonSet(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A DaemonSet."""

    metadata: ObjectMeta
    spec: WorkloadSpec = msgspec.field(default_factory=WorkloadSpec)
    status: DaemonSetStatus = msgspec.field(default_factory=DaemonSetStatus)


DEPLOYMENTS: Final = Resource("apps", "v1", "Deployment", "deployments", True, Deployment)
DAEMON_SETS: Final = Resource("apps", "v1", "DaemonSet", "daemonsets", True, DaemonSet)
