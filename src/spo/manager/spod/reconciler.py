"""The spod object: makes the DaemonSet what it says, and says how far that is."""

import contextlib
import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

import msgspec

from spo import klog
from spo.api.meta import set_condition
from spo.api.spod import SPODS, SecurityProfilesOperatorDaemon, SpodState, SpodStatus
from spo.controller import DONE, Request, Result
from spo.kube.cache import Key
from spo.kube.clock import Clock, format_time
from spo.kube.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidError,
    KubeError,
    NotFoundError,
    UnreadableObjectError,
    is_transient,
)
from spo.kube.events import NORMAL, WARNING, EventRecorder, reference
from spo.manager.object_store import ObjectStore
from spo.manager.spod import rollout
from spo.manager.spod.checks import InvalidSpodError
from spo.manager.spod.installation import Installation
from spo.manager.spod.objects import DaemonSet, Deployment
from spo.manager.spod.rendering import render
from spo.manager.spod.rollout import Progress
from spo.manager.spod.store import WorkloadStore
from spo.names import OPERATOR_NAME

log = klog.get("spod-config")

Json = dict[str, Any]
Spod = SecurityProfilesOperatorDaemon

CANNOT_CREATE: Final = "CannotCreateSPOD"
CANNOT_UPDATE: Final = "CannotUpdateSPOD"
CREATED: Final = "CreatedSPOD"
UPDATED: Final = "UpdatedSPOD"
INVALID: Final = "InvalidSPOD"

REPAIR_S: Final = 5.0
"""How often a DaemonSet that somebody else keeps changing is put back."""
PROGRESS_S: Final = 2.0
"""At most one status within this time, if no more has changed than how many nodes are ready."""
_RESTARTED: Final = "kubectl.kubernetes.io/restartedAt"
"""Of ``kubectl rollout restart``: the one change of the template that is not ours and stays."""


class _Written(NamedTuple):
    """What the API server made of our last write."""

    wanted: Json
    uid: str
    generation: int
    at: float


class SpodReconciler:
    """The only writer of the DaemonSet and of the status of spod objects."""

    def __init__(
        self,
        spods: ObjectStore[Spod],
        workloads: WorkloadStore,
        installation: Installation,
        unreadable: Mapping[Key, str],
        default: Json,
        events: EventRecorder,
        clock: Clock,
    ) -> None:
        """Take what it works with.

        Args:
            installation: everything but image and pull policy, which are those of the manager's Deployment.
            unreadable: spod objects whose present state cannot be read, and why.
            default: the spod object to create if there is none.
        """
        self._spods = spods
        self._workloads = workloads
        self._installation = installation
        self._unreadable = unreadable
        self._default: Json | None = default
        self._events = events
        self._clock = clock
        self._written: _Written | None = None
        self._status_at: dict[Request, float] = {}

    async def reconcile(self, request: Request) -> Result:
        """See :class:`spo.controller.Reconciler`."""
        name = self._installation.spod_name
        try:
            spod = self._spods.get(request.namespace, request.name)
        except UnreadableObjectError as error:
            log.error("Cannot read the spod object; the DaemonSet is left as it was", error=error)
            return DONE
        if spod is None and request.name == name and self._default is not None:
            await self._create_default(self._default)
            return DONE
        if spod is None or spod.metadata.deletion_timestamp:
            self._status_at.pop(request, None)
            return DONE  # the DaemonSet goes with its owner
        if request.name != name:
            return await self._say(spod, rollout.ignored(name))
        self._default = None
        if problem := self._unreadable.get(Key(request.namespace, request.name)):
            return await self._say(spod, rollout.invalid(problem))
        return await self._roll_out(request, spod)

    async def _create_default(self, default: Json) -> None:
        """Once: who deletes the object wants to be without daemons, until the manager starts again."""
        with contextlib.suppress(AlreadyExistsError):
            await self._spods.create(default)
            log.info("Created the default spod object", name=self._installation.spod_name)
        self._default = None

    async def _roll_out(self, request: Request, spod: Spod) -> Result:
        deployment = self._workloads.deployment()
        installation = _complete(self._installation, deployment)
        if installation is None:
            return await self._say(
                spod, rollout.waiting(f"waiting for Deployment {OPERATOR_NAME}, whose image is used")
            )
        if spod.status is None or spod.status.state is None:
            await self._say(spod, rollout.waiting("the DaemonSet is not created yet"))
            spod = self._spods.get(request.namespace, request.name) or spod
        try:
            wanted = render(spod, installation)
            daemon_set, pause_s = await self._store(spod, wanted)
        except (InvalidSpodError, InvalidError) as error:
            refused = rollout.invalid(str(error))
            if not _is_said(spod, refused):
                self._events.event(reference(SPODS, spod), WARNING, INVALID, str(error))
            return await self._say(spod, refused)
        said = await self._say(spod, rollout.progress(daemon_set, self._state(spod, daemon_set)))
        waits = [one for one in (pause_s, said.requeue_after) if one is not None]
        return Result(min(waits)) if waits else DONE

    async def _store(self, spod: Spod, wanted: Json) -> tuple[DaemonSet, float | None]:
        """The DaemonSet as it is to be, and when to look again if it cannot be that yet."""
        found = self._workloads.daemon_set()
        if found is None:
            return await self._create(spod, wanted), None
        if self._is_held(found, wanted):
            return found, None
        now = self._clock.monotonic()
        if self._written is not None and self._written.wanted == wanted:
            wait_s = self._written.at + REPAIR_S - now
            if wait_s > 0:
                return found, wait_s
            log.warning("Somebody has changed the DaemonSet, putting it back")
        try:
            stored = await self._workloads.replace(
                _with_restart(wanted, found), found.metadata.resource_version
            )
        except (ConflictError, InvalidError):
            raise  # tried again with the newer state; or said in the status
        except KubeError as error:
            self._tell(spod, CANNOT_UPDATE, error)
            raise
        self._note(wanted, stored)
        if stored.metadata.generation != found.metadata.generation:
            log.info("Updated the DaemonSet", generation=stored.metadata.generation)
            self._events.event(reference(SPODS, spod), NORMAL, UPDATED, "the DaemonSet was updated")
        return stored, None

    async def _create(self, spod: Spod, wanted: Json) -> DaemonSet:
        try:
            stored = await self._workloads.create(wanted)
        except (AlreadyExistsError, InvalidError):
            raise  # the cache learns of it in a moment; or said in the status
        except KubeError as error:
            self._tell(spod, CANNOT_CREATE, error)
            raise
        self._note(wanted, stored)
        log.info("Created the DaemonSet")
        self._events.event(reference(SPODS, spod), NORMAL, CREATED, "the DaemonSet was created")
        return stored

    def _tell(self, spod: Spod, reason: str, error: KubeError) -> None:
        """An event about what will not pass by itself."""
        if not is_transient(error):
            self._events.event(reference(SPODS, spod), WARNING, reason, str(error))

    def _note(self, wanted: Json, stored: DaemonSet) -> None:
        metadata = stored.metadata
        self._written = _Written(wanted, metadata.uid, metadata.generation, self._clock.monotonic())

    def _is_held(self, found: DaemonSet, wanted: Json) -> bool:
        """Whether the DaemonSet is what our last write has made of it.

        Not a comparison with what is wanted: API server and admission add fields, each in its own way. Any
        later change of the spec has raised the generation.
        """
        written = self._written
        if written is None or written.wanted != wanted:
            return False
        metadata = found.metadata
        owners = [one.uid for one in metadata.owner_references]
        return (
            (written.uid, written.generation) == (metadata.uid, metadata.generation)
            and wanted["metadata"]["labels"].items() <= metadata.labels.items()
            and owners == [one["uid"] for one in wanted["metadata"]["ownerReferences"]]
        )

    def _state(self, spod: Spod, daemon_set: DaemonSet) -> SpodState | None:
        """The state so far; what an older DaemonSet was does not count."""
        state = SpodState(spod.status.state) if spod.status and spod.status.state else None
        if daemon_set.status.observed_generation < daemon_set.metadata.generation:
            return SpodState.UPDATING if state in {SpodState.RUNNING, SpodState.ERROR} else state
        return state

    async def _say(self, spod: Spod, progress: Progress) -> Result:
        """Write the status, if it says something new."""
        before = spod.status or SpodStatus()
        condition = progress.condition(spod.metadata.generation)
        now = self._clock.now()
        conditions, changed = set_condition(before.conditions, condition, format_time(now))
        if not changed and before.state == progress.state:
            return DONE
        key = Request(spod.metadata.namespace or "", spod.metadata.name)
        if _only_message(before, progress, condition.observed_generation):
            wait_s = self._status_at.get(key, -PROGRESS_S) + PROGRESS_S - self._clock.monotonic()
            if wait_s > 0:
                return Result(wait_s)
        status = SpodStatus(conditions=conditions, state=progress.state)
        try:
            await self._spods.write_status(spod, msgspec.to_builtins(status))
        except NotFoundError:
            return DONE  # deleted meanwhile
        self._status_at[key] = self._clock.monotonic()
        if before.state != progress.state:
            log.info("State of the spod", name=key.name, state=str(progress.state or progress.reason))
        return DONE


def _complete(installation: Installation, deployment: Deployment | None) -> Installation | None:
    """With the image and the pull policy of the manager."""
    if deployment is None or not deployment.spec.template.spec.containers:
        return None
    manager = deployment.spec.template.spec.containers[0]
    if not manager.image:
        return None
    policy = manager.image_pull_policy or installation.pull_policy
    return replace(installation, image=manager.image, pull_policy=policy)


def _with_restart(wanted: Json, found: DaemonSet) -> Json:
    """With the trace of the last ``kubectl rollout restart``, which would otherwise be undone."""
    restarted = found.spec.template.metadata.annotations.get(_RESTARTED)
    if restarted is None:
        return wanted
    body = copy.deepcopy(wanted)
    metadata = body["spec"]["template"]["metadata"]
    metadata["annotations"] = {**metadata["annotations"], _RESTARTED: restarted}
    return body


def _is_said(spod: Spod, progress: Progress) -> bool:
    conditions = spod.status.conditions if spod.status else []
    wanted = progress.condition(spod.metadata.generation)
    return any(msgspec.structs.replace(one, last_transition_time="") == wanted for one in conditions)


def _only_message(before: SpodStatus, progress: Progress, generation: int) -> bool:
    said = [(one.reason, one.observed_generation) for one in before.conditions]
    return before.state == progress.state and said == [(progress.reason, generation)]
