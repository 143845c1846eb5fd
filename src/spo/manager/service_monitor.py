"""Tells the Prometheus Operator, where there is one, to scrape the daemons."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from spo import klog
from spo.api.meta import ObjectMeta
from spo.api.resource import Resource
from spo.controller import DONE, Controller, Request, Result
from spo.kube.client import KubeClient
from spo.kube.clock import Clock
from spo.kube.errors import NotFoundError
from spo.kube.informer import Informer
from spo.names import (
    MANAGER_FIELD_MANAGER,
    METRICS_CERTIFICATE,
    METRICS_SERVICE,
    METRICS_TOKEN,
    OPERATOR_NAME,
    SERVICE_MONITOR,
)

log = klog.get("spod-config")

Json = dict[str, Any]

GROUP: Final = "monitoring.coreos.com"
PLURAL: Final = "servicemonitors"
LOOK_AGAIN_S: Final = 600.0
"""How soon one that somebody has deleted or changed is put back."""
PATHS: Final = ("/metrics", "/metrics-spod")


class CrdCondition(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A condition of a CRD."""

    type: str
    status: str


class CrdStatus(msgspec.Struct, omit_defaults=True, kw_only=True):
    """How far a CRD is."""

    conditions: list[CrdCondition] = []


class Crd(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A CRD without its schemas."""

    metadata: ObjectMeta
    status: CrdStatus = msgspec.field(default_factory=CrdStatus)


class ServiceMonitor(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A ServiceMonitor."""

    metadata: ObjectMeta
    spec: Json = {}


CRDS: Final = Resource(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", False, Crd
)
SERVICE_MONITORS: Final = Resource(GROUP, "v1", "ServiceMonitor", PLURAL, True, ServiceMonitor)


def wanted_spec(namespace: str) -> Json:
    """What our ServiceMonitor says: both pages of every daemon, each 10 s.

    The CA is the certificate itself: who trusts it need not know who issued it, us or cert-manager.
    """
    return {
        # Every Service of the namespace; the port is named by that of the daemons alone.
        "selector": {},
        "endpoints": [
            {
                "path": path,
                "interval": "10s",
                "port": "https",
                "scheme": "https",
                "bearerTokenSecret": {"name": METRICS_TOKEN, "key": "token"},
                "tlsConfig": {
                    "serverName": f"{METRICS_SERVICE}.{namespace}.svc",
                    "ca": {"secret": {"name": METRICS_CERTIFICATE, "key": "tls.crt"}},
                },
            }
            for path in PATHS
        ],
    }


class ServiceMonitorReconciler:
    """Keeps the one object."""

    def __init__(self, client: KubeClient, namespace: str, is_served: Callable[[], bool]) -> None:
        self._client = client
        self._namespace = namespace
        self._is_served = is_served

    async def reconcile(self, _: Request) -> Result:
        """See :class:`spo.controller.Reconciler`."""
        if not self._is_served():
            return DONE  # comes back with the CRD
        spec = wanted_spec(self._namespace)
        try:
            present = await self._client.get(SERVICE_MONITORS, SERVICE_MONITOR, self._namespace)
        except NotFoundError:
            doing = "Deploying operator service monitor"
        else:
            if _holds(present.spec, spec):
                return Result(LOOK_AGAIN_S)
            doing = "Updating operator service monitor"
        body = {"metadata": {"labels": {"app": OPERATOR_NAME}}, "spec": spec}
        try:
            await self._client.apply(
                SERVICE_MONITORS, body, SERVICE_MONITOR, self._namespace, field_manager=MANAGER_FIELD_MANAGER
            )
        except NotFoundError:
            return Result(LOOK_AGAIN_S)  # the kind is not served
        log.info(doing)
        return Result(LOOK_AGAIN_S)


def _holds(stored: object, wanted: object) -> bool:
    """Whether the stored value is what is wanted; the defaults of its kind are left."""
    if isinstance(wanted, dict):
        return isinstance(stored, dict) and all(_holds(stored.get(key), one) for key, one in wanted.items())
    if isinstance(wanted, list):
        return isinstance(stored, list) and len(stored) == len(wanted) and all(map(_holds, stored, wanted))
    return stored == wanted


class MonitorControllers:
    """The work of the leader for the Prometheus Operator; made anew each time it leads.

    Args:
        is_restricted: no right to see definitions of kinds; then we just try, now and then.
    """

    def __init__(
        self, client: KubeClient, namespace: str, clock: Clock, *, is_restricted: bool = False
    ) -> None:
        self._is_restricted = is_restricted
        self._crds: Informer[Crd] = Informer(
            client, CRDS, field_selector=f"metadata.name={PLURAL}.{GROUP}", clock=clock
        )
        self.informers: tuple[Informer[Any], ...] = () if is_restricted else (self._crds,)
        reconciler = ServiceMonitorReconciler(client, namespace, self._is_served)
        self._controller = Controller("servicemonitor", reconciler, clock=clock)

    @property
    def controllers(self) -> tuple[Controller, ...]:
        """Whose work ``/metrics`` shows."""
        return (self._controller,)

    async def run(self) -> None:
        """Work until cancelled; :attr:`informers` run, and have their first lists."""
        self._crds.add_listener(lambda *_: self._look())
        self._look()
        await self._controller.run()

    def _look(self) -> None:
        self._controller.enqueue(Request("", SERVICE_MONITOR))

    def _is_served(self) -> bool:
        return self._is_restricted or any(
            condition.type == "Established" and condition.status == "True"
            for crd in self._crds.cache.list()
            for condition in crd.status.conditions
        )
