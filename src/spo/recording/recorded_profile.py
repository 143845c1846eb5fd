"""Pure: what a recorded SeccompProfile says about its origin, and which ones a recording may write."""

from collections.abc import Mapping
from enum import Enum
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from spo.api.seccomp_profile import SeccompProfile
from spo.names import (
    CONTAINER_LABEL,
    PARTIAL_LABEL,
    RECORDED_OWNER_LABEL,
    RECORDED_POD_LABEL,
    RECORDED_UNDER_ANNOTATION,
    RECORDING_LABEL,
    RECORDING_LATE_ANNOTATION,
    RECORDING_LOST_ANNOTATION,
    RUNTIME_BASE_ANNOTATION,
    SNAPSHOT_OF_ANNOTATION,
    SYSCALL_COVERAGE_ANNOTATION,
    SYSCALLS_BY_ARCHITECTURE_ANNOTATION,
)
from spo.profiles.withheld import is_partial
from spo.recording.trace_annotation import profile_name
from spo.recording.union import union

_MAX_LABEL: Final = 63
_KEPT: Final = 30
TRUE: Final = "true"

OUR_ANNOTATIONS: Final = (
    RUNTIME_BASE_ANNOTATION,
    SYSCALLS_BY_ARCHITECTURE_ANNOTATION,
    RECORDING_LATE_ANNOTATION,
    RECORDING_LOST_ANNOTATION,
    RECORDED_UNDER_ANNOTATION,
    SNAPSHOT_OF_ANNOTATION,
    SYSCALL_COVERAGE_ANNOTATION,
)
"""All that a recording says in annotations; a later recording replaces every one of them."""

OUR_LABELS: Final = (
    RECORDING_LABEL,
    CONTAINER_LABEL,
    PARTIAL_LABEL,
    RECORDED_POD_LABEL,
    RECORDED_OWNER_LABEL,
)


class Origin(NamedTuple):
    """What was recorded."""

    recording: str
    """Name of the ProfileRecording."""
    container: str
    pod_uid: str
    owner_uid: str
    """Uid of the controller that makes pods from a template; empty for a pod of its own."""
    numbered: bool
    """The name gets a number: there may be several pods of the kind."""
    partial: bool = False
    """One of several that are to be merged."""

    @property
    def base_name(self) -> str:
        """Name of the profile, without a number."""
        return profile_name(self.recording, self.container)

    def labels(self) -> dict[str, str]:
        """Labels of its profile."""
        labels = {
            RECORDING_LABEL: recording_label(self.recording),
            CONTAINER_LABEL: self.container,
            RECORDED_POD_LABEL: self.pod_uid,
        }
        if self.owner_uid:
            labels[RECORDED_OWNER_LABEL] = self.owner_uid
        if self.partial:
            labels[PARTIAL_LABEL] = TRUE
        return labels


class Relation(Enum):
    """What an existing profile with a wanted name is to a recording."""

    OWN = "own"
    """Made from the same pod: a retry, a snapshot before."""
    EARLIER = "earlier"
    """Made by the same recording from the same container of another pod; it may be replaced."""
    TAKEN = "taken"
    """Made by the same recording from another pod that counts as well."""
    FOREIGN = "foreign"
    """Not of this recording and container: never to be touched."""


def recording_label(recording: str) -> str:
    """Value of the label for a recording: its name, or for a long one a part of it and a digest."""
    if len(recording) <= _MAX_LABEL:
        return recording
    digest = sha256(recording.encode()).hexdigest()
    return f"{recording[:_KEPT].rstrip('.-')}-{digest[: _MAX_LABEL - _KEPT - 1]}"


def relation(profile: SeccompProfile, origin: Origin) -> Relation:
    """How ``profile``, which has the name that is wanted for ``origin``, relates to it."""
    labels = profile.metadata.labels
    of_recording = labels.get(RECORDING_LABEL) == recording_label(origin.recording)
    if not of_recording or labels.get(CONTAINER_LABEL) != origin.container:
        return Relation.FOREIGN
    if labels.get(RECORDED_POD_LABEL) == origin.pod_uid:
        return Relation.OWN
    if not origin.numbered:
        return Relation.EARLIER
    # Profiles that wait to be merged hold what no other profile may hold yet.
    same_owner = labels.get(RECORDED_OWNER_LABEL, "") == origin.owner_uid
    return Relation.TAKEN if same_owner or is_partial(profile) or origin.partial else Relation.EARLIER


def first_number(taken: Mapping[int, Relation]) -> int:
    """The number to try first: our own, else the lowest that is free or may be replaced."""
    own = [number for number, what in taken.items() if what is Relation.OWN]
    if own:
        return min(own)
    number = 0
    while taken.get(number) in {Relation.TAKEN, Relation.FOREIGN}:
        number += 1
    return number


def number_in(name: str, base_name: str) -> int | None:
    """The number of ``<base_name>-<n>``; ``None`` for another name."""
    prefix, _, digits = name.rpartition("-")
    canonical = digits.isascii() and digits.isdecimal() and str(int(digits[:9])) == digits
    return int(digits) if prefix == base_name and canonical else None


def replacement(present: SeccompProfile, wanted: SeccompProfile, *, add_only: bool) -> SeccompProfile:
    """What to store in the place of ``present``: ``wanted``, but while pods use it nothing is taken away.

    Args:
        add_only: nothing is taken away in any case.

    Raises:
        NotMergeableError: pods use it, and it has a base profile or a listener.
        AnnotationError: pods use it, and somebody has changed our annotations.
    """
    if not add_only and not (present.status and present.status.active_workloads):
        return wanted
    both = union([present, wanted])
    ours = {key: value for key, value in both.metadata.annotations.items() if key in OUR_ANNOTATIONS}
    metadata = msgspec.structs.replace(wanted.metadata, annotations=ours | _about_run(wanted))
    return msgspec.structs.replace(wanted, metadata=metadata, spec=both.spec)


def _about_run(profile: SeccompProfile) -> dict[str, str]:
    """Annotations about the run itself; those about the rules are made anew by a union."""
    about_rules = {RUNTIME_BASE_ANNOTATION, SYSCALLS_BY_ARCHITECTURE_ANNOTATION}
    return {key: value for key, value in profile.metadata.annotations.items() if key not in about_rules}


def patch_of(present: SeccompProfile, wanted: SeccompProfile) -> dict[str, object]:
    """A merge patch from ``present`` to ``wanted``; labels and annotations of others stay."""
    spec = msgspec.to_builtins(wanted.spec)
    gone = {key: None for key in msgspec.to_builtins(present.spec) if key not in spec}
    labels: dict[str, str | None] = {
        key: None for key in OUR_LABELS if key in present.metadata.labels
    } | wanted.metadata.labels
    annotations: dict[str, str | None] = {
        key: None for key in OUR_ANNOTATIONS if key in present.metadata.annotations
    } | wanted.metadata.annotations
    metadata = {
        "resourceVersion": present.metadata.resource_version,
        "labels": labels,
        "annotations": annotations,
    }
    return {"metadata": metadata, "spec": {**gone, **spec}}
