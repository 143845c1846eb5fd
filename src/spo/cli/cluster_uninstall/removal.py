"""The steps of an uninstallation; each may be done again, also after one that was cut short."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from spo.api.resource import Resource
from spo.cli.cluster_uninstall.inventory import Found, Inventory, all_of, take_inventory
from spo.cli.cluster_uninstall.nodes import NodesCleaned, clean_nodes
from spo.cli.cluster_uninstall.objects import (
    APP,
    CRDS,
    DAEMON_SETS,
    DEPLOYMENTS,
    PODS,
    THING_NAMESPACES,
    WEBHOOK_CONFIGURATIONS,
    Thing,
    is_our_finalizer,
)
from spo.cli.cluster_uninstall.plan import check, not_cleaned
from spo.cli.cluster_uninstall.waiting import StillThereError, gone, patience
from spo.errors import SpoError
from spo.kube.client import KubeClient
from spo.kube.errors import NotFoundError
from spo.names import OPERATOR_NAME, SPOD_NAME, WEBHOOK_NAME

POLL_S: Final = 0.5
AT_ONCE: Final = 20
"""Objects that are removed at the same time."""

Say = Callable[[str], None]


class StillRunningError(SpoError):
    """Pods of the operator do not end."""

    def __init__(self, pods: list[str]) -> None:
        super().__init__(pods)
        self.pods = pods

    def __str__(self) -> str:
        return (
            f"pods of the operator do not end: {', '.join(self.pods[:5])}; run it again, or use --force to "
            "go on without waiting for them"
        )


async def uninstall(
    client: KubeClient, inventory: Inventory, *, force: bool, timeout_s: float, say: Say
) -> list[str]:
    """Remove everything.

    The manager goes first, so that nobody works against it; the kinds go last, so that objects are found
    until then.

    Args:
        force: remove what pods use, too, and do not wait for pods that do not end.
        timeout_s: for each thing that is waited for.
        say: takes what has been done.

    Returns:
        What is left, and what to do about it.
    """
    namespace = inventory.namespace
    await _stop(client, DEPLOYMENTS, OPERATOR_NAME, namespace)
    await _ended(client, namespace, OPERATOR_NAME, timeout_s, force=force)
    say("The manager has ended")
    for one in await all_of(client, WEBHOOK_CONFIGURATIONS, None, APP):
        await _delete(client, WEBHOOK_CONFIGURATIONS, one.metadata.name)
    await _stop(client, DEPLOYMENTS, WEBHOOK_NAME, namespace)
    say("New pods are no longer sent to the webhooks")
    await _delete(client, DAEMON_SETS, SPOD_NAME, namespace)
    await _remove(client, [one for one in inventory.custom if _is_spod(one)])
    await _ended(client, namespace, SPOD_NAME, timeout_s, force=force)
    say("The daemons have ended")
    # Again: what was made since the first look goes as well, and must not be in use.
    later = await take_inventory(client, namespace)
    check(later, force=force)
    await _remove(client, later.custom)
    say(f"Removed {sum(len(one.objects) for one in later.custom)} objects of our kinds")
    cleaned = NodesCleaned(left=list(not_cleaned(inventory)))
    if inventory.image and inventory.nodes:
        done = await clean_nodes(client, inventory, timeout_s)
        cleaned.left += done.left
        say(f"Cleaned {len(done.clean)} of {len(inventory.nodes) + len(inventory.unreachable)} nodes")
    left = [*_held(later.custom), *cleaned.left]
    left += await _remove_manifest(client, later, timeout_s, say)
    return left


def _held(found: Iterable[Found]) -> list[str]:
    """Objects that somebody else keeps."""
    return [
        f"{kind.resource.kind} {one.metadata.namespace}/{one.metadata.name} waits for {', '.join(others)}"
        for kind in found
        for one in kind.objects
        if (others := _foreign_finalizers(one))
    ]


def _foreign_finalizers(one: Thing) -> list[str]:
    return [name for name in one.metadata.finalizers if not is_our_finalizer(name)]


async def _remove_manifest(client: KubeClient, inventory: Inventory, timeout_s: float, say: Say) -> list[str]:
    left = []
    await _remove(client, (*inventory.cluster, *inventory.scattered))
    if inventory.namespace_ours:
        await _delete(client, THING_NAMESPACES, inventory.namespace)
        left += await _still_there(client, THING_NAMESPACES, inventory.namespace, timeout_s)
    else:
        await _remove(client, inventory.own)
    say("Removed the objects of the manifest")
    for one in inventory.crds:
        await _delete(client, CRDS, one.metadata.name)
    for one in inventory.crds:
        left += await _still_there(client, CRDS, one.metadata.name, timeout_s)
    if not left:
        say("Removed the kinds")
    return left


async def _still_there(client: KubeClient, resource: Resource[Any], name: str, timeout_s: float) -> list[str]:
    """What to say about an object that does not go; the others are removed nevertheless."""
    try:
        await gone(client, resource, name, None, timeout_s)
    except StillThereError as error:
        return [str(error)]
    return []


async def _stop(client: KubeClient, resource: Resource[Any], name: str, namespace: str) -> None:
    """Let a Deployment have no pods; it stays, because it knows the image."""
    try:
        await client.patch(resource, name, namespace, {"spec": {"replicas": 0}})
    except NotFoundError:
        return


async def _ended(client: KubeClient, namespace: str, name: str, timeout_s: float, *, force: bool) -> None:
    pods: list[Thing] = []
    async for _ in patience(timeout_s, POLL_S):
        pods = await all_of(client, PODS, namespace, f"{APP},name={name}")
        if not pods:
            return
    if not force:
        raise StillRunningError([one.metadata.name for one in pods])


async def _remove(client: KubeClient, found: Iterable[Found]) -> None:
    """Take our finalizers off objects and delete them."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def limited(work: Awaitable[None]) -> None:
        async with slots:
            await work

    for kind in found:
        work = (limited(_remove_one(client, kind.resource, one)) for one in kind.objects)
        await asyncio.gather(*work)


async def _remove_one(client: KubeClient, resource: Resource[Thing], one: Thing) -> None:
    metadata = one.metadata
    others = _foreign_finalizers(one)
    if len(others) != len(metadata.finalizers):
        try:
            # Not bound to a version: nobody of ours writes any more.
            await client.patch(
                resource, metadata.name, metadata.namespace, {"metadata": {"finalizers": others or None}}
            )
        except NotFoundError:
            return
    await _delete(client, resource, metadata.name, metadata.namespace)


async def _delete(
    client: KubeClient, resource: Resource[Any], name: str, namespace: str | None = None
) -> None:
    try:
        await client.delete(resource, name, namespace, propagation="Background")
    except NotFoundError:
        return


def _is_spod(found: Found) -> bool:
    return found.resource.kind == "SecurityProfilesOperatorDaemon"
