"""Pure: the spod object, the manager, and the daemons of the nodes."""

from collections.abc import Sequence
from typing import Final

from spo.api.meta import Condition
from spo.api.spod import SecurityProfilesOperatorDaemon
from spo.cli.cluster_status.facts import Facts, age_s
from spo.cli.cluster_status.objects import ContainerStatus, DaemonPod, StatusNode
from spo.cli.cluster_status.part import DAEMONS, GRACE_S, MANAGER, SPOD, Part
from spo.cli.cluster_status.report import NodeState
from spo.cli.text import enumerated
from spo.names import MANAGER_LEASE, NODE_GATE_TAINT, OPERATOR_NAME, SPOD_NAME

LEASE_S: Final = 120.0
"""A Lease that nobody has renewed for so long; far above what clocks may differ."""
RESTARTS: Final = 3
RESTARTED_S: Final = 600.0
"""So many restarts, the last one within this time, are a crash again and again."""

GATED_S: Final = 600.0
"""A node that waits for its profiles for so long will do so for ever: twice the usual setting."""

_READY: Final = "Ready"
_IGNORED: Final = "Ignored"
_ACTIONS: Final = {
    "Invalid": "correct the field that the message names: kubectl -n {namespace} edit spod {name}",
    "Unavailable": "see the daemons below",
    "Updating": "wait: kubectl -n {namespace} wait --for=condition=ready spod/{name}",
    "Creating": "wait: kubectl -n {namespace} wait --for=condition=ready spod/{name}",
}


def spod_part(facts: Facts) -> Part:
    """The settings, and how far they are carried out."""
    part = Part(SPOD)
    spod = main_spod(facts.spods)
    if spod is None:
        part.summary = "absent"
        part.add(
            "there is no spod object, so no node has a daemon",
            f"the manager makes it when it starts: {_restart(facts)}",
        )
        return part
    name, about = spod.metadata.name, f"spod/{spod.metadata.name}"
    condition = ready(spod.status.conditions if spod.status else ())
    state = spod.status.state if spod.status and spod.status.state else "unknown"
    part.summary = f"{state}{f', {condition.message}' if condition and condition.message else ''}"
    if spod.metadata.deletion_timestamp:
        part.add("it is being deleted, with the daemons of all nodes", about=about)
    elif condition is None or condition.observed_generation < spod.metadata.generation:
        part.add("the manager has not looked at its present settings", _logs(facts), about)
    elif condition.status != "True":
        advice = _ACTIONS.get(condition.reason, f"kubectl -n {facts.namespace} describe spod {name}")
        text = f"{condition.reason}: {condition.message}".rstrip(": ")
        part.add(text, advice.format(namespace=facts.namespace, name=name), about)
    return part


def manager_part(facts: Facts) -> Part:
    """The manager, without which nothing changes any more."""
    part = Part(MANAGER)
    about = f"deployment/{OPERATOR_NAME}"
    where = f"kubectl -n {facts.namespace}"
    if facts.manager is None:
        part.summary = "absent"
        part.add(
            "there is no manager: profiles, bindings and recordings are not looked after, and none can be "
            "deleted",
            "apply the operator's manifest again, or, to remove all of it: spoc cluster uninstall --force",
            about,
        )
        return part
    wanted = facts.manager.spec.replicas if facts.manager.spec.replicas is not None else 1
    ready_count = facts.manager.status.ready_replicas
    holder = (facts.lease.spec.holder_identity if facts.lease else None) or ""
    leads = bool(holder) and age_s(facts, facts.lease.spec.renew_time if facts.lease else None) <= LEASE_S
    part.summary = f"{ready_count} of {wanted} ready, {f'{holder} leads' if leads else 'nobody leads'}"
    if wanted == 0:
        part.add("it is scaled to 0", f"{where} scale {about} --replicas=1", about)
    elif ready_count == 0:
        part.add("no replica is ready", f"{where} describe pods -l name={OPERATOR_NAME}", about)
    elif not leads:
        part.add(f"no replica renews the Lease {MANAGER_LEASE}", _logs(facts), about)
    elif ready_count < wanted:
        part.add(
            f"{ready_count} of {wanted} replicas are ready",
            f"{where} describe pods -l name={OPERATOR_NAME}",
            about,
        )
    return part


def daemons_part(facts: Facts) -> Part:
    """The pods of the DaemonSet, and what they say of their nodes."""
    part = Part(DAEMONS)
    states = node_states(facts)
    count = sum(one.daemon == _READY for one in states)
    desired = facts.daemon_set.status.desired_number_scheduled if facts.daemon_set else 0
    part.summary = f"{count} of {max(desired, len(_scheduled(facts)))} ready on {len(facts.nodes)} nodes"
    where = f"kubectl -n {facts.namespace}"
    if facts.daemon_set is None:
        part.add("the DaemonSet is absent; the manager makes it from the spod object", _logs(facts))
    _missing(facts, desired, part)
    for pod in sorted(facts.pods, key=lambda one: (one.spec.node_name or "", one.metadata.name)):
        trouble = trouble_of(facts, pod)
        if trouble is None:
            continue
        problem, container = trouble
        node = f"node {pod.spec.node_name}: " if pod.spec.node_name else ""
        command = f"logs {pod.metadata.name} -c {container} --previous" if container else ""
        action = f"{where} {command or f'describe pod {pod.metadata.name}'}"
        part.add(f"{node}{problem}", action, f"pod/{pod.metadata.name}")
    _reports(facts, states, part)
    _gated(facts, part)
    return part


def node_states(facts: Facts) -> list[NodeState]:
    """Every node, by name."""
    pods = _scheduled(facts)
    reports = {one.node_name: one for one in facts.node_statuses}
    found = []
    for name in sorted({one.metadata.name for one in facts.nodes} | pods.keys() | reports.keys()):
        pod, report = pods.get(name), reports.get(name)
        well = pod is not None and is_ready(pod)
        daemon = "Absent" if pod is None else _READY if well else "NotReady"
        found.append(
            NodeState(
                name=name,
                daemon=daemon,
                reported=report is not None,
                installed=report.installed if report else 0,
                failed=report.failed if report else 0,
            )
        )
    return found


def daemon_nodes(facts: Facts) -> list[str]:
    """Nodes that should have every profile, sorted."""
    return sorted(_scheduled(facts))


def main_spod(spods: Sequence[SecurityProfilesOperatorDaemon]) -> SecurityProfilesOperatorDaemon | None:
    """The spod object that counts."""
    by_name = {one.metadata.name: one for one in spods}
    for one in (by_name.get(SPOD_NAME), *spods):
        condition = ready(one.status.conditions if one and one.status else ())
        if one is not None and (condition is None or condition.reason != _IGNORED):
            return one
    return None


def ready(conditions: Sequence[Condition]) -> Condition | None:
    """Condition ``Ready``."""
    return next((one for one in conditions if one.type == _READY), None)


def is_ready(pod: DaemonPod) -> bool:
    """Whether every container of the pod does its work."""
    condition = ready(pod.status.conditions)
    return condition is not None and condition.status == "True" and not pod.metadata.deletion_timestamp


def trouble_of(facts: Facts, pod: DaemonPod) -> tuple[str, str] | None:
    """What is wrong with a pod, and the container to look at, empty if it is none of them."""
    status = pod.status
    for container in (*status.init_container_statuses, *status.container_statuses):
        if problem := _container_trouble(facts, container):
            return f"container {container.name} {problem}", container.name
    if pod.metadata.deletion_timestamp:
        return "the pod is being deleted", ""
    if is_ready(pod):
        return None
    if not pod.spec.node_name:
        condition = next((one for one in status.conditions if one.type == "PodScheduled"), None)
        return f"the pod has no node{_because(condition.message if condition else '')}", ""
    if _not_ready_node(facts, pod.spec.node_name):
        return "the node is not ready, so nothing is known of its daemon", ""
    waiting = [one.name for one in status.container_statuses if not one.ready]
    what = f"not ready: {', '.join(waiting)}" if waiting else f"phase {status.phase or 'unknown'}"
    return f"the daemon is {what}{_because(status.message or status.reason)}", ""


def _container_trouble(facts: Facts, container: ContainerStatus) -> str:
    waiting, ended = container.state.waiting, container.state.terminated
    last = container.last_state.terminated
    if waiting and waiting.reason not in {"", "ContainerCreating", "PodInitializing"}:
        code = f", after exit code {last.exit_code}" if last else ""
        return f"waits: {waiting.reason}{code}{_because(waiting.message)}"
    if ended and ended.exit_code:
        return f"ended with exit code {ended.exit_code}{_because(ended.message or ended.reason)}"
    if last and container.restart_count >= RESTARTS and age_s(facts, last.finished_at) <= RESTARTED_S:
        return f"has crashed {container.restart_count} times, with exit code {last.exit_code}"
    return ""


def _missing(facts: Facts, desired: int, part: Part) -> None:
    have = _scheduled(facts)
    count = desired - len(have)
    if count <= 0:
        return
    candidates = [one.metadata.name for one in facts.nodes if one.metadata.name not in have]
    nodes = "1 node has" if count == 1 else f"{count} nodes have"
    part.add(
        f"{nodes} no daemon; without one: {enumerated(candidates)}",
        f"kubectl -n {facts.namespace} describe daemonset {SPOD_NAME}",
        f"daemonset/{SPOD_NAME}",
    )


def _reports(facts: Facts, states: Sequence[NodeState], part: Part) -> None:
    """Node statuses that are absent, or that nobody keeps up to date."""
    present = {one.metadata.name for one in facts.nodes}
    pods = _scheduled(facts)
    for one in states:
        about = f"securityprofilenodestatus/{one.name}"
        if one.reported and one.name not in present:
            part.add("there is no such node any more; its status was left", f"delete {about}", about)
        elif one.reported and one.daemon == "Absent" and facts.daemon_set is not None:
            part.add("it is stale: the node has no daemon that would keep it", about=about)
        elif not one.reported and one.daemon == _READY and _old(facts, pods[one.name]):
            name = pods[one.name].metadata.name
            action = f"kubectl -n {facts.namespace} logs {name} -c {OPERATOR_NAME}"
            part.add("the daemon of this node has not reported", action, about)


def _gated(facts: Facts, part: Part) -> None:
    for node in facts.nodes:
        waits = any(one.key == NODE_GATE_TAINT for one in node.spec.taints)
        if waits and age_s(facts, node.metadata.creation_timestamp) > GATED_S:
            name = node.metadata.name
            part.add(
                "it takes no pods: nobody has removed the taint of nodes that wait for their profiles",
                f"apply deploy/overlays/node-gate, or: kubectl taint node {name} {NODE_GATE_TAINT}-",
                f"node/{name}",
            )


def _old(facts: Facts, pod: DaemonPod) -> bool:
    return age_s(facts, pod.metadata.creation_timestamp) > GRACE_S


def _scheduled(facts: Facts) -> dict[str, DaemonPod]:
    """Node -> its pod; the ready one of two that replace each other."""
    return {name: pod for pod in sorted(facts.pods, key=is_ready) if (name := pod.spec.node_name)}


def _not_ready_node(facts: Facts, name: str) -> bool:
    return any(one.metadata.name == name and not _well(one) for one in facts.nodes)


def _well(node: StatusNode) -> bool:
    condition = ready(node.status.conditions)
    return condition is not None and condition.status == "True"


def _because(text: str) -> str:
    return f": {' '.join(text.split())}" if text else ""


def _logs(facts: Facts) -> str:
    return f"kubectl -n {facts.namespace} logs deployment/{OPERATOR_NAME}"


def _restart(facts: Facts) -> str:
    return f"kubectl -n {facts.namespace} rollout restart deployment/{OPERATOR_NAME}"
