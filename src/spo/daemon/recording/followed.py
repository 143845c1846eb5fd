"""What all recorders of a node follow: its pods and the recordings, with one watch of each."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from spo.api.profile_recording import PROFILE_RECORDINGS
from spo.api.seccomp_profile import SeccompProfile
from spo.daemon.recording.logged_pods import project_logged_pod
from spo.daemon.recording.pods import TRACED_PODS, PodRecord, TracedPod, project_pod
from spo.daemon.recording.recordings import RecordingRecord, project_recording
from spo.kube.cache import Cache
from spo.kube.client import KubeClient
from spo.kube.clock import Clock
from spo.kube.informer import Informer
from spo.names import TRACE_BPF_ANNOTATION, TRACE_SYSCALL_ANNOTATION
from spo.settings import DaemonSettings

PodListener = Callable[[PodRecord | None, PodRecord | None], None]
RecordingListener = Callable[[RecordingRecord | None, RecordingRecord | None], None]


class TracedBy(NamedTuple):
    """A pod as each recorder sees it."""

    bpf: PodRecord
    hook: PodRecord
    logs: PodRecord


class Followed:
    """See the module; ``profiles`` are of the daemon's own informer."""

    def __init__(
        self, client: KubeClient, settings: DaemonSettings, profiles: Cache[SeccompProfile], clock: Clock
    ) -> None:
        self.profiles: Final = profiles
        self._pods: Informer[TracedBy] = Informer(
            client,
            TRACED_PODS,
            settings.namespaces,
            project=_traced_by,
            field_selector=f"spec.nodeName={settings.node_name}",
            clock=clock,
        )
        self._recordings: Informer[RecordingRecord] = Informer(
            client, PROFILE_RECORDINGS, settings.namespaces, project=project_recording, clock=clock
        )

    @property
    def informers(self) -> Sequence[Informer[Any]]:
        """What has to be followed, and known before recorders run."""
        return (self._pods, self._recordings)

    @property
    def recordings(self) -> Cache[RecordingRecord]:
        """All recordings, of every recorder."""
        return self._recordings.cache

    def listen(
        self, view: Callable[[TracedBy], PodRecord], pods: PodListener, recordings: RecordingListener
    ) -> None:
        """Tell a recorder of what is there, and of what changes.

        Args:
            view: which part of a pod it sees.
            pods: told of pods.
            recordings: told of all recordings.
        """
        self._pods.add_listener(lambda old, new: pods(old and view(old), new and view(new)))
        self._recordings.add_listener(recordings)


def _traced_by(pod: TracedPod) -> TracedBy:
    bpf = project_pod(pod, TRACE_BPF_ANNOTATION)
    return TracedBy(bpf, project_pod(pod, TRACE_SYSCALL_ANNOTATION), project_logged_pod(pod))
