"""What the daemon keeps of the recordings of the cluster."""

from typing import NamedTuple

import msgspec

from spo.api.profile_recording import MergeStrategy, ProfileRecording
from spo.names import SNAPSHOT_ANNOTATION
from spo.recording.trace_annotation import RecordingRule, recording_rule


class RecordingRecord(NamedTuple):
    """A ProfileRecording."""

    namespace: str
    rule: RecordingRule
    deleted: str
    """When its deletion was asked for; empty: it was not. Pods from before are recorded to their end."""
    partial: bool
    """Its profiles are to be merged."""
    disabled: bool
    """Its profiles are not to be installed."""
    snapshot: str
    """The snapshot that somebody asked for, RFC 3339."""

    def applies_to(self, created: str) -> bool:
        """Whether it is about a pod that was created then."""
        return not self.deleted or created <= self.deleted


def project_recording(recording: ProfileRecording) -> RecordingRecord | None:
    """The record; ``None`` if its recorder cannot record its kind.

    Raises:
        InvalidSelectorError: its selector cannot be understood.
    """
    metadata, spec = recording.metadata, recording.spec
    alive = msgspec.structs.replace(metadata, deletion_timestamp=None)
    rule = recording_rule(msgspec.structs.replace(recording, metadata=alive))
    if rule is None or not rule.prefix:
        return None
    return RecordingRecord(
        metadata.namespace or "",
        rule,
        metadata.deletion_timestamp or "",
        spec.merge_strategy == MergeStrategy.CONTAINERS,
        spec.disable_profile_after_recording,
        metadata.annotations.get(SNAPSHOT_ANNOTATION, ""),
    )
