"""Status and finalizer of ProfileBindings, from the pods that they have bound."""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from spo.api.meta import set_condition
from spo.api.profile_binding import PROFILE_BINDINGS, ProfileBinding, ProfileBindingStatus
from spo.controller import DONE, Request, Result
from spo.kube.clock import Clock, format_time
from spo.kube.errors import NotFoundError
from spo.kube.events import WARNING, EventRecorder, reference
from spo.manager.admission_condition import AdmissionCondition
from spo.manager.aggregation import MAX_WORKLOADS
from spo.manager.bound_pods import WorkloadRecord
from spo.manager.object_store import ObjectStore
from spo.names import BINDING_FINALIZER, BINDING_WEBHOOK
from spo.profiles.binding_rule import BindingRule, deciding_rule, rule_of
from spo.profiles.label_selector import InvalidSelectorError
from spo.profiles.paths import ProfileNameError, localhost_profile

PROGRESS_DELAY_S: Final = 2.0
"""At most one status within this time, if no more has changed than which pods are bound."""

NOT_BOUND: Final = "PodNotBound"
MAX_EVENTS: Final = 10
"""Pods that one look at a binding complains about."""


class Unbound(NamedTuple):
    """A container that should have the profile and does not."""

    pod: str
    container: str


def bound_pods(
    namespace: str, rule: BindingRule, rules: Iterable[BindingRule], pods: Iterable[WorkloadRecord]
) -> list[str]:
    """``<namespace>/<pod>`` of the pods that the rule has bound, sorted.

    A container counts if it runs under the profile of the rule and the rule decides about its image; of
    several rules with the same profile the one that would be chosen today.
    """
    try:
        path = localhost_profile(namespace, rule.profile)
    except ProfileNameError:
        return []
    same = [one for one in rules if one.profile == rule.profile and one.name != rule.name] + [rule]
    return sorted(
        f"{namespace}/{pod.name}"
        for pod in pods
        if any(
            one.profile == path and deciding_rule(same, one.image, pod.labels) is rule
            for one in pod.containers
        )
    )


def unbound_containers(
    rule: BindingRule, rules: Iterable[BindingRule], pods: Iterable[WorkloadRecord], since: str
) -> list[Unbound]:
    """Containers that the rule is for, without any profile, in pods created at ``since`` or later."""
    known = list(rules)
    return [
        Unbound(pod.name, one.name)
        for pod in pods
        if pod.bindable and _moment(pod.created) >= _moment(since)
        for one in pod.containers
        if one.profile is None and deciding_rule(known, one.image, pod.labels) is rule
    ]


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return datetime.fromisoformat("0001-01-01T00:00:00+00:00")


class ProfileBindingReconciler:
    """The only writer of the status and finalizers of ProfileBindings."""

    def __init__(
        self,
        store: ObjectStore[ProfileBinding],
        of_namespace: Callable[[str], Sequence[ProfileBinding]],
        pods: Callable[[str], list[WorkloadRecord] | None],
        profile_exists: Callable[[str, str], bool],
        condition: AdmissionCondition,
        events: EventRecorder,
        clock: Clock,
    ) -> None:
        """Take what it works with.

        Args:
            of_namespace: the bindings of a namespace.
            pods: the pods of a namespace; ``None`` while they are not known.
            profile_exists: whether a SeccompProfile, by namespace and name, exists.
        """
        self._store = store
        self._of_namespace = of_namespace
        self._pods = pods
        self._profile_exists = profile_exists
        self._condition = condition
        self._events = events
        self._clock = clock
        self._written_at: dict[Request, float] = {}
        self._told: dict[Request, frozenset[Unbound]] = {}

    async def reconcile(self, request: Request) -> Result:
        """See :class:`spo.controller.Reconciler`."""
        binding = self._store.get(request.namespace, request.name)
        if binding is None:
            self._written_at.pop(request, None)
            self._told.pop(request, None)
            return DONE
        try:
            return await self._reconcile(request, binding)
        except NotFoundError:
            return DONE  # gone since it was read

    async def _reconcile(self, request: Request, binding: ProfileBinding) -> Result:
        pods = self._pods(request.namespace)
        if pods is None:
            return DONE  # comes back when they are known
        others = self._of_namespace(request.namespace)
        rules = _rules(others)
        # While it is being deleted it binds nothing new, but what it has bound holds it.
        own = rule_of(_as_living(binding))
        bound = bound_pods(request.namespace, own, rules, pods) if own else []
        binding = await self._hold(binding, in_use=bool(bound))
        if binding.metadata.deletion_timestamp and not bound:
            return DONE
        live = next((rule for rule in rules if rule.name == request.name), None)
        if live is not None:
            self._tell(request, binding, unbound_containers(live, rules, pods, _created(binding)))
        return await self._say(request, binding, bound)

    async def _hold(self, binding: ProfileBinding, *, in_use: bool) -> ProfileBinding:
        def change(present: list[str]) -> list[str]:
            if not in_use:
                return [one for one in present if one != BINDING_FINALIZER]
            # The API refuses a new finalizer on what is being deleted.
            if BINDING_FINALIZER in present or binding.metadata.deletion_timestamp:
                return present
            return [*present, BINDING_FINALIZER]

        if change(binding.metadata.finalizers) == binding.metadata.finalizers:
            return binding
        return await self._store.change_finalizers(binding, change)

    async def _say(self, request: Request, binding: ProfileBinding, bound: list[str]) -> Result:
        namespace, reference_ = request.namespace, binding.spec.profile_ref
        missing = ""
        if not self._profile_exists(namespace, reference_.name):
            missing = (
                f"{reference_.kind} {reference_.name!r} does not exist in {namespace}: "
                "the pods that it would be bound to are refused"
            )
        present = binding.status or ProfileBindingStatus()
        condition, again = await self._condition.of(
            BINDING_WEBHOOK, binding.metadata, present.conditions, missing
        )
        now = format_time(self._clock.now())
        wanted = ProfileBindingStatus(
            conditions=set_condition(present.conditions, condition, now)[0],
            active_workloads=bound[:MAX_WORKLOADS],
            active_workload_count=len(bound),
            observed_generation=binding.metadata.generation,
        )
        if wanted == present:
            return again
        wait_s = self._progress_wait_s(request, present, wanted)
        if wait_s > 0:
            return Result(min(wait_s, again.requeue_after or wait_s))
        self._written_at[request] = self._clock.monotonic()
        await self._store.write_status(binding, msgspec.to_builtins(wanted))
        return again

    def _progress_wait_s(
        self, request: Request, present: ProfileBindingStatus, wanted: ProfileBindingStatus
    ) -> float:
        """How long to wait for more changes of the same sort."""
        if bool(present.active_workloads) != bool(wanted.active_workloads):
            return 0.0
        if _without_workloads(present) != _without_workloads(wanted):
            return 0.0
        written_at = self._written_at.get(request)
        return 0.0 if written_at is None else written_at + PROGRESS_DELAY_S - self._clock.monotonic()

    def _tell(self, request: Request, binding: ProfileBinding, unbound: list[Unbound]) -> None:
        """Warn about containers once each."""
        told = self._told.get(request, frozenset())
        self._told[request] = frozenset(unbound)
        for one in [one for one in unbound if one not in told][:MAX_EVENTS]:
            self._events.event(
                reference(PROFILE_BINDINGS, binding),
                WARNING,
                NOT_BOUND,
                f"pod {one.pod} is younger than this binding, but container {one.container} runs without "
                f"profile {binding.spec.profile_ref.name}: the webhook has not seen it; create the pod again",
            )


def _rules(bindings: Iterable[ProfileBinding]) -> list[BindingRule]:
    """The rules that count; a binding that cannot be understood is told about when it is its turn."""
    rules = []
    for one in bindings:
        with contextlib.suppress(InvalidSelectorError):
            rules.append(rule_of(one))
    return [rule for rule in rules if rule is not None]


def _as_living(binding: ProfileBinding) -> ProfileBinding:
    metadata = msgspec.structs.replace(binding.metadata, deletion_timestamp=None)
    return msgspec.structs.replace(binding, metadata=metadata)


def _without_workloads(status: ProfileBindingStatus) -> ProfileBindingStatus:
    return msgspec.structs.replace(status, active_workloads=[], active_workload_count=0)


def _created(binding: ProfileBinding) -> str:
    return binding.metadata.creation_timestamp or ""
