"""The annotations that ask for a container to be recorded, and which recordings may ask for it.

Written by the recording webhook; whoever acts on one compares it with the recordings of the pod's namespace,
because the author of a pod can write the same annotations by hand.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from spo.api.meta import LabelSelector
from spo.api.profile_recording import ProfileRecording, RecordedKind, Recorder
from spo.names import (
    HOOK_RECORDINGS_DIR,
    TRACE_AVCS_ANNOTATION,
    TRACE_BPF_ANNOTATION,
    TRACE_LOGS_ANNOTATION,
    TRACE_SYSCALL_ANNOTATION,
)
from spo.profiles.label_selector import check_selector, selects

_PREFIXES: Final[Mapping[tuple[str, str], str]] = {
    (RecordedKind.SECCOMP_PROFILE, Recorder.HOOK): TRACE_SYSCALL_ANNOTATION,
    (RecordedKind.SECCOMP_PROFILE, Recorder.LOGS): TRACE_LOGS_ANNOTATION,
    (RecordedKind.SECCOMP_PROFILE, Recorder.BPF): TRACE_BPF_ANNOTATION,
    (RecordedKind.SELINUX_PROFILE, Recorder.LOGS): TRACE_AVCS_ANNOTATION,
}
_HOOK_PREFIX: Final = f"of:{HOOK_RECORDINGS_DIR}/"
_HOOK_SUFFIX: Final = ".json"
_SECONDS: Final = re.compile(r"-[0-9]{1,12}", re.ASCII)

MAX_PROFILE_NAME: Final = 250
"""Longest name of a profile that can be a file; see :mod:`spo.profiles.paths`."""
MAX_FILE_NAME: Final = 255


class RecordingRule(NamedTuple):
    """A ProfileRecording, ready to be asked."""

    name: str
    prefix: str
    """Prefix of the annotations that it makes; empty if its recorder cannot record its kind."""
    kind: str
    recorder: str
    selector: LabelSelector
    containers: frozenset[str]
    """Names of the containers to record; empty: all."""

    def covers(self, container: str, labels: Mapping[str, str]) -> bool:
        """Whether it is about this container of a pod with these labels."""
        return (not self.containers or container in self.containers) and selects(self.selector, labels)


def recording_rule(recording: ProfileRecording) -> RecordingRule | None:
    """The rule of a recording; ``None`` if it is being deleted.

    Raises:
        InvalidSelectorError: its selector cannot be understood.
    """
    if recording.metadata.deletion_timestamp:
        return None
    spec = recording.spec
    check_selector(spec.pod_selector)
    prefix = _PREFIXES.get((spec.kind, spec.recorder), "")
    return RecordingRule(
        recording.metadata.name,
        prefix,
        spec.kind,
        spec.recorder,
        spec.pod_selector,
        frozenset(spec.containers),
    )


def profile_name(recording: str, container: str) -> str:
    """Name of the profile that a container's recording ends in, before a replica number is added."""
    return f"{recording}-{container}"


def trace_value(rule: RecordingRule, container: str, now_s: int) -> str:
    """Value of the annotation: ``<recording>-<container>-<unix seconds>``, for hooks as a file."""
    name = f"{profile_name(rule.name, container)}-{now_s}"
    if rule.prefix == TRACE_SYSCALL_ANNOTATION:
        return f"{_HOOK_PREFIX}{name}{_HOOK_SUFFIX}"
    return name


def is_trace_value(rule: RecordingRule, container: str, value: str) -> bool:
    """Whether ``value`` is what :func:`trace_value` makes for this recording and container, at any time."""
    if rule.prefix == TRACE_SYSCALL_ANNOTATION:
        if not value.startswith(_HOOK_PREFIX) or not value.endswith(_HOOK_SUFFIX):
            return False
        value = value[len(_HOOK_PREFIX) : -len(_HOOK_SUFFIX)]
    name = profile_name(rule.name, container)
    return value.startswith(name) and _SECONDS.fullmatch(value, len(name)) is not None
