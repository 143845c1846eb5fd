"""Run the clean-up on every node, in pods of a namespace of their own."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from spo.api.resource import Resource
from spo.cli.cluster_status.objects import DaemonPod
from spo.cli.cluster_uninstall.inventory import Inventory, all_of
from spo.cli.cluster_uninstall.objects import THING_NAMESPACES
from spo.cli.cluster_uninstall.plan import command
from spo.cli.cluster_uninstall.waiting import gone, patience
from spo.host.node_paths import BPF_FILE_SYSTEM, pin_root
from spo.kube.client import KubeClient
from spo.kube.errors import AlreadyExistsError, ForbiddenError, InvalidError, NotFoundError
from spo.names import OPERATOR_NAME

NAMESPACE: Final = f"{OPERATOR_NAME}-cleanup"
CLEANUP: Final = "node-cleanup"
AT_ONCE: Final = 50
"""Nodes that are cleaned at the same time."""
POLL_S: Final = 0.5
_SEEN_AT: Final = PurePosixPath("/node")
_PODS: Final = Resource("", "v1", "Pod", "pods", True, DaemonPod)
_PRIVILEGED: Final = {
    f"pod-security.kubernetes.io/{mode}": "privileged" for mode in ("enforce", "audit", "warn")
}

Json = dict[str, Any]


@dataclass(slots=True)
class NodesCleaned:
    """What became of the nodes."""

    clean: list[str] = field(default_factory=list)
    """Nothing of the operator is there."""
    left: list[str] = field(default_factory=list)
    """Sentences about nodes on which something is, and what to do."""


async def clean_nodes(client: KubeClient, inventory: Inventory, timeout_s: float) -> NodesCleaned:
    """Run the clean-up on all nodes that can run a pod; the namespace is gone afterwards.

    Args:
        inventory: of the operator that no longer runs.
        timeout_s: for each node.
    """
    found = NodesCleaned()
    if not await _make_namespace(client, timeout_s):
        why = f"namespace {NAMESPACE} is somebody else's, without the label app={OPERATOR_NAME}"
        by_hand = command(inventory)
        found.left += [
            f"node {one} was not cleaned: {why}; on {one}, as root: {by_hand}" for one in inventory.nodes
        ]
        return found
    try:
        for begin in range(0, len(inventory.nodes), AT_ONCE):
            await _clean(client, inventory, inventory.nodes[begin : begin + AT_ONCE], timeout_s, found)
    finally:
        with suppress(NotFoundError):
            await client.delete(THING_NAMESPACES, NAMESPACE)
    await gone(client, THING_NAMESPACES, NAMESPACE, None, timeout_s)
    return found


def cleanup_pod(inventory: Inventory, name: str, node: str) -> Json:
    """The pod that cleans a node; it has no token and no network of the node."""
    root = inventory.host_root
    paths = {
        "var-lib": (root / "var/lib", "Directory", "var/lib"),
        "run": (root / "run", "DirectoryOrCreate", "run"),
        "var-run": (root / "var/run", "DirectoryOrCreate", "var/run"),
        "bpffs": (PurePosixPath(BPF_FILE_SYSTEM), "Directory", BPF_FILE_SYSTEM.lstrip("/")),
    }
    pins = _SEEN_AT / str(pin_root(root, inventory.namespace)).lstrip("/")
    return {
        "metadata": {"name": name, "labels": {"app": OPERATOR_NAME, "name": CLEANUP}},
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "tolerations": [{"operator": "Exists"}],
            "containers": [
                {
                    "name": CLEANUP,
                    "image": inventory.image,
                    "imagePullPolicy": inventory.pull_policy,
                    "args": [
                        CLEANUP,
                        f"--root={_SEEN_AT}",
                        f"--pins={pins}",
                        f"--namespace={inventory.namespace}",
                        "--message=/dev/termination-log",
                    ],
                    "securityContext": {
                        "runAsUser": 0,
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        # For directories that belong to the daemon.
                        "capabilities": {"drop": ["ALL"], "add": ["DAC_OVERRIDE", "FOWNER"]},
                        "seLinuxOptions": {"type": "spc_t"},
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "volumeMounts": [
                        {"name": volume, "mountPath": str(_SEEN_AT / seen)}
                        for volume, (_, _, seen) in paths.items()
                    ],
                }
            ],
            "volumes": [
                {"name": volume, "hostPath": {"path": str(path), "type": kind}}
                for volume, (path, kind, _) in paths.items()
            ],
        },
    }


def judge(pod: DaemonPod | None, node: str, by_hand: str) -> tuple[bool, str]:
    """Whether a pod has ended its work, and what is left on its node; empty: nothing.

    Args:
        pod: that should have cleaned it.
        node: its name.
        by_hand: the command that people can use instead.
    """
    by_hand = f"on {node}, as root: {by_hand}"
    if pod is None:
        return False, f"node {node} was not cleaned: its pod is gone; {by_hand}"
    ended = next((one.state.terminated for one in pod.status.container_statuses), None)
    if pod.status.phase == "Succeeded":
        return True, ""
    if pod.status.phase != "Failed":
        waiting = next((one.state.waiting for one in pod.status.container_statuses), None)
        why = waiting.reason if waiting and waiting.reason else pod.status.phase or "no answer"
        return False, f"node {node} was not cleaned in time ({why}); {by_hand}"
    told = ended.message.strip() if ended else ""
    why = "; ".join(told.splitlines()) or (ended.reason if ended else "") or pod.status.message
    return True, f"node {node}: left {why or 'something'}"


async def _clean(
    client: KubeClient, inventory: Inventory, nodes: Sequence[str], timeout_s: float, found: NodesCleaned
) -> None:
    by_hand = command(inventory)
    names: dict[str, str] = {}
    for index, node in enumerate(nodes):
        name = f"{CLEANUP}-{index}"
        try:
            await _create(client, cleanup_pod(inventory, name, node), timeout_s)
        except (
            AlreadyExistsError,
            ForbiddenError,
            InvalidError,
        ) as error:  # a policy of the cluster; the rest goes nevertheless
            found.left.append(f"node {node} was not cleaned: {error}; on {node}, as root: {by_hand}")
        else:
            names[name] = node
    pods: Mapping[str, DaemonPod] = {}
    async for _ in patience(timeout_s, POLL_S):
        pods = {one.metadata.name: one for one in await all_of(client, _PODS, NAMESPACE)}
        if all(judge(pods.get(name), node, by_hand)[0] for name, node in names.items()):
            break
    for name, node in names.items():
        ended, left = judge(pods.get(name), node, by_hand)
        if left:
            found.left.append(left)
        elif ended:
            found.clean.append(node)
        with suppress(NotFoundError):
            await client.delete(_PODS, name, NAMESPACE, grace_period_s=0)
    for name in names:
        await gone(client, _PODS, name, NAMESPACE, timeout_s)


async def _make_namespace(client: KubeClient, timeout_s: float) -> bool:
    """``False``: there is one that is not ours."""
    body = {"metadata": {"name": NAMESPACE, "labels": {"app": OPERATOR_NAME, **_PRIVILEGED}}}
    async for _ in patience(timeout_s, POLL_S):
        try:
            await client.create(THING_NAMESPACES, body)
        except AlreadyExistsError:
            present = await client.get(THING_NAMESPACES, NAMESPACE)
            if present.metadata.labels.get("app") != OPERATOR_NAME:
                return False
            if present.metadata.deletion_timestamp:
                continue  # of a run that was cut short
        return True
    await gone(client, THING_NAMESPACES, NAMESPACE, None, 0)
    return False


async def _create(client: KubeClient, body: Json, timeout_s: float) -> None:
    """Create a pod; in the first moments of a namespace it has no service account yet."""
    last: ForbiddenError | AlreadyExistsError | None = None
    async for _ in patience(min(timeout_s, 10.0), POLL_S):
        try:
            await client.create(_PODS, body, NAMESPACE)
        except ForbiddenError as error:
            last = error
        except AlreadyExistsError as error:  # of a run that was cut short, and perhaps of another node
            last = error
            with suppress(NotFoundError):
                await client.delete(_PODS, body["metadata"]["name"], NAMESPACE, grace_period_s=0)
        else:
            return
    if last is not None:
        raise last
