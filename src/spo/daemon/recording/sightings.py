"""Namespaces that the recorder told of and nobody has decided on."""

from collections.abc import Iterable
from typing import Final

import msgspec

from spo.daemon.recording.tracking import runtime_of
from spo.rpc.bpf_recorder import Identified

NO_POD_S: Final = 20.0
"""How long a container that no cgroup names the pod of may wait for a status that names the container."""
UNKNOWN_POD_S: Final = 60.0
"""How long a container may wait for its pod to be seen. The recorder itself waits for two minutes."""
PAUSE: Final = frozenset({"pause", "catatonit"})
"""Names of programs that do nothing but hold the namespaces of a pod."""


class Sighting(msgspec.Struct):
    """A namespace of a container."""

    key: int
    container_id: str
    pod_uid: str
    """Empty if it is not known."""
    comm: str
    late: bool
    runtime: str
    since_s: float


class Sightings:
    """By key, in the order in which they were seen first."""

    def __init__(self) -> None:
        self._by_key: dict[int, Sighting] = {}

    def add(self, event: Identified, now_s: float) -> Sighting:
        """Note an event; a later one of the same namespace knows better."""
        before = self._by_key.get(event.key)
        runtime = runtime_of(event.comm)
        if before is not None:
            runtime, now_s = runtime or before.runtime, before.since_s
        sighting = Sighting(
            event.key, event.container_id, event.pod_uid or "", event.comm, event.late, runtime, now_s
        )
        self._by_key[event.key] = sighting
        return sighting

    def all(self) -> list[Sighting]:
        """Every sighting."""
        return list(self._by_key.values())

    def of(self, pod_uid: str, container_ids: Iterable[str]) -> list[Sighting]:
        """Those of a pod, by its uid or by its containers."""
        ids = frozenset(container_ids)
        return [one for one in self._by_key.values() if one.pod_uid == pod_uid or one.container_id in ids]

    def drop(self, key: int) -> None:
        """It is decided on."""
        self._by_key.pop(key, None)

    def clear(self) -> None:
        """The recorder will tell of all again."""
        self._by_key.clear()


def waits(sighting: Sighting, now_s: float) -> bool:
    """Whether somebody may still want a namespace whose pod is not known."""
    limit_s = UNKNOWN_POD_S if sighting.pod_uid else NO_POD_S
    return now_s - sighting.since_s < limit_s
