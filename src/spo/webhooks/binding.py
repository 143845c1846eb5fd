"""Pure: which containers of a pod get which profile by a ProfileBinding."""

from collections.abc import Callable, Collection, Iterable
from enum import StrEnum
from typing import NamedTuple

from spo.api.admission import AdmittedPod, PatchOperation
from spo.profiles.binding_rule import BindingRule, deciding_rule
from spo.profiles.paths import ProfileNameError, localhost_profile
from spo.webhooks.decision import (
    MAX_WARNINGS,
    UNCHANGED,
    Decision,
    Place,
    has_own_profile,
    has_pod_profile,
    is_out_of_reach,
    is_privileged,
    localhost,
    new_ephemeral_containers,
    set_in_context,
    started_containers,
)


class Availability(StrEnum):
    """Whether a profile can be given to a new container."""

    USABLE = "usable"
    NOT_INSTALLED = "not installed"
    """It exists, but a container that needs it may have to wait for it."""
    DELETING = "deleting"
    MISSING = "missing"


ProfileLookup = Callable[[str], Availability]
"""Name of a SeccompProfile in the pod's namespace -> whether it can be used."""


class Bindable(NamedTuple):
    """A pod as the binding webhook sees it."""

    namespace: str
    pod: AdmittedPod
    old: AdmittedPod | None = None
    """The pod before the update; ``None`` for a new pod."""
    logged: Collection[str] = ()
    """Containers that a ``logs`` recording takes over."""
    by_node: bool = False
    """Whether a kubelet creates it."""


def bind(
    about: Bindable, rules: Iterable[BindingRule], look_up: ProfileLookup, *, ephemeral: bool = False
) -> Decision:
    """Give the containers of a pod the profiles that the bindings of its namespace name.

    A profile that the user chose, for the container or the pod, stays. A profile that does not exist
    refuses the pod: it would otherwise run without the protection that the binding asks for.

    Args:
        about: the pod.
        rules: the bindings of its namespace.
        look_up: tells about profiles.
        ephemeral: look at the new ephemeral containers instead of those that start with the pod.

    Returns:
        Nothing to patch if the pod has passed here before: it may come again.
    """
    pod = about.pod
    if is_out_of_reach(pod, by_node=about.by_node) or has_pod_profile(pod):
        return UNCHANGED
    places = new_ephemeral_containers(pod, about.old) if ephemeral else started_containers(pod)
    found = list(_bound(places, list(rules), pod.metadata.labels or {}, about.logged))
    lost = {rule.profile: state for _, rule in found if (state := look_up(rule.profile)) in _NOT_USABLE}
    if lost:
        return _refused(about.namespace, found, lost)
    patch: list[PatchOperation] = []
    warnings: list[str] = []
    for place, rule in found:
        try:
            path = localhost_profile(about.namespace, rule.profile)
        except ProfileNameError as error:
            return Decision(refusal=f"ProfileBinding {about.namespace}/{rule.name}: {error}")
        patch += set_in_context(place, {"seccompProfile": localhost(path)})
        warnings += _warnings(place, rule, look_up(rule.profile))
    return Decision(tuple(patch), tuple(dict.fromkeys(warnings))[:MAX_WARNINGS])


_NOT_USABLE = frozenset({Availability.MISSING, Availability.DELETING})


def _bound(
    places: Iterable[Place], rules: list[BindingRule], labels: dict[str, str], logged: Collection[str]
) -> Iterable[tuple[Place, BindingRule]]:
    for place in places:
        container = place.container
        if has_own_profile(container) or container.name in logged:
            continue
        rule = deciding_rule(rules, container.image or "", labels)
        if rule is not None:
            yield place, rule


def _refused(
    namespace: str, found: list[tuple[Place, BindingRule]], lost: dict[str, Availability]
) -> Decision:
    place, rule = next((place, rule) for place, rule in found if rule.profile in lost)
    problem = (
        "is being deleted"
        if lost[rule.profile] is Availability.DELETING
        else f"does not exist in {namespace}"
    )
    refusal = (
        f"ProfileBinding {namespace}/{rule.name} binds container {place.container.name!r} to SeccompProfile "
        f"{rule.profile!r}, which {problem}; create the profile, or delete or correct the binding"
    )
    return Decision(refusal=refusal, missing=tuple(lost))


def _warnings(place: Place, rule: BindingRule, state: Availability) -> Iterable[str]:
    name = place.container.name
    if is_privileged(place.container):
        yield (
            f"ProfileBinding {rule.name}: container {name!r} is privileged; "
            "container runtimes ignore its seccomp profile"
        )
    if state is Availability.NOT_INSTALLED:
        yield (
            f"ProfileBinding {rule.name}: SeccompProfile {rule.profile!r} is not installed on every node; "
            f"container {name!r} waits until it is"
        )
