"""What is there of an installation: read from the API server, whatever is missing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TypeVar

from spo.api.core import NODES, Node
from spo.api.core import PODS as USER_PODS
from spo.api.resource import Resource
from spo.cli.cluster_uninstall.objects import (
    APP,
    CLUSTER_KINDS,
    CRDS,
    CUSTOM,
    DAEMON_SETS,
    DEPLOYMENTS,
    OPERATOR_KINDS,
    SCATTERED_KINDS,
    THING_NAMESPACES,
    Program,
    Thing,
)
from spo.kube.client import KubeClient
from spo.kube.errors import NotFoundError
from spo.kube.listing import list_all
from spo.kube.wire import KubeObject
from spo.names import API_GROUP, OPERATOR_NAME, SPOD_NAME
from spo.profiles.paths import path_of, referenced_profiles

T = TypeVar("T", bound=KubeObject)

_SYSTEM = "kubernetes.io/os"
_LINUX = "linux"
HOST_ROOT = "SPO_SPOD_HOST_ROOT"
"""Variable of the manager; see docs/spod.md."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Objects of one kind."""

    resource: Resource[Thing]
    objects: Sequence[Thing]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Everything that an uninstallation depends on."""

    namespace: str
    """Of the operator."""
    namespace_present: bool = False
    namespace_ours: bool = False
    """The manifest has made it, so that it goes too."""
    custom: Sequence[Found] = ()
    """Objects of our kinds, in all namespaces."""
    cluster: Sequence[Found] = ()
    """Objects of the manifest that belong to no namespace."""
    scattered: Sequence[Found] = ()
    """Objects of the manifest in other namespaces than the operator's."""
    own: Sequence[Found] = ()
    """Objects of the manifest in the operator's namespace; needed only if that stays."""
    crds: Sequence[Thing] = ()
    users: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """``<namespace>/<pod>`` -> paths of the profiles that it uses."""
    other_operators: Sequence[str] = ()
    """Namespaces with a spod object, without this one."""
    image: str = ""
    """Of the operator; empty: nobody knows."""
    pull_policy: str = "IfNotPresent"
    host_root: PurePosixPath = PurePosixPath("/")
    """Where the part of a node begins that is the operator's."""
    nodes: Sequence[str] = ()
    """Nodes that can run a pod."""
    unreachable: Sequence[str] = ()
    """Nodes that are not ready."""

    @property
    def is_empty(self) -> bool:
        """Whether the API server holds nothing of the operator."""
        found = (*self.custom, *self.cluster, *self.scattered, *self.own)
        return not (self.namespace_present and self.namespace_ours) and not self.crds and not found


async def take_inventory(client: KubeClient, namespace: str) -> Inventory:
    """Look at everything; what the cluster does not know is not there.

    Raises:
        KubeError: no answer, or no right to ask.
    """
    custom = await _of_kinds(client, CUSTOM)
    operator_namespace = await _get(client, THING_NAMESPACES, namespace)
    scattered = await _of_kinds(client, SCATTERED_KINDS, selector=APP)
    program = await _program(client, namespace)
    container = next(iter(program.spec.template.spec.containers), None) if program else None
    environment = {one.name: one.value or "" for one in container.env} if container else {}
    nodes = [one for one in await all_of(client, NODES) if _is_linux(one)]
    return Inventory(
        namespace=namespace,
        namespace_present=operator_namespace is not None,
        namespace_ours=operator_namespace is not None
        and operator_namespace.metadata.labels.get("app") == OPERATOR_NAME,
        custom=custom,
        cluster=await _of_kinds(client, CLUSTER_KINDS, selector=APP),
        scattered=[found for one in scattered if (found := _outside(one, namespace)).objects],
        own=await _of_kinds(client, OPERATOR_KINDS, namespace=namespace, selector=APP),
        crds=[one for one in await all_of(client, CRDS) if one.metadata.name.endswith(f".{API_GROUP}")],
        users=await users_of_profiles(client),
        other_operators=_other_operators(custom, namespace),
        image=container.image if container else "",
        pull_policy=(container.image_pull_policy if container else None) or "IfNotPresent",
        host_root=PurePosixPath(environment.get(HOST_ROOT) or "/"),
        nodes=[one.metadata.name for one in nodes if _is_well(one)],
        unreachable=[one.metadata.name for one in nodes if not _is_well(one)],
    )


async def users_of_profiles(client: KubeClient) -> dict[str, tuple[str, ...]]:
    """``<namespace>/<pod>`` -> paths of the profiles that it uses, for pods that have not ended."""
    return {
        f"{pod.metadata.namespace}/{pod.metadata.name}": tuple(map(path_of, references))
        for pod in await all_of(client, USER_PODS)
        if pod.status.phase not in {"Succeeded", "Failed"} and (references := referenced_profiles(pod))
    }


async def all_of(
    client: KubeClient, resource: Resource[T], namespace: str | None = None, selector: str | None = None
) -> list[T]:
    """All objects of a kind; none if the cluster does not know the kind."""
    try:
        return await list_all(client, resource, namespace, label_selector=selector)
    except NotFoundError:
        return []


async def _of_kinds(
    client: KubeClient,
    kinds: Iterable[Resource[Thing]],
    *,
    namespace: str | None = None,
    selector: str | None = None,
) -> list[Found]:
    found = [Found(resource=one, objects=await all_of(client, one, namespace, selector)) for one in kinds]
    return [one for one in found if one.objects]


async def _get(
    client: KubeClient, resource: Resource[T], name: str, namespace: str | None = None
) -> T | None:
    try:
        return await client.get(resource, name, namespace)
    except NotFoundError:
        return None


async def _program(client: KubeClient, namespace: str) -> Program | None:
    """Who knows the operator's image."""
    manager = await _get(client, DEPLOYMENTS, OPERATOR_NAME, namespace)
    return manager or await _get(client, DAEMON_SETS, SPOD_NAME, namespace)


def _outside(found: Found, namespace: str) -> Found:
    others = [one for one in found.objects if one.metadata.namespace != namespace]
    return Found(resource=found.resource, objects=others)


def _other_operators(custom: Iterable[Found], namespace: str) -> list[str]:
    spods = (
        one for found in custom if found.resource.kind.endswith("OperatorDaemon") for one in found.objects
    )
    return sorted({one.metadata.namespace or "" for one in spods} - {namespace})


def _is_well(node: Node) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)


def _is_linux(node: Node) -> bool:
    return node.metadata.labels.get(_SYSTEM, _LINUX) == _LINUX
