"""What of pods matters to recordings from the audit log."""

from collections.abc import Iterable

import msgspec

from spo.daemon.recording.pods import PodRecord, TracedPod, annotated, project_pod
from spo.names import REPLACED_PROFILE_ANNOTATION, TRACE_AVCS_ANNOTATION, TRACE_LOGS_ANNOTATION


class LoggedPod(PodRecord, frozen=True):
    """A pod that is to be recorded from the log."""

    replaced: dict[str, str] = msgspec.field(default_factory=dict)
    """Container name -> seccomp profile that the recording has replaced."""
    denials: dict[str, str] = msgspec.field(default_factory=dict)
    """Container name -> value of the annotation that asks for a profile of SELinux."""


def project_logged_pod(pod: TracedPod) -> PodRecord:
    """The record of a pod; without annotations nothing but its uid."""
    annotations = pod.metadata.annotations
    denials = annotated(annotations, TRACE_AVCS_ANNOTATION)
    record = project_pod(pod, TRACE_LOGS_ANNOTATION)
    if not record.traces and not denials:
        return record
    if not record.traces:
        record = msgspec.structs.replace(
            record, namespace=pod.metadata.namespace or "", name=pod.metadata.name
        )
    fields = {name: getattr(record, name) for name in _FIELDS}
    return LoggedPod(**fields, replaced=annotated(annotations, REPLACED_PROFILE_ANNOTATION), denials=denials)


_FIELDS: Iterable[str] = PodRecord.__struct_fields__
