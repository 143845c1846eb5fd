"""What the manager keeps of pods that are recorded."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from spo.api.core import Pod
from spo.names import (
    TRACE_AVCS_ANNOTATION,
    TRACE_BPF_ANNOTATION,
    TRACE_LOGS_ANNOTATION,
    TRACE_SYSCALL_ANNOTATION,
)
from spo.recording.trace_annotation import RecordingRule, is_trace_value

_PREFIXES: Final = (
    TRACE_AVCS_ANNOTATION,
    TRACE_BPF_ANNOTATION,
    TRACE_LOGS_ANNOTATION,
    TRACE_SYSCALL_ANNOTATION,
)
_OVER: Final = frozenset({"Succeeded", "Failed"})


class RecordedPod(NamedTuple):
    """A pod with annotations that ask for a recording."""

    name: str
    uid: str
    labels: Mapping[str, str]
    traces: Mapping[str, str]
    """Annotations."""
    over: bool

    def recorded_by(self, rule: RecordingRule) -> frozenset[str]:
        """Names of the containers whose annotations a recording stands behind."""
        if not rule.prefix:
            return frozenset()
        names = {key[len(rule.prefix) :] for key in self.traces if key.startswith(rule.prefix)}
        return frozenset(
            name
            for name in names
            if rule.covers(name, self.labels) and is_trace_value(rule, name, self.traces[rule.prefix + name])
        )


def project_recorded_pod(pod: Pod) -> RecordedPod | None:
    """The record of a pod; ``None`` if nobody asked to record it."""
    metadata = pod.metadata
    traces = {key: value for key, value in metadata.annotations.items() if key.startswith(_PREFIXES)}
    if not traces:
        return None
    return RecordedPod(metadata.name, metadata.uid, metadata.labels, traces, pod.status.phase in _OVER)
