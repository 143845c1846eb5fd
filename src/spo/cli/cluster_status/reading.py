"""Read the facts from the API server."""

from collections.abc import Awaitable
from datetime import datetime
from typing import Any, Final, TypeVar

from spo.api.core import LEASES
from spo.api.node_status import PROFILE_NODE_STATUSES
from spo.api.profile_binding import PROFILE_BINDINGS
from spo.api.profile_recording import PROFILE_RECORDINGS
from spo.api.resource import Resource
from spo.api.seccomp_profile import SECCOMP_PROFILES
from spo.api.secret import SECRETS, Secret
from spo.api.spod import SPODS
from spo.api.webhook_configuration import WEBHOOK_CONFIGURATIONS, MutatingWebhookConfiguration
from spo.cli.cluster_status.certificates import certificate_fact, trusted_entries
from spo.cli.cluster_status.facts import CertificateFact, Facts
from spo.cli.cluster_status.objects import DAEMON_PODS, DAEMON_SETS, DEPLOYMENTS, ENDPOINTS, NODES
from spo.errors import SpoError
from spo.kube.client import KubeClient
from spo.kube.errors import ForbiddenError, NotFoundError
from spo.kube.listing import list_all
from spo.kube.wire import KubeObject
from spo.names import (
    CERTIFICATE_ANNOTATION,
    MANAGER_LEASE,
    METRICS_CERTIFICATE,
    OPERATOR_NAME,
    SPOD_NAME,
    WEBHOOK_AUTHORITY,
    WEBHOOK_CERTIFICATE,
    WEBHOOK_NAME,
    WEBHOOK_SERVICE,
)

T = TypeVar("T", bound=KubeObject)
R = TypeVar("R")

APP: Final = f"app={OPERATOR_NAME}"


class NotInstalledError(SpoError):
    """The cluster does not know the operator's kinds."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind

    def __str__(self) -> str:
        return f"the operator is not installed: the cluster knows no kind {self.kind}; apply its manifest"


async def read_facts(client: KubeClient, namespace: str, now: datetime) -> Facts:
    """Everything that findings depend on.

    Args:
        namespace: of the operator.
        now: the present moment.

    Raises:
        NotInstalledError: a kind of ours is unknown.
        KubeError: no answer, or no right to ask; without rights on Secrets the facts only note that.
    """
    # First: whoever has not installed the operator is told so, and not what else there is not.
    spods = await _list(client, SPODS, namespace)
    secrets, notes = await _secrets(client, namespace)
    configurations = await _list(client, WEBHOOK_CONFIGURATIONS, None, APP)
    configuration = next((one for one in configurations if _is_of(one, namespace)), None)
    endpoints = await _or_none(client.get(ENDPOINTS, WEBHOOK_SERVICE, namespace))
    return Facts(
        now=now,
        namespace=namespace,
        spods=spods,
        manager=await _or_none(client.get(DEPLOYMENTS, OPERATOR_NAME, namespace)),
        lease=await _or_none(client.get(LEASES, MANAGER_LEASE, namespace)),
        daemon_set=await _or_none(client.get(DAEMON_SETS, SPOD_NAME, namespace)),
        pods=await _list(client, DAEMON_PODS, namespace, f"{APP},name={SPOD_NAME}"),
        nodes=await _list(client, NODES),
        node_statuses=await _list(client, PROFILE_NODE_STATUSES, namespace),
        webhook=await _or_none(client.get(DEPLOYMENTS, WEBHOOK_NAME, namespace)),
        configuration=configuration,
        endpoints=endpoints.ready if endpoints else 0,
        trusted=trusted_entries(configuration, secrets.get(WEBHOOK_CERTIFICATE)),
        certificates=_certificates(secrets),
        profiles=await _list(client, SECCOMP_PROFILES),
        bindings=await _list(client, PROFILE_BINDINGS),
        recordings=await _list(client, PROFILE_RECORDINGS),
        notes=notes,
    )


def _certificates(found: dict[str, Secret | None]) -> list[CertificateFact]:
    """Of every Secret that could be read; with cert-manager there is no CA of ours."""
    serving = found.get(WEBHOOK_CERTIFICATE)
    foreign = serving is not None and CERTIFICATE_ANNOTATION not in serving.metadata.annotations
    return [
        certificate_fact(name, secret)
        for name, secret in found.items()
        if not (foreign and name == WEBHOOK_AUTHORITY and secret is None)
    ]


async def _secrets(client: KubeClient, namespace: str) -> tuple[dict[str, Secret | None], list[str]]:
    """The Secrets with certificates, and what to note of those that must not be read."""
    found: dict[str, Secret | None] = {}
    forbidden = []
    for name in (WEBHOOK_AUTHORITY, WEBHOOK_CERTIFICATE, METRICS_CERTIFICATE):
        try:
            found[name] = await _or_none(client.get(SECRETS, name, namespace))
        except ForbiddenError:
            forbidden.append(name)
    if not forbidden:
        return found, []
    return found, [f"certificates: no right to get Secrets {', '.join(forbidden)} in {namespace}"]


async def _list(
    client: KubeClient, resource: Resource[T], namespace: str | None = None, selector: str | None = None
) -> list[T]:
    try:
        return await list_all(client, resource, namespace, label_selector=selector)
    except NotFoundError as error:
        raise NotInstalledError(resource.kind) from error


async def _or_none(request: Awaitable[R]) -> R | None:
    try:
        return await request
    except NotFoundError:
        return None


def _is_of(configuration: MutatingWebhookConfiguration, namespace: str) -> bool:
    """Whether it sends pods to the operator of this namespace."""
    owners: list[Any] = [one.name for one in configuration.metadata.owner_references]
    services = [(one.get("clientConfig") or {}).get("service") or {} for one in configuration.webhooks]
    return namespace in owners or any(one.get("namespace") == namespace for one in services)
