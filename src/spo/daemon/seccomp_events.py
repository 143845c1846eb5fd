"""What users hear about the profiles of this node: events on the objects, and counters."""

from spo.api.core import ObjectReference
from spo.api.node_status import PROFILE_NODE_STATUSES
from spo.api.seccomp_profile import SECCOMP_PROFILES, SeccompProfile
from spo.daemon.metrics import SeccompProfileMetrics
from spo.kube.events import NORMAL, WARNING, EventRecorder, reference

CANNOT_UPDATE_NODE_STATUS = "CannotUpdateNodeStatus"


class SeccompProfileEvents:
    """Counts and tells; see :class:`spo.daemon.seccomp_profile.Announcer`."""

    def __init__(
        self,
        recorder: EventRecorder,
        metrics: SeccompProfileMetrics,
        node_name: str,
        operator_namespace: str,
    ) -> None:
        self._recorder = recorder
        self._metrics = metrics
        self._node_name = node_name
        self._operator_namespace = operator_namespace

    def saved(self, profile: SeccompProfile) -> None:
        """The file has new content."""
        self._metrics.updated()
        message = f"Successfully saved profile to disk on {self._node_name}"
        self._recorder.event(reference(SECCOMP_PROFILES, profile), NORMAL, "SavedSeccompProfile", message)

    def removed(self) -> None:
        """A file was removed."""
        self._metrics.deleted()

    def failed(self, profile: SeccompProfile | None, reason: str, message: str) -> None:
        """Something went wrong; an object that is gone gets no event, the log has the error."""
        self._metrics.failed(reason)
        if profile is not None:
            about = reference(SECCOMP_PROFILES, profile)
            self._recorder.event(about, WARNING, reason, message, {"node": self._node_name})

    def node_status_failed(self, message: str) -> None:
        """The status of this node could not be written; it is tried again."""
        self._metrics.failed(CANNOT_UPDATE_NODE_STATUS)
        about = ObjectReference(
            api_version=PROFILE_NODE_STATUSES.api_version,
            kind=PROFILE_NODE_STATUSES.kind,
            name=self._node_name,
            namespace=self._operator_namespace,
        )
        self._recorder.event(about, WARNING, CANNOT_UPDATE_NODE_STATUS, message)
