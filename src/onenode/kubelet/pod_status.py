"""The status of a pod: a pure function of its containers, shaped like a real kubelet's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onenode.kubelet.arguments import quality_of_service
from onenode.kubelet.plan import Records, final_phase, initialized, restarts
from onenode.kubelet.pod import Container, Pod
from onenode.kubelet.records import ContainerRecord
from onenode.kubelet.state import timestamp

Status = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSituation:
    """What the containers' records do not tell."""

    sandbox_ready: bool
    pod_ip: str
    host_ip: str
    now_s: float
    failure: tuple[str, str] | None = None
    """Reason and message when the pod itself has failed, e.g. ``DeadlineExceeded``."""
    stopped: bool = False
    """The pod is being deleted and nothing of it runs any more."""


def pod_status(pod: Pod, records: Records, situation: PodSituation, previous: Status) -> Status:
    """The new status.

    Args:
        pod: as stored.
        records: one per container and init container.
        situation: the rest of what is known.
        previous: status as stored; keeps the times of conditions that did not change and ``startTime``.
    """
    phase = _phase(pod, records, situation)
    status: Status = {}
    if pod.metadata.generation is not None:
        status["observedGeneration"] = pod.metadata.generation
    status["phase"] = phase
    status["conditions"] = _conditions(pod, records, situation, phase, previous.get("conditions") or [])
    if situation.failure is not None:
        status["reason"], status["message"] = situation.failure
    status["hostIP"] = situation.host_ip
    status["hostIPs"] = [{"ip": situation.host_ip}]
    if situation.pod_ip:
        status["podIP"] = situation.pod_ip
        status["podIPs"] = [{"ip": situation.pod_ip}]
    status["startTime"] = previous.get("startTime") or timestamp(situation.now_s)
    statuses = {
        "initContainerStatuses": pod.spec.init_containers,
        "containerStatuses": pod.spec.containers,
    }
    for field, containers in statuses.items():
        if containers:
            status[field] = [
                _container_status(pod, container, records, situation, phase) for container in containers
            ]
    status["qosClass"] = previous.get("qosClass") or quality_of_service(pod)
    return status


def same_status(one: Status, other: Status) -> bool:
    """Whether two statuses say the same; absent and ``null`` are one."""
    return bool(_without_nulls(one) == _without_nulls(other))


def _phase(pod: Pod, records: Records, situation: PodSituation) -> str:
    if situation.failure is not None:
        return "Failed"
    final = final_phase(pod.spec, records)
    if final is not None:
        return final
    main = [records[container.name] for container in pod.spec.containers]
    ends = [record.ended.exit_code for record in main if record.ended]
    if situation.stopped and len(ends) == len(main):
        return "Failed" if any(ends) else "Succeeded"
    if not initialized(pod.spec, records) or not all(record.started_ever for record in main):
        return "Pending"
    return "Running"


def _conditions(
    pod: Pod, records: Records, situation: PodSituation, phase: str, previous: list[Status]
) -> list[Status]:
    not_ready = [c.name for c in pod.spec.containers if not records[c.name].ready]
    done = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase)
    unready: tuple[str, str, str] = ("True", "", "")
    if done:
        unready = ("False", done, "")
    elif not_ready:
        listed = " ".join(not_ready)
        unready = ("False", "ContainersNotReady", f"containers with unready status: [{listed}]")
    initial: tuple[str, str, str] = ("True", "PodCompleted" if phase == "Succeeded" else "", "")
    if not initialized(pod.spec, records) and phase != "Succeeded":
        pending = [c.name for c in pod.spec.init_containers if not _complete(c, records[c.name])]
        listed = " ".join(pending)
        initial = ("False", "ContainersNotInitialized", f"containers with incomplete status: [{listed}]")
    wanted = {
        "PodReadyToStartContainers": ("True" if situation.sandbox_ready else "False", "", ""),
        "Initialized": initial,
        "Ready": unready,
        "ContainersReady": unready,
        "PodScheduled": ("True", "", ""),
    }
    before = {condition.get("type"): condition for condition in previous}
    conditions = [
        _condition(pod, kind, *values, before.get(kind), situation.now_s) for kind, values in wanted.items()
    ]
    return conditions + [condition for condition in previous if condition.get("type") not in wanted]


def _condition(
    pod: Pod, kind: str, value: str, reason: str, message: str, before: Status | None, now_s: float
) -> Status:
    unchanged = before is not None and before.get("status") == value
    condition: Status = {"type": kind}
    if pod.metadata.generation is not None:
        condition["observedGeneration"] = pod.metadata.generation
    condition |= {
        "status": value,
        "lastProbeTime": None,
        "lastTransitionTime": (before or {}).get("lastTransitionTime") if unchanged else timestamp(now_s),
    }
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition


def _complete(container: Container, record: ContainerRecord) -> bool:
    if container.is_sidecar:
        return record.started_ever
    return record.ended is not None and record.ended.exit_code == 0


def _container_status(
    pod: Pod, container: Container, records: Records, situation: PodSituation, phase: str
) -> Status:
    record = records[container.name]
    state, last = _states(pod, container, record, records, situation, phase)
    is_init = container in pod.spec.init_containers and not container.is_sidecar
    completed = is_init and record.ended is not None and record.ended.exit_code == 0
    status: Status = {
        "name": container.name,
        "state": state,
        "lastState": last,
        "ready": completed or (record.ready and not is_init),
        "restartCount": record.restarts,
        "image": record.image or container.image,
        "imageID": record.image_id,
    }
    ended = record.ended or record.previous
    identifier = record.running.id if record.running else ended.container_id if ended else ""
    if identifier:
        status["containerID"] = f"podman://{identifier}"
    status["started"] = record.started
    if container.volume_mounts:
        status["volumeMounts"] = [
            _mount_status(mount.name, mount.mount_path, mount.read_only) for mount in container.volume_mounts
        ]
    return status


def _mount_status(name: str, path: str, read_only: bool) -> Status:
    status: Status = {"name": name, "mountPath": path}
    if read_only:
        status |= {"readOnly": True, "recursiveReadOnly": "Disabled"}
    return status


def _states(
    pod: Pod,
    container: Container,
    record: ContainerRecord,
    records: Records,
    situation: PodSituation,
    phase: str,
) -> tuple[Status, Status]:
    """``state`` and ``lastState``."""
    last: Status = {"terminated": record.previous.to_wire()} if record.previous else {}
    if record.running:
        return {"running": {"startedAt": timestamp(record.running.started_s)}}, last
    finished = phase in ("Succeeded", "Failed")
    if record.waiting_reason and not finished:
        ended = record.ended or record.previous
        waiting = {"reason": record.waiting_reason}
        if record.waiting_message:
            waiting["message"] = record.waiting_message
        return {"waiting": waiting}, {"terminated": ended.to_wire()} if ended else {}
    if record.ended:
        policy = pod.spec.restart_policy
        if container in pod.spec.init_containers:
            policy = "Always" if container.is_sidecar else "Never" if policy == "Never" else "OnFailure"
        if not finished and restarts(policy, record) and record.retry_at_s > situation.now_s:
            waiting = {"reason": "CrashLoopBackOff", "message": back_off_message(pod, container, record)}
            return {"waiting": waiting}, {"terminated": record.ended.to_wire()}
        return {"terminated": record.ended.to_wire()}, last
    reason = "ContainerCreating"
    if container not in pod.spec.init_containers and not initialized(pod.spec, records):
        reason = "PodInitializing"
    return {"waiting": {"reason": reason}}, last


def back_off_message(pod: Pod, container: Container, record: ContainerRecord) -> str:
    """Text of ``CrashLoopBackOff``."""
    wait_s = record.retry_at_s - record.ended.finished_s if record.ended else 0.0
    minutes, seconds = divmod(round(wait_s), 60)
    span = f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
    return f"back-off {span} restarting failed container={container.name} pod={pod_text(pod)}"


def pod_text(pod: Pod) -> str:
    """How messages name a pod."""
    return f"{pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})"


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
