"""Which profiles to look at when a profile, a node status, a pod or a node changes."""

from collections.abc import Callable
from typing import Final

from spo.api.node_status import StatusKey
from spo.api.seccomp_profile import SECCOMP_PROFILES, SeccompProfile
from spo.controller import Request
from spo.kube.cache import Cache
from spo.kube.clock import Clock, Timer
from spo.manager.cluster_view import ClusterView
from spo.manager.liveness import NodeLiveness
from spo.manager.records import NodeReport, NodeState, PodRecord
from spo.profiles.file_owner import file_stem, names_of_file
from spo.profiles.paths import ProfileKey

ALL_DELAY_S: Final = 0.05
"""How long changes of the set of nodes are collected: each concerns every profile."""


class Wakeups:
    """Listens to the caches and enqueues the profiles whose status or finalizers may have to change."""

    def __init__(
        self,
        enqueue: Callable[[Request], None],
        profiles: Cache[SeccompProfile],
        view: ClusterView,
        liveness: NodeLiveness,
        clock: Clock,
    ) -> None:
        self._enqueue = enqueue
        self._profiles = profiles
        self._view = view
        self._liveness = liveness
        self._clock = clock
        self._all: Timer | None = None

    def profile_changed(self, old: SeccompProfile | None, new: SeccompProfile | None) -> None:
        """Listener of the profiles."""
        changed = new or old
        if changed is None:
            return
        namespace, name = changed.metadata.namespace or "", changed.metadata.name
        self._enqueue(Request(namespace, name))
        if old is None or new is None:
            # The other object with the same file may have gained or lost its users.
            self._enqueue_file(ProfileKey(namespace, file_stem(name)))

    def report_changed(self, old: NodeReport | None, new: NodeReport | None) -> None:
        """Listener of the node statuses."""
        before = old.states.by_key if old else {}
        after = new.states.by_key if new else {}
        for key in before.keys() | after.keys():
            if before.get(key) != after.get(key) and (request := _request(key)):
                self._enqueue(request)

    def pod_changed(self, old: PodRecord | None, new: PodRecord | None) -> None:
        """Listener of the pods."""
        references: set[ProfileKey] = set()
        for record in (old, new):
            references.update(record.references if record else ())
        for file in references:
            self._enqueue_file(file)
        if (old.spod_node if old else "") != (new.spod_node if new else ""):
            self._nodes_changed()

    def node_changed(self, old: NodeState | None, new: NodeState | None) -> None:
        """Listener of the nodes."""
        if new is not None:
            self._liveness.set_node(new.name, ready=new.ready, now=self._clock.monotonic())
        elif old is not None:
            self._liveness.remove_node(old.name)
        self._nodes_changed()

    def _nodes_changed(self) -> None:
        if self._all is None:
            self._all = self._clock.call_later(ALL_DELAY_S, self._enqueue_all)

    def _enqueue_all(self) -> None:
        self._all = None
        self._liveness.set_spod_nodes(self._view.desired_nodes(), now=self._clock.monotonic())
        for profile in self._profiles.list():
            self._enqueue(Request(profile.metadata.namespace or "", profile.metadata.name))

    def _enqueue_file(self, file: ProfileKey) -> None:
        for name in names_of_file(file.name):
            self._enqueue(Request(file.namespace, name))


def _request(key: str) -> Request | None:
    """The profile that a key of a node status names, ``None`` for other kinds."""
    about = StatusKey.parse(key)
    return Request(about.namespace, about.name) if about and about.kind == SECCOMP_PROFILES.kind else None
