"""Pure: from the profiles of single pods to the one that is wanted, and to what a recording's status says."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from spo.api.meta import ObjectMeta
from spo.api.profile_recording import RecordedContainer
from spo.api.seccomp_profile import SeccompProfile
from spo.names import (
    CONTAINER_LABEL,
    PARTIAL_LABEL,
    RECORDED_POD_LABEL,
    RECORDING_LABEL,
    RECORDING_LATE_ANNOTATION,
    RECORDING_LOST_ANNOTATION,
    RUNTIME_BASE_ANNOTATION,
    SYSCALL_COVERAGE_ANNOTATION,
    SYSCALLS_BY_ARCHITECTURE_ANNOTATION,
)
from spo.recording.annotations import AnnotationError, compact, passing, runtime_base
from spo.recording.union import union

MAX_CONTAINERS: Final = 256
_ABOUT_RULES: Final = (RUNTIME_BASE_ANNOTATION, SYSCALLS_BY_ARCHITECTURE_ANNOTATION)
_OF_ALL: Final = (RECORDING_LABEL, CONTAINER_LABEL)


def by_container(profiles: Iterable[SeccompProfile]) -> dict[str, list[SeccompProfile]]:
    """Recorded profiles, by the container they are from; names and profiles sorted."""
    found: dict[str, list[SeccompProfile]] = {}
    for profile in sorted(profiles, key=lambda one: one.metadata.name):
        if container := profile.metadata.labels.get(CONTAINER_LABEL):
            found.setdefault(container, []).append(profile)
    return dict(sorted(found.items()))


def merged(name: str, partials: Sequence[SeccompProfile]) -> SeccompProfile:
    """One profile that lets pass what any of ``partials`` does, with how many of them made each syscall.

    Raises:
        NotMergeableError, AnnotationError: somebody has changed one of them.
    """
    whole = union(partials)
    annotations = {key: value for key, value in whole.metadata.annotations.items() if key in _ABOUT_RULES}
    annotations[RECORDING_LOST_ANNOTATION] = str(sum(lost_of(one) for one in partials))
    if any(RECORDING_LATE_ANNOTATION in one.metadata.annotations for one in partials):
        annotations[RECORDING_LATE_ANNOTATION] = "true"
    counts = Counter(syscall for one in partials for syscall in passing(one.spec))
    annotations[SYSCALL_COVERAGE_ANNOTATION] = compact(
        {"version": "v1", "total": len(partials), "syscalls": dict(sorted(counts.items()))}
    )
    labels = {key: value for key, value in partials[0].metadata.labels.items() if key in _OF_ALL}
    metadata = ObjectMeta(
        name=name, namespace=partials[0].metadata.namespace, labels=labels, annotations=annotations
    )
    return SeccompProfile(metadata=metadata, spec=whole.spec)


def lost_of(profile: SeccompProfile) -> int:
    """How many observations a recorded profile says were lost; what is no number counts as one."""
    text = profile.metadata.annotations.get(RECORDING_LOST_ANNOTATION, "0")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 1


def containers_seen(
    profiles: Iterable[SeccompProfile], before: Iterable[RecordedContainer], now: str
) -> list[RecordedContainer]:
    """What a recording's status says of each container.

    Args:
        profiles: all profiles of the recording.
        before: what it says now.
        now: RFC 3339; the time of syscalls that were not there before.
    """
    known = {one.name: one for one in before}
    seen = []
    for container, of_container in by_container(profiles).items():
        sources = [one for one in of_container if RECORDED_POD_LABEL in one.metadata.labels] or of_container
        syscalls = len(frozenset[str]().union(*(_made(one) for one in sources)))
        previous = known.get(container)
        is_news = previous is None or syscalls > previous.syscalls
        last = now if is_news else previous.last_new_syscall_time if previous else None
        seen.append(
            RecordedContainer(
                name=container,
                pods=len({one.metadata.labels.get(RECORDED_POD_LABEL) for one in sources}),
                syscalls=syscalls,
                last_new_syscall_time=last,
                lost=sum(lost_of(one) for one in sources),
            )
        )
    return seen[:MAX_CONTAINERS]


def _made(profile: SeccompProfile) -> frozenset[str]:
    """What the program itself did."""
    try:
        return passing(profile.spec) - runtime_base(profile)
    except AnnotationError:
        return passing(profile.spec)


def unmerged(profiles: Iterable[SeccompProfile]) -> list[SeccompProfile]:
    """Those that wait to be merged."""
    return [one for one in profiles if one.metadata.labels.get(PARTIAL_LABEL) == "true"]


def same_content(one: SeccompProfile, other: SeccompProfile) -> bool:
    """Whether storing ``other`` in the place of ``one`` would change nothing."""
    present, wanted = one.metadata, other.metadata
    return (
        msgspec.to_builtins(one.spec) == msgspec.to_builtins(other.spec)
        and wanted.labels.items() <= present.labels.items()
        and wanted.annotations.items() <= present.annotations.items()
        and PARTIAL_LABEL not in present.labels
    )
