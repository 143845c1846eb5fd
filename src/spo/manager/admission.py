"""The webhook configuration: one object, reconciled from bindings, recordings, settings and CAs."""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from spo import klog
from spo.api.meta import LabelSelector
from spo.api.spod import WebhookOptions
from spo.api.webhook_configuration import MutatingWebhookConfiguration
from spo.controller import DONE, Request, Result
from spo.kube.clock import Clock
from spo.manager.admission_scope import AdmissionScope
from spo.manager.webhook_configuration import Admission, Json, is_held, wanted_webhooks

log = klog.get("admission")

CERTIFICATES: Final = Request("", "certificates")
CONFIGURATION: Final = Request("", "configuration")

REPAIR_S: Final = 30.0
"""How often a configuration that somebody else keeps changing is written again."""


class Configurations(Protocol):
    """The configuration object; :class:`spo.manager.admission_api.ConfigurationStore` in production."""

    def get(self) -> MutatingWebhookConfiguration | None:
        """The newest state we know."""

    async def write(self, webhooks: list[Json]) -> None:
        """Store exactly these entries as ours."""


class Keeper(Protocol):
    """Looks after the certificate of the webhooks, made by us or by others."""

    @property
    def bundle(self) -> bytes | None:
        """PEM of the CAs to trust, perhaps empty; ``None`` while that is not known."""

    async def reconcile(self) -> Result:
        """See :class:`spo.controller.Reconciler`."""


class AdmissionReconciler:
    """Reconciles :data:`CERTIFICATES` and :data:`CONFIGURATION`, which depend on each other."""

    def __init__(
        self,
        configurations: Configurations,
        keeper: Keeper,
        scope: AdmissionScope,
        namespaces: Callable[[], Mapping[str, frozenset[str]]],
        options: Callable[[], Mapping[str, WebhookOptions]],
        operator_namespace: str,
        clock: Clock,
    ) -> None:
        """Take what it works with.

        Args:
            keeper: of the certificate of the webhooks.
            namespaces: webhook -> namespaces that hold something for it.
            options: webhook -> what the user wants of it.
        """
        self._configurations = configurations
        self._keeper = keeper
        self._scope = scope
        self._namespaces = namespaces
        self._options = options
        self._operator_namespace = operator_namespace
        self._clock = clock
        self._written: list[Json] | None = None
        self._written_at = 0.0
        self.enqueue: Callable[[Request], None] = lambda _: None
        """Set by the wiring: what the one finds may be work for the other."""

    async def reconcile(self, request: Request) -> Result:
        """See :class:`spo.controller.Reconciler`."""
        if request == CONFIGURATION:
            return await self._configure()
        before = self._keeper.bundle
        try:
            return await self._keeper.reconcile()
        finally:
            if self._keeper.bundle != before:
                self.enqueue(CONFIGURATION)

    async def _configure(self) -> Result:
        bundle = self._keeper.bundle
        if bundle is None:
            return DONE  # comes back when there is a CA
        namespaces, options = self._namespaces(), self._options()
        admission = Admission(
            operator_namespace=self._operator_namespace,
            namespaces=namespaces,
            options=options,
            bundle=bundle,
        )
        wanted = wanted_webhooks(admission)
        stored = self._configurations.get()
        # Without anything to do there need not be a configuration.
        if not is_held(stored.webhooks if stored else [], wanted):
            now = self._clock.monotonic()
            wait_s = self._written_at + REPAIR_S - now if wanted == self._written else 0.0
            if wait_s > 0:
                log.warning("Somebody else changes the webhook configuration", retryInSeconds=round(wait_s))
                return Result(wait_s)
            await self._configurations.write(wanted)
            self._written, self._written_at = wanted, now
            log.info("Stored the webhook configuration", entries=[entry["name"] for entry in wanted])
        self._scope.stored(namespaces, _selectors(options), bundle)
        return DONE


def _selectors(options: Mapping[str, WebhookOptions]) -> dict[str, LabelSelector]:
    return {
        name: one.namespace_selector for name, one in options.items() if one.namespace_selector is not None
    }
