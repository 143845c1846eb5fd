"""What to do next for a pod: a pure function from what is wanted and what is to one step."""

from collections.abc import Mapping
from dataclasses import dataclass

from onenode.kubelet.pod import Container, PodSpec
from onenode.kubelet.records import ContainerRecord


@dataclass(frozen=True, slots=True)
class StartSandbox:
    """Make the process that holds the pod's network."""


@dataclass(frozen=True, slots=True)
class StopContainers:
    """End what runs: its network is gone."""


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Start one container or init container."""

    name: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until something ends, the pod changes, or a time comes."""

    until_s: float | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """The pod has done its work, or cannot."""

    phase: str


Step = StartSandbox | StopContainers | StartContainer | Wait | Finish
Records = Mapping[str, ContainerRecord]


def next_step(spec: PodSpec, records: Records, *, sandbox_ready: bool, now_s: float) -> Step:
    """Decide the next step.

    Args:
        spec: the pod.
        records: one per container and init container, by name.
        sandbox_ready: the sandbox runs; ``True`` for pods in the node's network, which have none.
        now_s: seconds since the epoch.
    """
    phase = final_phase(spec, records)
    if phase is not None:
        return Finish(phase)
    if not sandbox_ready:
        return StopContainers() if any(record.running for record in records.values()) else StartSandbox()
    for container in spec.init_containers:
        step = _init_step(container, records[container.name], now_s)
        if step is not None:
            return step
    holds = []
    for container in spec.containers:
        record = records[container.name]
        if record.running or (record.ended and not restarts(spec.restart_policy, record)):
            continue
        if record.retry_at_s <= now_s:
            return StartContainer(container.name)
        holds.append(record.retry_at_s)
    holds += [
        records[container.name].retry_at_s
        for container in spec.init_containers
        if container.is_sidecar and not records[container.name].running
    ]
    return Wait(min(holds, default=None))


def initialized(spec: PodSpec, records: Records) -> bool:
    """All init containers have done their part."""
    return all(_init_done(container, records[container.name]) for container in spec.init_containers)


def final_phase(spec: PodSpec, records: Records) -> str | None:
    """``Succeeded`` or ``Failed`` if nothing will ever run again, else ``None``."""
    if spec.restart_policy == "Never" and any(
        ended.exit_code != 0
        for container in spec.init_containers
        if not container.is_sidecar and (ended := records[container.name].ended) is not None
    ):
        return "Failed"
    ends = []
    for container in spec.containers:
        record = records[container.name]
        if record.ended is None or restarts(spec.restart_policy, record):
            return None
        ends.append(record.ended.exit_code)
    return "Succeeded" if not any(ends) else "Failed"


def restarts(policy: str, record: ContainerRecord) -> bool:
    """Whether a container that ended is to run again."""
    if record.ended is None:
        return False
    return policy == "Always" or (policy == "OnFailure" and record.ended.exit_code != 0)


def _init_done(container: Container, record: ContainerRecord) -> bool:
    if container.is_sidecar:
        return record.started_ever
    return record.ended is not None and record.ended.exit_code == 0


def _init_step(container: Container, record: ContainerRecord, now_s: float) -> Step | None:
    if record.running:
        return None if container.is_sidecar else Wait()
    if not container.is_sidecar and _init_done(container, record):
        return None
    if record.retry_at_s <= now_s:
        return StartContainer(container.name)
    # A sidecar that crashed holds up nobody behind it.
    return None if container.is_sidecar and record.started_ever else Wait(record.retry_at_s)
