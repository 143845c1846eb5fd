"""What the admission reconcilers read from the API and from the replicas, and write."""

import asyncio
import base64
import ssl
from typing import Any, Final

import msgspec

from spo.api.core import NAMESPACES, PODS
from spo.api.meta import ObjectMeta
from spo.api.resource import Resource
from spo.api.secret import SECRETS, Secret
from spo.api.webhook_configuration import WEBHOOK_CONFIGURATIONS, MutatingWebhookConfiguration
from spo.kube.cache import Cache
from spo.kube.client import KubeClient
from spo.kube.errors import NotFoundError
from spo.manager.webhook_configuration import Json, configuration_name, stored_bundle
from spo.names import (
    ADMISSION_FIELD_MANAGER,
    OPERATOR_NAME,
    WEBHOOK_NAME,
)

CONNECT_S: Final = 3.0
DEFAULT_PORT: Final = 9443
PORT_NAME: Final = "webhook-server"
_END: Final = "-----END CERTIFICATE-----"
"""After it the certificates of those who issued the first one may follow."""
_LABELS: Final = {"app": OPERATOR_NAME}


class SecretStore:
    """See :class:`spo.manager.certificate_secrets.Secrets`."""

    def __init__(self, client: KubeClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    async def get(self, name: str) -> Secret | None:
        """The present state at the API server."""
        try:
            return await self._client.get(SECRETS, name, self._namespace)
        except NotFoundError:
            return None

    async def write(self, secret: Secret) -> Secret:
        """Store all of it."""
        body: Json = {
            "metadata": {"labels": _LABELS, "annotations": secret.metadata.annotations},
            "type": secret.type,
            "data": {key: base64.b64encode(value).decode() for key, value in secret.data.items()},
        }
        return await self._client.apply(
            SECRETS, body, secret.metadata.name, self._namespace, field_manager=ADMISSION_FIELD_MANAGER
        )


class ConfigurationStore:
    """See :class:`spo.manager.admission.Configurations`."""

    def __init__(
        self, client: KubeClient, cache: Cache[MutatingWebhookConfiguration], operator_namespace: str
    ) -> None:
        self._client = client
        self._cache = cache
        self._operator_namespace = operator_namespace
        self._written: MutatingWebhookConfiguration | None = None

    def get(self) -> MutatingWebhookConfiguration | None:
        """The newest state we know, our own write included."""
        return self._written or self._cache.get("", configuration_name(self._operator_namespace))

    def bundle(self) -> bytes:
        """PEM of the CAs in it; empty if there are none."""
        stored = self.get()
        return stored_bundle(stored.webhooks) if stored else b""

    def observed(
        self, _: MutatingWebhookConfiguration | None, new: MutatingWebhookConfiguration | None
    ) -> None:
        """Listener of the cache: what it has is newer than our own write, or not yet as new."""
        if new is None or self._written is None or _version(new) >= _version(self._written):
            self._written = None

    async def write(self, webhooks: list[Json]) -> None:
        """Store exactly these entries as ours."""
        namespace = await self._client.get(NAMESPACES, self._operator_namespace)
        # The configuration must not outlive the operator: it would refuse pods for ever.
        owner = {"apiVersion": "v1", "kind": "Namespace", "name": namespace.metadata.name}
        body: Json = {
            "metadata": {
                "labels": _LABELS,
                "ownerReferences": [{**owner, "uid": namespace.metadata.uid}],
            },
            "webhooks": webhooks,
        }
        self._written = await self._client.apply(
            WEBHOOK_CONFIGURATIONS,
            body,
            configuration_name(self._operator_namespace),
            field_manager=ADMISSION_FIELD_MANAGER,
        )


def _version(configuration: MutatingWebhookConfiguration) -> int:
    text = configuration.metadata.resource_version
    return int(text) if text.isdecimal() else 0


class _Port(msgspec.Struct, rename="camel"):
    name: str = ""
    container_port: int = DEFAULT_PORT


class _Container(msgspec.Struct, rename="camel"):
    ports: list[_Port] = []


class _Spec(msgspec.Struct, rename="camel"):
    containers: list[_Container] = []


class _Status(msgspec.Struct, rename="camel"):
    phase: str = ""
    pod_i_p: str = msgspec.field(default="", name="podIP")


class _Replica(msgspec.Struct, rename="camel"):
    """A pod of the webhooks."""

    metadata: ObjectMeta
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)

    @property
    def port(self) -> int:
        """Where it serves."""
        ports = (port for container in self.spec.containers for port in container.ports)
        return next((port.container_port for port in ports if port.name == PORT_NAME), DEFAULT_PORT)


_REPLICAS: Final[Resource[Any]] = Resource(PODS.group, PODS.version, PODS.kind, PODS.plural, True, _Replica)


class Replicas:
    """The pods of the webhooks, asked what they serve: nothing they could write would be as true."""

    def __init__(self, client: KubeClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    async def all_serve(self, certificate: bytes) -> bool:
        """Whether every replica that may still answer serves the certificate that this PEM begins with."""
        try:
            first, end, _ = certificate.decode("ascii").partition(_END)
            wanted = ssl.PEM_cert_to_DER_cert(first + end)
        except ValueError:
            return False  # no certificate: nobody can serve it
        page = await self._client.list_page(_REPLICAS, self._namespace, label_selector=f"name={WEBHOOK_NAME}")
        alive = [one for one in page.items if one.status.phase not in {"Succeeded", "Failed"}]
        if page.unreadable or any(not one.status.pod_i_p for one in alive):
            return False
        served = await asyncio.gather(*(served_certificate(one.status.pod_i_p, one.port) for one in alive))
        return all(one == wanted for one in served)


async def served_certificate(host: str, port: int) -> bytes | None:
    """DER of the certificate that a server shows; ``None`` if it cannot be asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Which certificate it is, is the question; nothing is sent to the server.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except (OSError, TimeoutError):
        return None
    shown = writer.get_extra_info("ssl_object").getpeercert(True)
    writer.close()
    return bytes(shown) if shown else None
