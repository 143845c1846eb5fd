"""The API server's side of profiles, as the manager writes them: counts and checks every write."""

import msgspec

from spo.api.seccomp_profile import SeccompProfile, SeccompProfileStatus
from spo.kube.errors import NotFoundError
from spo.manager.seccomp_profile import FinalizerChange


class InMemoryProfiles:
    """See :class:`spo.manager.seccomp_profile.Profiles`.

    As the API server it refuses new finalizers on an object that is being deleted, and removes one whose
    last finalizer goes.
    """

    def __init__(self, *profiles: SeccompProfile) -> None:
        self.stored = {(one.metadata.namespace, one.metadata.name): one for one in profiles}
        self.status_writes: list[SeccompProfileStatus] = []
        self.finalizer_writes: list[list[str]] = []
        self.vanished = False
        """Every write finds the object gone."""

    @property
    def writes(self) -> int:
        return len(self.status_writes) + len(self.finalizer_writes)

    def put(self, profile: SeccompProfile) -> None:
        self.stored[profile.metadata.namespace, profile.metadata.name] = profile

    def get(self, namespace: str, name: str) -> SeccompProfile | None:
        return self.stored.get((namespace, name))

    async def change_finalizers(self, profile: SeccompProfile, change: FinalizerChange) -> SeccompProfile:
        one = self._present(profile)
        wanted = change(one)
        added = set(wanted) - set(one.metadata.finalizers)
        assert not (one.metadata.deletion_timestamp and added), (
            "the API refuses finalizers on a deleted object"
        )
        self.finalizer_writes.append(wanted)
        metadata = msgspec.structs.replace(one.metadata, finalizers=wanted)
        changed = msgspec.structs.replace(one, metadata=metadata)
        self.put(changed)
        if one.metadata.deletion_timestamp and not wanted:
            del self.stored[one.metadata.namespace, one.metadata.name]
        return changed

    async def write_status(self, profile: SeccompProfile, status: SeccompProfileStatus) -> SeccompProfile:
        changed = msgspec.structs.replace(self._present(profile), status=status)
        self.status_writes.append(status)
        self.put(changed)
        return changed

    def _present(self, profile: SeccompProfile) -> SeccompProfile:
        found = self.stored.get((profile.metadata.namespace, profile.metadata.name))
        if found is None or self.vanished:
            raise NotFoundError(404, "NotFound", "gone")
        return found
