"""Pure: which containers of a pod are recorded, as annotations that recorders act on."""

from collections.abc import Iterable
from typing import Any, Final

from spo.api.admission import AdmittedPod, PatchOperation
from spo.api.core import SeccompProfileReference
from spo.names import (
    LOG_PROFILE_NAME,
    RECORDED_SELINUX_TYPE,
    REPLACED_PROFILE_ANNOTATION,
    TRACE_AVCS_ANNOTATION,
    TRACE_LOGS_ANNOTATION,
    TRACE_SYSCALL_ANNOTATION,
)
from spo.profiles.paths import localhost_profile
from spo.recording.trace_annotation import (
    MAX_FILE_NAME,
    MAX_PROFILE_NAME,
    RecordingRule,
    is_trace_value,
    profile_name,
    trace_value,
)
from spo.webhooks.decision import (
    MAX_WARNINGS,
    UNCHANGED,
    Decision,
    Place,
    is_out_of_reach,
    is_privileged,
    localhost,
    set_in_context,
    started_containers,
)

_ANNOTATIONS: Final = "/metadata/annotations"


def record(
    pod: AdmittedPod,
    rules: Iterable[RecordingRule],
    now_s: int,
    operator_namespace: str,
    *,
    by_node: bool = False,
) -> Decision:
    """Mark the containers of a pod that the recordings of its namespace select.

    ``logs`` recordings also replace the seccomp profile of the container, because they see only what a
    profile logs; ``hook`` and ``bpf`` leave it. An annotation that is there already stays.

    Args:
        pod: a new pod.
        rules: the recordings of its namespace.
        now_s: seconds since the Unix epoch; part of the values.
        operator_namespace: where the profile that logs everything is.
        by_node: whether a kubelet creates the pod.
    """
    labels = pod.metadata.labels or {}
    places = list(started_containers(pod))
    concerned = [rule for rule in rules if any(rule.covers(one.container.name, labels) for one in places)]
    if not concerned or is_out_of_reach(pod, by_node=by_node):
        return UNCHANGED
    made = _Made(pod, now_s, operator_namespace)
    for rule in sorted(concerned, key=lambda rule: rule.name):
        if not rule.prefix:
            made.warn(
                f"ProfileRecording {rule.name}: recorder {rule.recorder!r} cannot record a {rule.kind}; "
                "use recorder logs"
            )
            continue
        for place in places:
            if rule.covers(place.container.name, labels):
                made.add(rule, place)
    return made.decision()


def logged_containers(pod: AdmittedPod, rules: Iterable[RecordingRule]) -> frozenset[str]:
    """Containers whose profile a ``logs`` recording replaces: bindings leave these alone."""
    labels = pod.metadata.labels or {}
    logging = [rule for rule in rules if rule.prefix == TRACE_LOGS_ANNOTATION]
    return frozenset(
        place.container.name
        for place in started_containers(pod)
        for rule in logging
        if rule.covers(place.container.name, labels) and not _name_problem(rule, place.container.name)
    )


class _Made:
    """The patch in the making."""

    def __init__(self, pod: AdmittedPod, now_s: int, operator_namespace: str) -> None:
        self._present = pod.metadata.annotations
        self._annotations: dict[str, str] = {}
        self._by: dict[str, str] = {}
        self._fields: dict[str, tuple[Place, dict[str, Any]]] = {}
        self._warnings: list[str] = []
        self._now_s = now_s
        self._log_profile = localhost_profile(operator_namespace, LOG_PROFILE_NAME)
        context = pod.spec.security_context
        self._pod_profile = context.seccomp_profile if context else None

    def warn(self, text: str) -> None:
        self._warnings.append(text)

    def add(self, rule: RecordingRule, place: Place) -> None:
        """Mark one container for one recording."""
        container = place.container.name
        key = f"{rule.prefix}{container}"
        if problem := _name_problem(rule, container):
            self.warn(f"ProfileRecording {rule.name}: container {container!r} is not recorded: {problem}")
            return
        if (other := self._by.get(key)) is not None:
            self.warn(
                f"ProfileRecording {rule.name}: container {container!r} is not recorded: "
                f"ProfileRecording {other} does it with the same recorder"
            )
            return
        present = (self._present or {}).get(key)
        if present is None:
            self._annotations[key] = trace_value(rule, container, self._now_s)
        elif not is_trace_value(rule, container, present):
            self.warn(
                f"ProfileRecording {rule.name}: container {container!r} is not recorded: the pod has "
                f"annotation {key} already; remove it"
            )
            return
        self._by[key] = rule.name
        self._set_context(rule, place)

    def _set_context(self, rule: RecordingRule, place: Place) -> None:
        container, context = place.container.name, place.container.security_context
        if rule.prefix == TRACE_LOGS_ANNOTATION:
            if is_privileged(place.container):
                self.warn(
                    f"ProfileRecording {rule.name}: container {container!r} is privileged and has no seccomp "
                    "filter, so the audit log shows nothing of it; use recorder bpf"
                )
            wanted = localhost(self._log_profile)
            profile = context.seccomp_profile if context else None
            if not _is(profile, wanted):
                replaced = profile or self._pod_profile
                if replaced is not None and not _is(replaced, wanted):
                    self.warn(
                        f"ProfileRecording {rule.name}: the seccomp profile of container {container!r} is "
                        "replaced by one that allows and logs everything"
                    )
                    key = f"{REPLACED_PROFILE_ANNOTATION}{container}"
                    self._annotations[key] = replaced.localhost_profile or replaced.type
                self._set(place, "seccompProfile", wanted)
        elif rule.prefix == TRACE_AVCS_ANNOTATION:
            options: dict[str, Any] = dict((context.se_linux_options if context else None) or {})
            if options.get("type") != RECORDED_SELINUX_TYPE:
                options["type"] = RECORDED_SELINUX_TYPE
                self._set(place, "seLinuxOptions", options)

    def _set(self, place: Place, field: str, value: Any) -> None:
        self._fields.setdefault(place.path, (place, {}))[1][field] = value

    def decision(self) -> Decision:
        """Everything together: annotations first."""
        if self._present is None:
            whole = PatchOperation(path=_ANNOTATIONS, value=self._annotations)
            annotations = [whole] if self._annotations else []
        else:
            annotations = [
                PatchOperation(path=f"{_ANNOTATIONS}/{_escaped(key)}", value=value)
                for key, value in self._annotations.items()
            ]
        warnings = tuple(dict.fromkeys(self._warnings))[:MAX_WARNINGS]
        contexts = [one for place, fields in self._fields.values() for one in set_in_context(place, fields)]
        return Decision((*annotations, *contexts), warnings)


def _is(profile: SeccompProfileReference | None, wanted: dict[str, str]) -> bool:
    return profile is not None and (profile.type, profile.localhost_profile) == tuple(wanted.values())


def _name_problem(rule: RecordingRule, container: str) -> str:
    """Why nothing could come of this recording, empty if it can."""
    if len(profile_name(rule.name, container)) > MAX_PROFILE_NAME:
        return (
            f"the name of its profile would have over {MAX_PROFILE_NAME} characters; shorten the recording's"
        )
    hook = rule.prefix == TRACE_SYSCALL_ANNOTATION
    if hook and len(trace_value(rule, container, 10**10).rpartition("/")[2]) > MAX_FILE_NAME:
        return (
            f"the name of its file would have over {MAX_FILE_NAME} characters; shorten the recording's name"
        )
    return ""


def _escaped(key: str) -> str:
    """As a token of a JSON Pointer."""
    return key.replace("~", "~0").replace("/", "~1")
