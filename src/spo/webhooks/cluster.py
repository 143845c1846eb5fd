"""What the webhooks know of the cluster: bindings, recordings and profiles, each in a few words."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from spo.api.meta import Condition, ObjectMeta
from spo.api.profile_binding import PROFILE_BINDINGS
from spo.api.profile_recording import PROFILE_RECORDINGS
from spo.api.resource import Resource
from spo.api.seccomp_profile import SECCOMP_PROFILES
from spo.kube.cache import Cache
from spo.kube.client import KubeClient
from spo.kube.clock import SYSTEM_CLOCK, Clock
from spo.kube.errors import KubeError, NotFoundError, UnreadableObjectError
from spo.kube.informer import Informer
from spo.profiles.binding_rule import BindingRule, rule_of
from spo.profiles.release import READY
from spo.recording.trace_annotation import RecordingRule, recording_rule
from spo.webhooks.binding import Availability
from spo.webhooks.review import UnreadableRuleError

LOOK_AGAIN_S: Final = 5.0
"""The API server gives a webhook 10 s."""


class _ProfileBriefStatus(msgspec.Struct, rename="camel"):
    conditions: list[Condition] = []


class _ProfileBrief(msgspec.Struct, rename="camel"):
    """A SeccompProfile without its rules."""

    metadata: ObjectMeta
    status: _ProfileBriefStatus | None = None


_PROFILES: Final = Resource(
    SECCOMP_PROFILES.group,
    SECCOMP_PROFILES.version,
    SECCOMP_PROFILES.kind,
    SECCOMP_PROFILES.plural,
    True,
    _ProfileBrief,
)


class CachedRules:
    """Answers from informers; see :class:`spo.webhooks.review.Rules`."""

    def __init__(
        self, client: KubeClient, namespaces: Sequence[str] = (), *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._client = client
        self._bindings: Informer[BindingRule] = Informer(
            client, PROFILE_BINDINGS, namespaces, project=rule_of, clock=clock
        )
        self._recordings: Informer[RecordingRule] = Informer(
            client, PROFILE_RECORDINGS, namespaces, project=recording_rule, clock=clock
        )
        self._profiles: Informer[Availability] = Informer(
            client, _PROFILES, namespaces, project=_availability, clock=clock
        )
        self.informers: Final = (self._bindings, self._recordings, self._profiles)

    def bindings(self, namespace: str) -> list[BindingRule]:
        """See :class:`spo.webhooks.review.Rules`."""
        _all_readable(PROFILE_BINDINGS, self._bindings.cache, namespace)
        return self._bindings.cache.list(namespace)

    def recordings(self, namespace: str) -> list[RecordingRule]:
        """See :class:`spo.webhooks.review.Rules`."""
        _all_readable(PROFILE_RECORDINGS, self._recordings.cache, namespace)
        return self._recordings.cache.list(namespace)

    def profile(self, namespace: str, name: str) -> Availability:
        """See :class:`spo.webhooks.review.Rules`."""
        try:
            return self._profiles.cache.get(namespace, name) or Availability.MISSING
        except UnreadableObjectError:
            return Availability.NOT_INSTALLED

    async def look_again(self, namespace: str, name: str) -> Availability:
        """See :class:`spo.webhooks.review.Rules`."""
        try:
            async with asyncio.timeout(LOOK_AGAIN_S):
                return _availability(await self._client.get(_PROFILES, name, namespace))
        except NotFoundError:
            return Availability.MISSING
        except UnreadableObjectError:
            return Availability.NOT_INSTALLED
        except (KubeError, TimeoutError):
            return self.profile(namespace, name)


def _availability(profile: _ProfileBrief) -> Availability:
    if profile.metadata.deletion_timestamp:
        return Availability.DELETING
    conditions = profile.status.conditions if profile.status else []
    ready = any(one.type == READY and one.status == "True" for one in conditions)
    return Availability.USABLE if ready else Availability.NOT_INSTALLED


def _all_readable(resource: Resource[Any], cache: Cache[Any], namespace: str) -> None:
    for key, problem in cache.unreadable.items():
        if key.namespace == namespace:
            raise UnreadableRuleError(resource.kind, namespace, key.name, problem)
