"""Keeps the profile at hand that allows and logs everything, under which ``logs`` recordings run pods."""

from collections.abc import Callable
from typing import Final

from spo import klog
from spo.api.meta import ObjectMeta
from spo.api.profile_recording import ProfileRecording, Recorder
from spo.api.seccomp_profile import SECCOMP_PROFILES, Action, SeccompProfile, SeccompProfileSpec
from spo.api.spod import SecurityProfilesOperatorDaemon
from spo.controller import DONE, Controller, Request, Result
from spo.kube.client import KubeClient
from spo.kube.clock import Clock
from spo.kube.errors import AlreadyExistsError
from spo.kube.informer import Informer
from spo.names import LOG_PROFILE_NAME, OPERATOR_NAME

log = klog.get("spod-config")


def log_profile(namespace: str) -> SeccompProfile:
    """The object."""
    metadata = ObjectMeta(name=LOG_PROFILE_NAME, namespace=namespace, labels={"app": OPERATOR_NAME})
    return SeccompProfile(metadata=metadata, spec=SeccompProfileSpec(default_action=Action.LOG))


class LogProfileReconciler:
    """Creates it when it is needed.

    What is there already stays as it is, and who deletes it while it is needed is taken at his word, until
    the next recording: otherwise nobody could uninstall the operator as documented, profiles first.
    """

    def __init__(self, client: KubeClient, is_needed: Callable[[], bool]) -> None:
        self._client = client
        self._is_needed = is_needed

    async def reconcile(self, request: Request) -> Result:
        """See :class:`spo.controller.Reconciler`."""
        if not self._is_needed():
            return DONE
        try:
            await self._client.create(SECCOMP_PROFILES, log_profile(request.namespace))
        except AlreadyExistsError:
            return DONE
        log.info("Created the profile for recorder logs", profile=LOG_PROFILE_NAME)
        return DONE


class LogProfileControllers:
    """The work of the leader for this profile; made anew each time it leads.

    Args:
        recordings, spods: informers that run.
    """

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        recordings: Informer[ProfileRecording],
        spods: Informer[SecurityProfilesOperatorDaemon],
        clock: Clock,
    ) -> None:
        self._recordings = recordings
        self._spods = spods
        self._request: Final = Request(namespace, LOG_PROFILE_NAME)
        self._controller = Controller(
            "logprofile", LogProfileReconciler(client, self._is_needed), clock=clock
        )

    @property
    def controllers(self) -> tuple[Controller, ...]:
        """Whose work ``/metrics`` shows."""
        return (self._controller,)

    async def run(self) -> None:
        """Work until cancelled; the informers have their first lists."""
        self._recordings.add_listener(self._recording_changed)
        self._spods.add_listener(self._spod_changed)
        self._controller.enqueue(self._request)
        await self._controller.run()

    def _recording_changed(self, old: ProfileRecording | None, new: ProfileRecording | None) -> None:
        if new is not None and _logs(new) and not (old is not None and _logs(old)):
            self._controller.enqueue(self._request)

    def _spod_changed(
        self, old: SecurityProfilesOperatorDaemon | None, new: SecurityProfilesOperatorDaemon | None
    ) -> None:
        if new is not None and _enriches(new) and not (old is not None and _enriches(old)):
            self._controller.enqueue(self._request)

    def _is_needed(self) -> bool:
        return any(map(_enriches, self._spods.cache.list())) or any(map(_logs, self._recordings.cache.list()))


def _logs(recording: ProfileRecording) -> bool:
    return recording.spec.recorder == Recorder.LOGS and not recording.metadata.deletion_timestamp


def _enriches(spod: SecurityProfilesOperatorDaemon) -> bool:
    return spod.spec.enable_log_enricher and not spod.metadata.deletion_timestamp
