"""Wire together what the manager does for admission: certificates, configuration, bindings, recordings."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

from spo.api.core import NAMESPACES
from spo.api.meta import ObjectMeta
from spo.api.profile_binding import PROFILE_BINDINGS, ProfileBinding
from spo.api.profile_recording import PROFILE_RECORDINGS, ProfileRecording
from spo.api.seccomp_profile import SeccompProfile
from spo.api.secret import SECRETS, Secret
from spo.api.spod import SPODS, WebhookOptions
from spo.api.webhook_configuration import WEBHOOK_CONFIGURATIONS, MutatingWebhookConfiguration
from spo.controller import Controller, Request
from spo.kube.client import KubeClient
from spo.kube.clock import Clock
from spo.kube.errors import UnreadableObjectError
from spo.kube.events import EventRecorder
from spo.kube.informer import Informer
from spo.manager.admission import CERTIFICATES, CONFIGURATION, AdmissionReconciler, Keeper
from spo.manager.admission_api import ConfigurationStore, Replicas, SecretStore
from spo.manager.admission_condition import AdmissionCondition
from spo.manager.admission_scope import AdmissionScope
from spo.manager.bound_pods import BoundPods
from spo.manager.certificate_process import Issue, issue_in_child
from spo.manager.certificate_secrets import CertificateKeeper
from spo.manager.certificate_trust import IssuedElsewhere
from spo.manager.metrics_certificate import MetricsCertificate
from spo.manager.object_store import ObjectStore
from spo.manager.profile_binding import ProfileBindingReconciler
from spo.manager.recording_admission import RecordingAdmissionReconciler
from spo.manager.webhook_configuration import configuration_name
from spo.names import (
    ADMISSION_FIELD_MANAGER,
    BINDING_WEBHOOK,
    METRICS_CERTIFICATE,
    RECORDING_WEBHOOK,
    WEBHOOK_AUTHORITY,
    WEBHOOK_CERTIFICATE,
)
from spo.settings import ManagerSettings

WORKERS: Final = 4


class AdmissionControllers:
    """The work of the leader for admission; made anew each time it leads."""

    def __init__(
        self,
        client: KubeClient,
        settings: ManagerSettings,
        profiles: Informer[SeccompProfile],
        clock: Clock,
        issue: Issue = issue_in_child,
    ) -> None:
        self._issue = issue
        self._client = client
        self._settings = settings
        self._profiles = profiles
        self._clock = clock
        self._follow(client, settings, clock)
        self._scope = AdmissionScope(clock)
        self._condition = AdmissionCondition(self._scope, self._namespace_labels)
        self._events = EventRecorder(client, "profilebinding", clock=clock)
        self._pods = BoundPods(client, clock, self._enqueue_bindings, settings.namespaces)
        self._configurations = ConfigurationStore(
            client, self._configuration.cache, settings.operator_namespace
        )
        self._admission = self._admission_controller()
        self._of_bindings = self._binding_controller()
        store = ObjectStore(client, PROFILE_RECORDINGS, self._recordings.cache, ADMISSION_FIELD_MANAGER)
        reconciler = RecordingAdmissionReconciler(store, self._condition, clock)
        self._of_recordings = Controller("recordingadmission", reconciler, workers=WORKERS, clock=clock)

    def _follow(self, client: KubeClient, settings: ManagerSettings, clock: Clock) -> None:
        own = (settings.operator_namespace,)
        self._bindings: Informer[ProfileBinding] = Informer(
            client, PROFILE_BINDINGS, settings.namespaces, clock=clock
        )
        self._recordings: Informer[ProfileRecording] = Informer(
            client, PROFILE_RECORDINGS, settings.namespaces, clock=clock
        )
        spod = f"metadata.name={settings.spod_name}"
        self._spods = Informer(client, SPODS, own, field_selector=spod, clock=clock)
        self._configuration: Informer[MutatingWebhookConfiguration] = Informer(
            client,
            WEBHOOK_CONFIGURATIONS,
            field_selector=f"metadata.name={configuration_name(settings.operator_namespace)}",
            clock=clock,
        )
        ours = (WEBHOOK_AUTHORITY, WEBHOOK_CERTIFICATE, METRICS_CERTIFICATE)
        names = (WEBHOOK_CERTIFICATE,) if settings.cert_manager else ours
        self._secrets: list[Informer[ObjectMeta]] = [
            Informer(
                client,
                SECRETS,
                own,
                project=_without_data,
                field_selector=f"metadata.name={name}",
                clock=clock,
            )
            for name in names
        ]
        self.informers: tuple[Informer[Any], ...] = (
            self._bindings,
            self._recordings,
            self._spods,
            self._configuration,
            *self._secrets,
        )

    @property
    def recordings(self) -> Informer[ProfileRecording]:
        """One of :attr:`informers`: there need not be a second one."""
        return self._recordings

    @property
    def controllers(self) -> tuple[Controller, ...]:
        """Whose work ``/metrics`` shows."""
        return (self._admission, self._of_bindings, self._of_recordings)

    async def run(self) -> None:
        """Work until cancelled; :attr:`informers` run, and have their first lists."""
        self._listen()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._events.run())
            group.create_task(self._pods.run())
            for controller in self.controllers:
                group.create_task(controller.run())

    def _admission_controller(self) -> Controller:
        reconciler = AdmissionReconciler(
            self._configurations,
            self._keeper(),
            self._scope,
            self._namespaces,
            self._options,
            self._settings.operator_namespace,
            self._clock,
        )
        controller = Controller("admission", reconciler, clock=self._clock)
        reconciler.enqueue = controller.enqueue
        return controller

    def _keeper(self) -> Keeper:
        namespace = self._settings.operator_namespace
        secrets = SecretStore(self._client, namespace)
        metrics = MetricsCertificate(secrets, namespace, self._issue)
        self.metrics_certificate = metrics.looked_at
        all_serve = Replicas(self._client, namespace).all_serve
        if self._settings.cert_manager:
            metrics.looked_at.set()  # nobody here makes it
            return IssuedElsewhere(secrets, self._configurations.bundle, all_serve)
        return CertificateKeeper(
            secrets, self._scope, all_serve, namespace, self._clock, metrics.keep, self._issue
        )

    def _binding_controller(self) -> Controller:
        store = ObjectStore(self._client, PROFILE_BINDINGS, self._bindings.cache, ADMISSION_FIELD_MANAGER)
        reconciler = ProfileBindingReconciler(
            store,
            self._bindings.cache.list,
            self._pods.pods,
            self._profile_exists,
            self._condition,
            self._events,
            self._clock,
        )
        return Controller("profilebinding", reconciler, workers=WORKERS, clock=self._clock)

    def _listen(self) -> None:
        self._scope.add_listener(self._scope_changed)
        self._configuration.add_listener(self._configurations.observed)
        self._configuration.add_listener(lambda *_: self._admission.enqueue(CONFIGURATION))
        self._spods.add_listener(lambda *_: self._admission.enqueue(CONFIGURATION))
        for secret in self._secrets:
            secret.add_listener(lambda *_: self._admission.enqueue(CERTIFICATES))
        self._bindings.add_listener(self._binding_changed)
        self._recordings.add_listener(self._recording_changed)
        self._profiles.add_listener(self._profile_changed)
        self._admission.enqueue(CERTIFICATES)
        self._admission.enqueue(CONFIGURATION)

    def _binding_changed(self, old: ProfileBinding | None, new: ProfileBinding | None) -> None:
        self._admission.enqueue(CONFIGURATION)
        self._pods.follow(one.metadata.namespace or "" for one in self._bindings.cache.list())
        for one in (old, new):
            if one is not None:
                # Which of several bindings decides may have changed for all of them.
                self._enqueue_bindings(one.metadata.namespace or "")
                self._of_bindings.enqueue(_request(one.metadata))

    def _recording_changed(self, old: ProfileRecording | None, new: ProfileRecording | None) -> None:
        self._admission.enqueue(CONFIGURATION)
        if changed := new or old:
            self._of_recordings.enqueue(_request(changed.metadata))

    def _profile_changed(self, old: SeccompProfile | None, new: SeccompProfile | None) -> None:
        changed = new or old
        if changed is None or (old is not None and new is not None):
            return
        for binding in self._bindings.cache.list(changed.metadata.namespace or ""):
            if binding.spec.profile_ref.name == changed.metadata.name:
                self._of_bindings.enqueue(_request(binding.metadata))

    def _scope_changed(self, webhook: str, namespace: str) -> None:
        if webhook == BINDING_WEBHOOK:
            self._enqueue_bindings(namespace)
        else:
            for recording in self._recordings.cache.list(namespace):
                self._of_recordings.enqueue(_request(recording.metadata))

    def _enqueue_bindings(self, namespace: str) -> None:
        for binding in self._bindings.cache.list(namespace):
            self._of_bindings.enqueue(_request(binding.metadata))

    def _namespaces(self) -> Mapping[str, frozenset[str]]:
        return {
            BINDING_WEBHOOK: _living(one.metadata for one in self._bindings.cache.list()),
            RECORDING_WEBHOOK: _living(one.metadata for one in self._recordings.cache.list()),
        }

    def _options(self) -> Mapping[str, WebhookOptions]:
        return {one.name: one for spod in self._spods.cache.list() for one in spod.spec.webhook_options}

    def _profile_exists(self, namespace: str, name: str) -> bool:
        try:
            return self._profiles.cache.get(namespace, name) is not None
        except UnreadableObjectError:
            return True

    async def _namespace_labels(self, namespace: str) -> Mapping[str, str]:
        return (await self._client.get(NAMESPACES, namespace)).metadata.labels


def _living(objects: Iterable[ObjectMeta]) -> frozenset[str]:
    return frozenset(one.namespace or "" for one in objects if not one.deletion_timestamp)


def _request(metadata: ObjectMeta) -> Request:
    return Request(metadata.namespace or "", metadata.name)


def _without_data(secret: Secret) -> ObjectMeta:
    return secret.metadata
