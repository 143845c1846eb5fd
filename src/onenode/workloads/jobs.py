"""Job: pods that run to their end.

Each ended pod is counted once, also if the server stops in between: its uid stands in
``uncountedTerminatedPods`` before its finalizer goes, and is counted after.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from onenode.clock import parse_timestamp, timestamp
from onenode.watch import Record
from onenode.workloads.amounts import is_active, is_ready
from onenode.workloads.job_plan import JobCounts, Verdict, back_off_s, judge, wanted_pods
from onenode.workloads.objects import Objects, controller_of
from onenode.workloads.replicas import plan_replicas

__all__ = ["JOBS", "JOB_TRACKING", "Jobs"]

Obj = dict[str, Any]

JOBS: Final = "jobs.batch"
JOB_TRACKING: Final = "batch.kubernetes.io/job-tracking"
_PHASES: Final = {"Succeeded": "succeeded", "Failed": "failed"}


class Jobs:
    """The controller."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def reconcile(self, record: Record) -> float | None:
        """Go one step on, write the status; seconds after which to look again."""
        if record.view["metadata"].get("deletionTimestamp"):
            for pod in self._objects.claimed("pods", record):
                self._objects.drop_finalizer(pod, JOB_TRACKING)
            return None
        if _is_over(record):
            return await self._forget(record)
        record = await self._count(record)
        return await self._go_on(record)

    def forget(self, namespace: str, name: str) -> None:
        """The Job is gone: nothing holds its pods any more."""
        for pod in self._objects.records("pods", namespace):
            owner = controller_of(pod.view)
            if owner is not None and (owner.get("kind"), owner.get("name")) == ("Job", name):
                self._objects.drop_finalizer(pod, JOB_TRACKING)

    # Counting

    async def _count(self, record: Record) -> Record:
        """Count the pods that ended since the last time."""
        before = record.view.get("status") or {}
        pending = before.get("uncountedTerminatedPods") or {}
        uncounted = {name: list(pending.get(name) or []) for name in _PHASES.values()}
        ended = [pod for pod in self._objects.claimed("pods", record) if _to_count(pod.view)]
        if not ended and not any(uncounted.values()):
            return record
        known = {uid for uids in uncounted.values() for uid in uids}
        for pod in ended:
            uid = pod.view["metadata"]["uid"]
            if uid not in known:
                uncounted[_outcome(pod.view)].append(uid)
        await self._objects.set_status(record, {**before, "uncountedTerminatedPods": uncounted})
        for pod in ended:
            self._objects.drop_finalizer(pod, JOB_TRACKING)
        sums = {name: (before.get(name) or 0) + len(uids) for name, uids in uncounted.items()}
        counted = {name: number for name, number in sums.items() if number}
        await self._objects.set_status(record, {**before, **counted, "uncountedTerminatedPods": {}})
        return self._objects.record(JOBS, record.namespace, record.name) or record

    # Running

    async def _go_on(self, record: Record) -> float | None:
        spec, status = record.view["spec"], dict(record.view.get("status") or {})
        now = self._objects.clock()
        if spec.get("suspend"):
            await self._suspend(record, status)
            return None
        resumed = _condition(status, "Suspended")
        if resumed is not None and resumed["status"] == "True":
            self._set_condition(status, "Suspended", "False", "JobResumed", "Job resumed")
            status.pop("startTime", None)
        status.setdefault("startTime", timestamp(now))
        started = parse_timestamp(status["startTime"])
        verdict = judge(spec, self._counts(record), started, now)
        if verdict is not None:
            return await self._end(record, status, verdict)
        waits_s = [await self._manage(record)]
        if spec.get("activeDeadlineSeconds") is not None and started is not None:
            end = started + timedelta(seconds=spec["activeDeadlineSeconds"])
            waits_s.append((end - now).total_seconds())
        await self._tell(record, status)
        return min((wait_s for wait_s in waits_s if wait_s is not None), default=None)

    def _counts(self, record: Record) -> JobCounts:
        status = record.view.get("status") or {}
        active = self._active(record)
        statuses = [one for pod in active for one in (pod.get("status") or {}).get("containerStatuses") or []]
        return JobCounts(
            len(active),
            status.get("succeeded") or 0,
            status.get("failed") or 0,
            sum(one.get("restartCount") or 0 for one in statuses),
        )

    def _active(self, record: Record) -> list[Obj]:
        return [pod.view for pod in self._objects.claimed("pods", record) if is_active(pod.view)]

    async def _manage(self, record: Record) -> float | None:
        """Create or delete pods; seconds to wait if a failure holds the next pod back."""
        pods = [pod.view for pod in self._objects.claimed("pods", record)]
        missing, surplus = plan_replicas(pods, wanted_pods(record.view["spec"], self._counts(record)))
        await self._delete(record, surplus)
        if record.view["spec"].get("podReplacementPolicy") == "Failed":
            # A pod that is being deleted keeps its place until it ended.
            missing -= sum(not is_active(pod) and JOB_TRACKING in _finalizers(pod) for pod in pods)
        if missing <= 0:
            return None
        wait_s = back_off_s(pods, self._objects.clock())
        if wait_s:
            return wait_s
        for _ in range(missing):
            await self._objects.create_pod(record, record.view["spec"]["template"], finalizer=JOB_TRACKING)
        return None

    async def _delete(self, record: Record, pods: list[Obj]) -> None:
        """Delete pods that are not wanted any more; they do not count as failed."""
        for pod in pods:
            found = self._objects.record("pods", record.namespace, pod["metadata"]["name"])
            if found is not None:
                self._objects.drop_finalizer(found, JOB_TRACKING)
                await self._objects.delete(found)

    async def _suspend(self, record: Record, status: Obj) -> None:
        await self._delete(record, self._active(record))
        self._set_condition(status, "Suspended", "True", "JobSuspended", "Job suspended")
        await self._tell(record, status)

    # The end

    async def _end(self, record: Record, status: Obj, verdict: Verdict) -> float | None:
        await self._delete(record, self._active(record))
        failed = verdict.kind == "Failed"
        first = "FailureTarget" if failed else "SuccessCriteriaMet"
        for kind in (first, verdict.kind):
            self._set_condition(status, kind, "True", verdict.reason, verdict.message)
        if not failed:
            status["completionTime"] = timestamp(self._objects.clock())
        await self._tell(record, status)
        return None

    async def _forget(self, record: Record) -> float | None:
        """A Job that is over keeps no pod back, and goes itself when its time has come."""
        for pod in self._objects.claimed("pods", record):
            self._objects.drop_finalizer(pod, JOB_TRACKING)
        keep_s = record.view["spec"].get("ttlSecondsAfterFinished")
        condition = _over(record)
        end = parse_timestamp(condition["lastTransitionTime"]) if condition is not None else None
        if keep_s is None or end is None:
            return None
        left_s = (end + timedelta(seconds=keep_s) - self._objects.clock()).total_seconds()
        if left_s > 0:
            return left_s
        await self._objects.delete(record)
        return None

    # Status

    async def _tell(self, record: Record, status: Obj) -> None:
        pods = [pod.view for pod in self._objects.claimed("pods", record)]
        active = [pod for pod in pods if is_active(pod)]
        if active:
            status["active"] = len(active)
        else:
            status.pop("active", None)
        status["ready"] = sum(is_ready(pod) for pod in active)
        status["terminating"] = sum(bool(pod["metadata"].get("deletionTimestamp")) for pod in pods)
        status.setdefault("uncountedTerminatedPods", {})
        await self._objects.set_status(record, status)

    def _set_condition(self, status: Obj, kind: str, value: str, reason: str, message: str) -> None:
        old = _condition(status, kind)
        if old is not None and old["status"] == value:
            return
        now = timestamp(self._objects.clock())
        new = {
            "type": kind,
            "status": value,
            "lastProbeTime": now,
            "lastTransitionTime": now,
            "reason": reason,
            "message": message,
        }
        status["conditions"] = [one for one in status.get("conditions") or [] if one is not old] + [new]


def _condition(status: Obj, kind: str) -> Obj | None:
    return next((one for one in status.get("conditions") or [] if one.get("type") == kind), None)


def _over(record: Record) -> Obj | None:
    status = record.view.get("status") or {}
    found = [_condition(status, "Complete"), _condition(status, "Failed")]
    return next((one for one in found if one is not None and one.get("status") == "True"), None)


def _is_over(record: Record) -> bool:
    return _over(record) is not None


def _finalizers(pod: Obj) -> list[str]:
    return list(pod["metadata"].get("finalizers") or [])


def _to_count(pod: Obj) -> bool:
    """It ended, or goes without having been started, and was not counted."""
    if JOB_TRACKING not in _finalizers(pod):
        return False
    if (pod.get("status") or {}).get("phase") in _PHASES:
        return True
    metadata = pod["metadata"]
    return bool(metadata.get("deletionTimestamp")) and not metadata.get("deletionGracePeriodSeconds")


def _outcome(pod: Obj) -> str:
    return _PHASES.get((pod.get("status") or {}).get("phase", ""), "failed")
