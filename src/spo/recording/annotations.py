"""What a recorded profile says about itself in its annotations."""

import json

import msgspec

from spo.api.seccomp_profile import SeccompProfile, SeccompProfileSpec
from spo.errors import TerminalError
from spo.names import RUNTIME_BASE_ANNOTATION, SYSCALLS_BY_ARCHITECTURE_ANNOTATION
from spo.recording.verdict import Verdicts


class AnnotationError(TerminalError):
    """An annotation of ours was changed into something that we do not understand."""

    def __init__(self, annotation: str, problem: str) -> None:
        super().__init__(annotation, problem)
        self.annotation = annotation
        self.problem = problem

    def __str__(self) -> str:
        return f"metadata.annotations[{self.annotation!r}]: {self.problem}; correct it or remove it"


def runtime_base(profile: SeccompProfile) -> frozenset[str]:
    """Syscalls that are in the profile for the container runtime only.

    Raises:
        AnnotationError: the annotation is no JSON list of names.
    """
    text = profile.metadata.annotations.get(RUNTIME_BASE_ANNOTATION)
    if text is None:
        return frozenset()
    try:
        return frozenset(msgspec.json.decode(text, type=list[str]))
    except (msgspec.DecodeError, RecursionError) as error:
        raise AnnotationError(RUNTIME_BASE_ANNOTATION, str(error)) from error


def syscalls_by_architecture(profile: SeccompProfile) -> dict[str, frozenset[str]]:
    """Names by architecture; without the annotation, what passes counts for every architecture.

    Raises:
        AnnotationError: the annotation is no JSON object of lists of names.
    """
    text = profile.metadata.annotations.get(SYSCALLS_BY_ARCHITECTURE_ANNOTATION)
    if text is None:
        return dict.fromkeys(profile.spec.architectures, passing(profile.spec))
    try:
        decoded = msgspec.json.decode(text, type=dict[str, list[str]])
    except (msgspec.DecodeError, RecursionError) as error:
        raise AnnotationError(SYSCALLS_BY_ARCHITECTURE_ANNOTATION, str(error)) from error
    return {architecture: frozenset(names) for architecture, names in decoded.items()}


def passing(spec: SeccompProfileSpec) -> frozenset[str]:
    """Syscalls with a rule that lets them pass, be it for some arguments."""
    verdicts = Verdicts(spec)
    return frozenset(name for name in verdicts.mentioned if not verdicts[name].never_passes)


def compact(value: object) -> str:
    """JSON as our annotations have it."""
    return json.dumps(value, separators=(",", ":"))
