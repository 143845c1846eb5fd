"""Which container of which pod an id belongs to, for the process ``log-enricher``."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from spo.api.meta import ObjectMeta
from spo.api.resource import Resource
from spo.names import TRACE_AVCS_ANNOTATION, TRACE_LOGS_ANNOTATION
from spo.rpc.log_enricher import Found, KnownContainer, Wanted

_CONFIG_HASH: Final = "kubernetes.io/config.hash"
"""Annotation of static pods: their uid on the node, where the API server has another one."""
_ID: Final = re.compile(r"[a-z0-9.+-]+://([0-9a-f]{64})")
_STARTING: Final = frozenset({"ContainerCreating", "PodInitializing"})
MAX_GONE: Final = 1000
"""Containers that are remembered after their pod: their last records come late."""


class _Waiting(msgspec.Struct):
    reason: str = ""


class _Ended(msgspec.Struct):
    container_id: str = msgspec.field(default="", name="containerID")


class _State(msgspec.Struct):
    waiting: _Waiting | None = None
    terminated: _Ended | None = None


class _ContainerStatus(msgspec.Struct, rename="camel"):
    name: str = ""
    container_id: str = msgspec.field(default="", name="containerID")
    state: _State = msgspec.field(default_factory=_State)
    last_state: _State = msgspec.field(default_factory=_State)


class _Status(msgspec.Struct, rename="camel"):
    init_container_statuses: list[_ContainerStatus] = []
    container_statuses: list[_ContainerStatus] = []
    ephemeral_container_statuses: list[_ContainerStatus] = []


class EnricherPod(msgspec.Struct, rename="camel"):
    """A pod as the API has it; the parts that are read here."""

    metadata: ObjectMeta
    status: _Status = msgspec.field(default_factory=_Status)


ENRICHER_PODS: Final = Resource("", "v1", "Pod", "pods", True, EnricherPod)


class PodContainers(msgspec.Struct, frozen=True, gc=False):
    """What is kept of a pod."""

    namespace: str
    name: str
    uids: tuple[str, ...]
    containers: tuple[tuple[str, str, str], ...]
    """(id, name, annotation that asks to record it) of each that has an id."""
    starting: tuple[str, ...]
    """Names of those that have none yet."""


def project_pod(pod: EnricherPod) -> PodContainers:
    """What to keep of a pod."""
    metadata = pod.metadata
    uids = tuple(uid for uid in (metadata.uid, metadata.annotations.get(_CONFIG_HASH)) if uid)
    containers: list[tuple[str, str, str]] = []
    starting: list[str] = []
    for status in _statuses(pod.status):
        record = metadata.annotations.get(TRACE_LOGS_ANNOTATION + status.name) or metadata.annotations.get(
            TRACE_AVCS_ANNOTATION + status.name, ""
        )
        ids = [found[1] for text in _ids(status) if (found := _ID.fullmatch(text))]
        containers += [(container_id, status.name, record) for container_id in dict.fromkeys(ids)]
        waiting = status.state.waiting
        if not ids and waiting is not None and waiting.reason in _STARTING:
            starting.append(status.name)
    return PodContainers(metadata.namespace or "", metadata.name, uids, tuple(containers), tuple(starting))


def _statuses(status: _Status) -> Iterator[_ContainerStatus]:
    yield from status.init_container_statuses
    yield from status.container_statuses
    yield from status.ephemeral_container_statuses


def _ids(status: _ContainerStatus) -> Iterator[str]:
    yield status.container_id
    for state in (status.state, status.last_state):
        if state.terminated is not None:
            yield state.terminated.container_id


class ContainerDirectory:
    """The containers of the node's pods, by id."""

    def __init__(self) -> None:
        self._containers: dict[str, tuple[KnownContainer, tuple[str, ...]]] = {}
        self._starting: dict[str, tuple[str, ...]] = {}
        self._gone: dict[str, None] = {}
        self._pods: set[tuple[str, str]] = set()

    def observed(self, old: PodContainers | None, new: PodContainers | None) -> None:
        """Listener of the informer."""
        if old is not None:
            self._leave(old)
        if new is not None:
            self._enter(new)

    def has_pod(self, namespace: str, name: str) -> bool:
        """Whether the pod is on this node."""
        return (namespace, name) in self._pods

    def find(self, wanted: Sequence[Wanted]) -> Found:
        """Those that are known.

        A cgroup is named by whoever may make one. So where it names the pod too, both have to fit.
        """
        found: list[KnownContainer] = []
        starting: dict[str, None] = {}
        for one in wanted:
            container, uids = self._containers.get(one.container_id, (None, ()))
            if container is not None and (one.pod_uid is None or one.pod_uid in uids):
                found.append(container)
            elif one.pod_uid is not None:
                starting |= dict.fromkeys(self._starting.get(one.pod_uid, ()))
        return Found(found, list(starting))

    def _enter(self, pod: PodContainers) -> None:
        self._pods.add((pod.namespace, pod.name))
        for container_id, name, record in pod.containers:
            known = KnownContainer(container_id, pod.namespace, pod.name, name, record)
            self._containers[container_id] = (known, pod.uids)
            self._gone.pop(container_id, None)
        for uid in pod.uids:
            if pod.starting:
                self._starting[uid] = pod.starting

    def _leave(self, pod: PodContainers) -> None:
        self._pods.discard((pod.namespace, pod.name))
        for uid in pod.uids:
            self._starting.pop(uid, None)
        for container_id, _, _ in pod.containers:
            self._gone[container_id] = None
        while len(self._gone) > MAX_GONE:
            oldest = next(iter(self._gone))
            del self._gone[oldest]
            self._containers.pop(oldest, None)
