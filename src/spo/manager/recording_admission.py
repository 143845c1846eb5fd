"""Condition ``Ready`` of ProfileRecordings; everything else in their status is said elsewhere."""

import msgspec

from spo.api.meta import Condition, set_condition
from spo.api.profile_recording import ProfileRecording
from spo.controller import DONE, Request, Result
from spo.kube.clock import Clock, format_time
from spo.kube.errors import NotFoundError
from spo.manager.admission_condition import AdmissionCondition
from spo.manager.object_store import ObjectStore
from spo.names import RECORDING_WEBHOOK
from spo.profiles.label_selector import InvalidSelectorError
from spo.profiles.release import READY
from spo.recording.trace_annotation import recording_rule


class RecordingAdmissionReconciler:
    """Says whether new pods are recorded."""

    def __init__(
        self, store: ObjectStore[ProfileRecording], condition: AdmissionCondition, clock: Clock
    ) -> None:
        self._store = store
        self._condition = condition
        self._clock = clock

    async def reconcile(self, request: Request) -> Result:
        """See :class:`spo.controller.Reconciler`."""
        recording = self._store.get(request.namespace, request.name)
        if recording is None or recording.metadata.deletion_timestamp:
            return DONE
        present = recording.status.conditions if recording.status else []
        problem = _problem(recording)
        if problem:
            condition, again = _unsupported(recording, problem), DONE
        else:
            condition, again = await self._condition.of(RECORDING_WEBHOOK, recording.metadata, present)
        conditions, changed = set_condition(present, condition, format_time(self._clock.now()))
        if not changed:
            return again
        ours = [one for one in conditions if one.type == READY]
        try:
            await self._store.write_status(recording, {"conditions": msgspec.to_builtins(ours)})
        except NotFoundError:
            return DONE  # gone since it was read
        return again


def _problem(recording: ProfileRecording) -> str:
    spec = recording.spec
    try:
        rule = recording_rule(recording)
    except InvalidSelectorError as error:
        return str(error)
    if rule is not None and not rule.prefix:
        return f"recorder {spec.recorder} cannot record a {spec.kind}; use recorder logs"
    return ""


def _unsupported(recording: ProfileRecording, problem: str) -> Condition:
    return Condition(
        type=READY,
        status="False",
        reason="Unsupported",
        message=problem,
        observed_generation=recording.metadata.generation,
    )
