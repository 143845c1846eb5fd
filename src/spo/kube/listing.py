"""Whole lists at once, for commands that look once; who follows a kind uses an informer."""

from typing import TypeVar

from spo.api.resource import Resource
from spo.kube.client import KubeClient
from spo.kube.wire import KubeObject

T = TypeVar("T", bound=KubeObject)


async def list_all(
    client: KubeClient,
    resource: Resource[T],
    namespace: str | None = None,
    *,
    label_selector: str | None = None,
) -> list[T]:
    """All objects of a kind, page by page; those that do not fit its struct are left out.

    Args:
        client: a connection.
        resource: the kind.
        namespace: ``None``: all.
        label_selector: as in ``kubectl get -l``.

    Raises:
        NotFoundError: the cluster does not know the kind.
        KubeError: see :class:`KubeClient`.
    """
    found: list[T] = []
    token: str | None = None
    while token != "":
        page = await client.list_page(resource, namespace, label_selector=label_selector, continue_=token)
        found += page.items
        token = page.continue_
    return found
