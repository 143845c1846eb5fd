"""Wire the webhook process together: informers, certificate, server."""

import asyncio
import time
from typing import Final

from spo import klog
from spo.api.secret import SECRETS, Secret
from spo.controller import run_until_stopped
from spo.controller.cache_sync import caches_synced
from spo.controller.health import Check, HealthServer
from spo.kube.client import KubeClient
from spo.kube.clock import SYSTEM_CLOCK, Clock
from spo.kube.informer import Informer
from spo.settings import WebhookSettings
from spo.webhooks.cluster import CachedRules
from spo.webhooks.https_server import DrainTimes, HttpsServer
from spo.webhooks.review import Reviewer
from spo.webhooks.serving_certificate import ServingCertificate

log = klog.get("webhook")


class Webhook:
    """One replica."""

    def __init__(self, client: KubeClient, settings: WebhookSettings, clock: Clock = SYSTEM_CLOCK) -> None:
        self._settings = settings
        self._rules = CachedRules(client, settings.namespaces, clock=clock)
        self._secret: Informer[Secret] = Informer(
            client,
            SECRETS,
            (settings.operator_namespace,),
            field_selector=f"metadata.name={settings.certificate}",
            clock=clock,
        )
        self._certificate = ServingCertificate(clock)
        self.reviewer: Final = Reviewer(self._rules, settings.operator_namespace, time.time)
        self.server: Final = HttpsServer(
            settings.host,
            settings.port,
            self._certificate.context,
            self.reviewer.paths,
            self.reviewer.answer,
            drain=DrainTimes(leave_s=settings.leave_s),
        )

    async def run(self) -> None:
        """Serve until cancelled. The informers go on until the last request is answered."""
        self._secret.add_listener(self._certificate.secret_changed)
        async with asyncio.TaskGroup() as group:
            for informer in (*self._rules.informers, self._secret):
                group.create_task(informer.run())
            # Nothing is answered before all bindings are known: a pod would get past one.
            await caches_synced(self._rules.informers, self._settings.cache_sync_timeout_s)
            await self._certificate.loaded.wait()
            await self.server.run()

    def what_is_missing(self) -> str:
        """Why nothing should be sent here, empty if all is well."""
        if self.server.leaving:
            return "leaving"
        if not self.server.listening.is_set():
            if not all(informer.last_list_complete for informer in self._rules.informers):
                return "the lists of bindings, recordings and profiles are not complete"
            return self._certificate.problem or "not listening yet"
        return ""


async def run_webhook(client: KubeClient, settings: WebhookSettings) -> None:
    """Run until SIGTERM."""
    async with client:
        webhook = Webhook(client, settings)
        checks: dict[str, Check] = {"/healthz": str, "/readyz": webhook.what_is_missing}
        health = HealthServer(settings.health_host, settings.health_port, checks)
        await run_until_stopped(webhook.run, health.run)
