"""Puts the profiles there that an installation has from the start."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from spo import klog
from spo.api.seccomp_profile import SECCOMP_PROFILES, SeccompProfile, SeccompProfileSpec
from spo.controller import DONE, Controller, Request, Result
from spo.kube.client import KubeClient
from spo.kube.clock import Clock
from spo.kube.errors import AlreadyExistsError, NotFoundError
from spo.manager.default_profile_data import DEFAULT_PROFILES
from spo.names import OPERATOR_NAME
from spo.settings import ManagerSettings

log = klog.get("spod-config")

_LABELS: Final = {"app": OPERATOR_NAME}


class DefaultProfileReconciler:
    """Creates a profile, or brings one that we made to the present version.

    A profile without our label is somebody's own: it stays as it is.
    """

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def reconcile(self, request: Request) -> Result:
        """See :class:`spo.controller.Reconciler`."""
        spec = DEFAULT_PROFILES[request.name]
        try:
            present = await self._client.get(SECCOMP_PROFILES, request.name, request.namespace)
        except NotFoundError:
            await self._create(request, spec)
            return DONE
        if present.metadata.labels.get("app") == OPERATOR_NAME and not _is(present, spec):
            await self._client.patch(SECCOMP_PROFILES, request.name, request.namespace, {"spec": spec})
            log.info("Updated a default profile", profile=request.name)
        return DONE

    async def _create(self, request: Request, spec: dict[str, Any]) -> None:
        metadata = {"name": request.name, "namespace": request.namespace, "labels": _LABELS}
        try:
            await self._client.create(
                SECCOMP_PROFILES, {"metadata": metadata, "spec": spec}, request.namespace
            )
        except AlreadyExistsError:
            return
        log.info("Created a default profile", profile=request.name)


def _is(profile: SeccompProfile, spec: dict[str, Any]) -> bool:
    return profile.spec == msgspec.convert(spec, SeccompProfileSpec)


class DefaultProfileControllers:
    """The work of the leader for these profiles: once, when it begins to lead.

    Not again when somebody deletes one: uninstalling begins with the profiles.
    """

    def __init__(self, client: KubeClient, settings: ManagerSettings, clock: Clock) -> None:
        self._settings = settings
        self._controller = Controller("defaultprofiles", DefaultProfileReconciler(client), clock=clock)

    @property
    def controllers(self) -> tuple[Controller, ...]:
        """Whose work ``/metrics`` shows."""
        return (self._controller,)

    async def run(self) -> None:
        """Work until cancelled."""
        for request in self._wanted():
            self._controller.enqueue(request)
        await self._controller.run()

    def _wanted(self) -> Iterator[Request]:
        own = self._settings.operator_namespace
        if not self._settings.default_profiles:
            return
        # Where they can be used as base profiles, if it is known where that is.
        for namespace in [one for one in self._settings.namespaces if one != own] or [own]:
            yield from (Request(namespace, name) for name in DEFAULT_PROFILES)
