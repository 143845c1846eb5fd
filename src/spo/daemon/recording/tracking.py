"""What is being recorded on this node, in a form that survives the process."""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from spo.bpf.observation import Observation, Phase, SyscallClass
from spo.rpc.bpf_recorder import Losses, Seen

MAX_DONE: Final = 200
"""Ids of ended instances that are remembered; a container that crashes all the time has many."""

_NESTED: Final = "/"


class Spare(msgspec.Struct, omit_defaults=True):
    """A namespace of a recorded pod of which nobody has said which container it is."""

    key: int
    late: bool = False
    pause: bool = False
    """It looks like the one that only holds the pod's network."""


class TrackedContainer(msgspec.Struct, omit_defaults=True):
    """A container of a pod that is recorded; all its instances, one after the other, make one profile."""

    name: str
    recording: str
    """Name of the ProfileRecording."""
    trace: str = ""
    """Value of the annotation."""
    no_new_privileges: bool = False
    profile: str = ""
    """Localhost profile that it runs under."""
    partial: bool = False
    """Its profile is to be merged with those of other pods."""
    disabled: bool = False
    """Its profile is not to be installed."""
    keys: dict[str, int] = {}
    """Instance -> key at the recorder, of instances that may still be running; see :func:`instance_of`."""
    done: list[str] = []
    """Ids of instances whose calls are in ``seen``."""
    seen: list[Seen] = []
    late: bool = False
    told_late: bool = False
    missed: bool = False
    """An instance ran of which the recorder knows nothing, or nothing any more."""
    snapshot: str = ""
    """The last snapshot that its profile was written for."""

    @property
    def observation(self) -> Observation:
        """What the instances that have ended did."""
        return observation_of(self.seen)

    def add(self, observation: Observation) -> None:
        """Add the calls of an instance that has ended."""
        self.seen = list(seen_of(self.observation | observation))

    def end(self, container_id: str) -> None:
        """Note that nothing more will come of an instance."""
        self.keys.pop(container_id, None)
        self.done = [*self.done, container_id][-MAX_DONE:]


class LogProgress(msgspec.Struct, omit_defaults=True, frozen=True):
    """What may be missing of a pod that is recorded from the audit log."""

    session: str = ""
    """The run of the log enricher that told last."""
    counted: int = 0
    """Records that this run had lost by then."""
    through: int = 0
    """Serial number of the audit event up to which all was told; 0: not known."""
    lost: int = 0
    """Records that may be missing."""


class TrackedPod(msgspec.Struct, omit_defaults=True):
    """A pod with containers that are recorded."""

    uid: str
    namespace: str
    name: str
    created: str = ""
    generated: bool = False
    owner_uid: str = ""
    losses: Losses | None = None
    """The recorder's counters when the pod was accepted; ``None`` before it was at hand."""
    runtime: str = ""
    """Name of the container runtime, if it was seen at work."""
    containers: list[TrackedContainer] = []
    spare: dict[str, Spare] = {}
    """By container id."""
    log: LogProgress | None = None
    """``None`` before the log enricher has told anything."""
    told_absent: bool = False
    """Users know that the log enricher does not run."""

    def container(self, name: str) -> TrackedContainer | None:
        """The container with this name, if it is recorded."""
        return next((one for one in self.containers if one.name == name), None)

    def knows(self, container_id: str) -> bool:
        """Whether the id belongs to an instance of a recorded container."""
        return any(container_id in one.keys or container_id in one.done for one in self.containers)

    def instance_of(self, container_id: str, key: int) -> str | None:
        """Under which name to track a namespace; ``None`` if it is tracked already.

        The first namespace of a container has its id; those that the program makes itself, with
        ``unshare -m``, have the key behind it.
        """
        if key in self.keys():
            return None
        if self.knows(container_id) or container_id in self.spare:
            return f"{container_id}{_NESTED}{key}"
        return container_id

    def keys(self) -> Iterator[int]:
        """All keys that the recorder keeps for the pod."""
        for spare in self.spare.values():
            yield spare.key
        for one in self.containers:
            yield from one.keys.values()


class Tracked(msgspec.Struct, omit_defaults=True):
    """Everything; what the checkpoint holds."""

    pods: dict[str, TrackedPod] = {}
    """By uid."""


_KINDS = frozenset((int(cls), int(phase)) for cls in SyscallClass for phase in Phase)


def container_id_of(instance: str) -> str:
    """The id of the container that a namespace belongs to."""
    return instance.partition(_NESTED)[0]


def is_nested(instance: str) -> bool:
    """Whether the program has made the namespace: all calls there are its own."""
    return _NESTED in instance


def observation_of(seen: Iterable[Seen]) -> Observation:
    """From the form of messages."""
    return Observation(
        {
            (SyscallClass(one.syscall_class), Phase(one.phase)): one.numbers
            for one in seen
            if (one.syscall_class, one.phase) in _KINDS
        }
    )


def seen_of(observation: Observation) -> Iterator[Seen]:
    """To the form of messages."""
    for cls, phase in ((cls, phase) for cls in SyscallClass for phase in Phase):
        if numbers := observation.numbers(cls, phase):
            yield Seen(int(cls), int(phase), sorted(numbers))


def lost_since(before: Losses, now: Losses) -> int:
    """How many observations were lost since; counters that were reset count from zero."""
    return sum(
        later - earlier if later >= earlier else later
        for earlier, later in zip(msgspec.structs.astuple(before), msgspec.structs.astuple(now), strict=True)
    )


def runtime_of(comm: str) -> str:
    """The container runtime that a task of this name belongs to; empty if it is none that we know."""
    if comm.startswith("runc"):
        return "runc"
    return "crun" if comm.startswith("crun") else ""
