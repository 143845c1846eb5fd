"""Pure: what would go, what stands against it, and what people do by hand for a node."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from spo.cli.cluster_uninstall.inventory import Found, Inventory
from spo.cli.text import enumerated
from spo.errors import SpoError
from spo.host.node_paths import pin_root
from spo.names import HOOK_RECORDINGS_DIR, LISTENER_DIR, OPERATOR_ROOT, PROFILES_ROOT


class InUseError(SpoError):
    """Pods run under our profiles."""

    def __init__(self, pods: list[str]) -> None:
        super().__init__(pods)
        self.pods = pods

    def __str__(self) -> str:
        return (
            f"{_count(len(self.pods), 'pod')} still use profiles of the operator ({enumerated(self.pods)}); "
            "delete them first, or use --force: then their containers cannot be started again"
        )


class OtherOperatorError(SpoError):
    """Another operator shares the kinds."""

    def __init__(self, namespaces: list[str]) -> None:
        super().__init__(namespaces)
        self.namespaces = namespaces

    def __str__(self) -> str:
        return (
            f"another operator runs in {enumerated(self.namespaces)} and needs the same kinds; delete the "
            "manifest of this one instead"
        )


def check(inventory: Inventory, *, force: bool) -> None:
    """Look for what stands against it.

    Raises:
        OtherOperatorError: also with ``force``.
        InUseError: without ``force``.
    """
    if inventory.other_operators:
        raise OtherOperatorError(list(inventory.other_operators))
    if inventory.users and not force:
        raise InUseError(sorted(inventory.users))


def plan(inventory: Inventory) -> Iterator[str]:
    """What would go, a line for each kind."""
    for found in (*inventory.custom, *inventory.cluster, *inventory.scattered):
        yield _line(found)
    if inventory.namespace_ours:
        yield f"Namespace: {inventory.namespace}, with everything in it"
    else:
        for found in inventory.own:
            yield _line(found)
    if inventory.crds:
        yield f"CustomResourceDefinition: {enumerated([one.metadata.name for one in inventory.crds], 99)}"
    paths = ", ".join(paths_on_node(inventory.host_root, inventory.namespace))
    if inventory.nodes and inventory.image:
        yield f"on {_count(len(inventory.nodes), 'node')}: {paths}"
    yield from (f"in use by a pod: {path}" for path in _used(inventory))
    yield from (f"not cleaned: {line}" for line in not_cleaned(inventory))


def not_cleaned(inventory: Inventory) -> Iterator[str]:
    """Nodes on which no clean-up can run, and what to do there."""
    if not inventory.image and inventory.nodes:
        yield (
            f"{_count(len(inventory.nodes), 'node')}, because nobody knows the operator's image any more; "
            f"run it again with --image, or there, as root: {command(inventory)}"
        )
    for node in inventory.unreachable:
        yield f"node {node} is not ready; there, as root: {command(inventory)}"


def command(inventory: Inventory) -> str:
    """What people do by hand on a node."""
    return f"rm -rf {' '.join(paths_on_node(inventory.host_root, inventory.namespace))}"


def paths_on_node(host_root: PurePosixPath, namespace: str) -> list[str]:
    """What the operator of a namespace keeps on a node."""
    run = {LISTENER_DIR, str(PurePosixPath(HOOK_RECORDINGS_DIR).parent)}
    if host_root == PurePosixPath("/"):
        run.discard(LISTENER_DIR)  # the same directory
    paths = [PROFILES_ROOT, OPERATOR_ROOT, *sorted(run)]
    return [*(str(host_root / path.lstrip("/")) for path in paths), str(pin_root(host_root, namespace))]


def _line(found: Found) -> str:
    names = sorted(
        f"{one.metadata.namespace}/{one.metadata.name}" if one.metadata.namespace else one.metadata.name
        for one in found.objects
    )
    return f"{found.resource.kind}: {enumerated(names)}"


def _used(inventory: Inventory) -> list[str]:
    used = {path for paths in inventory.users.values() for path in paths}
    return [f"{path} ({enumerated(sorted(_users(inventory, path)))})" for path in sorted(used)]


def _users(inventory: Inventory, path: str) -> list[str]:
    return [pod for pod, paths in inventory.users.items() if path in paths]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
