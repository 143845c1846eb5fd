"""Pure: which of a pod's annotations a recording stands behind; whoever makes a pod can write them."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from spo.recording.trace_annotation import (
    MAX_PROFILE_NAME,
    RecordingRule,
    is_trace_value,
    profile_name,
)

MAX_NUMBER_LENGTH = 6
"""Room for ``-<n>`` at the end of a profile's name."""

_SHOWN = 100


class Accepted(NamedTuple):
    """A container that is to be recorded."""

    container: str
    rule: RecordingRule


class Refused(NamedTuple):
    """An annotation that nothing comes of."""

    container: str
    problem: str


def accept(
    traces: Mapping[str, str],
    labels: Mapping[str, str],
    containers: Iterable[str],
    rules: Iterable[RecordingRule],
) -> tuple[list[Accepted], list[Refused]]:
    """Compare annotations with the recordings of the pod's namespace.

    Args:
        traces: container name -> value, of the annotations with one prefix.
        labels: of the pod.
        containers: names of all containers of the pod.
        rules: recordings of the namespace with that prefix.
    """
    present, rules = frozenset(containers), tuple(rules)
    accepted, refused = [], []
    for container, value in sorted(traces.items()):
        if container not in present:
            refused.append(Refused(container[:_SHOWN], "the pod has no such container"))
            continue
        rule = next((one for one in rules if _stands_behind(one, container, value, labels)), None)
        if rule is None:
            shown = value[:_SHOWN]
            refused.append(
                Refused(container, f"no ProfileRecording that selects this pod asks for {shown!r}")
            )
        elif len(profile_name(rule.name, container)) > MAX_PROFILE_NAME - MAX_NUMBER_LENGTH:
            problem = f"the name of its profile would be too long; shorten the name of {rule.name}"
            refused.append(Refused(container, problem))
        else:
            accepted.append(Accepted(container, rule))
    return accepted, refused


def _stands_behind(rule: RecordingRule, container: str, value: str, labels: Mapping[str, str]) -> bool:
    return rule.covers(container, labels) and is_trace_value(rule, container, value)
