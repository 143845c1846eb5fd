"""The status of a Deployment.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from onenode.clock import parse_timestamp, timestamp
from onenode.workloads.replicas import limits_of

__all__ = ["DeploymentStatus"]

Obj = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DeploymentStatus:
    """What is known about a Deployment."""

    deployment: Obj
    sets: list[Obj]
    new: Obj | None
    """The ReplicaSet of the current template."""
    now: datetime

    def status(self) -> Obj:
        """The new status; conditions that did not change keep their times."""
        replicas = self._sum("replicas")
        available = self._sum("availableReplicas")
        numbers = {
            "observedGeneration": self.deployment["metadata"].get("generation", 1),
            "replicas": replicas,
            "updatedReplicas": _number(self.new, "replicas"),
            "readyReplicas": self._sum("readyReplicas"),
            "availableReplicas": available,
            # Also what its ReplicaSets did not create yet.
            "unavailableReplicas": max(self._wanted() - available, 0),
        }
        status: Obj = {name: number for name, number in numbers.items() if number}
        status["terminatingReplicas"] = self._sum("terminatingReplicas")
        status["conditions"] = self._conditions(status)
        return status

    def _sum(self, field: str) -> int:
        return sum(_number(one, field) for one in self.sets)

    def _wanted(self) -> int:
        return sum(int(one["spec"]["replicas"]) for one in self.sets)

    def _conditions(self, status: Obj) -> list[Obj]:
        before = {c["type"]: c for c in (self.deployment.get("status") or {}).get("conditions") or []}
        limits = limits_of(self.deployment["spec"])
        enough = status.get("availableReplicas", 0) >= limits.replicas - limits.max_unavailable
        found = [
            self._condition(
                before.get("Available"),
                "Available",
                "True" if enough else "False",
                "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
                f"Deployment {'has' if enough else 'does not have'} minimum availability.",
            )
        ]
        failure = self._failure()
        if failure is not None:
            values = (failure["status"], failure["reason"], failure["message"])
            found.append(self._condition(before.get("ReplicaFailure"), "ReplicaFailure", *values))
        found.append(self._progressing(status, before.get("Progressing")))
        # What changed goes to the end.
        places = {kind: place for place, kind in enumerate(before)}
        return sorted(
            found,
            key=lambda c: places[c["type"]] if _same_state(before.get(c["type"]), c) else len(places),
        )

    def _failure(self) -> Obj | None:
        for one in [*([self.new] if self.new else []), *self.sets]:
            for condition in (one.get("status") or {}).get("conditions") or []:
                if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
                    found: Obj = condition
                    return found
        return None

    def _progressing(self, status: Obj, before: Obj | None) -> Obj:
        name = self.new["metadata"]["name"] if self.new else ""
        text = f'ReplicaSet "{name}" has successfully progressed.'
        if before is not None and before.get("message") == text and _all_updated(status):
            # The rollout is over; that the number changes is not a new one.
            return dict(before)
        if self._complete(status):
            return self._condition(before, "Progressing", "True", "NewReplicaSetAvailable", text)
        if self.deployment["spec"].get("paused"):
            text = "Deployment is paused"
            return self._condition(before, "Progressing", "Unknown", "DeploymentPaused", text)
        if before is not None and not self._moved(status) and self._late(before):
            text = f'ReplicaSet "{name}" has timed out progressing.'
            return self._condition(before, "Progressing", "False", "ProgressDeadlineExceeded", text)
        text = f'ReplicaSet "{name}" is progressing.'
        made = self._condition(before, "Progressing", "True", "ReplicaSetUpdated", text)
        if self._moved(status):
            made["lastUpdateTime"] = timestamp(self.now)
        return made

    def _complete(self, status: Obj) -> bool:
        wanted = self.deployment["spec"]["replicas"]
        numbers = [status.get(name, 0) for name in ("updatedReplicas", "replicas", "availableReplicas")]
        return self.new is not None and numbers == [wanted] * len(numbers)

    def _moved(self, status: Obj) -> bool:
        """Something got better since the last status."""
        before = self.deployment.get("status") or {}
        old_now, old_before = (
            one.get("replicas", 0) - one.get("updatedReplicas", 0) for one in (status, before)
        )
        better = ("updatedReplicas", "readyReplicas", "availableReplicas")
        return old_now < old_before or any(status.get(n, 0) > before.get(n, 0) for n in better)

    def _late(self, before: Obj) -> bool:
        if before["reason"] == "ProgressDeadlineExceeded":
            return before.get("message") == f'ReplicaSet "{self._new_name()}" has timed out progressing.'
        since = parse_timestamp(before["lastUpdateTime"])
        limit = timedelta(seconds=self.deployment["spec"].get("progressDeadlineSeconds", 600))
        running = before["reason"] == "ReplicaSetUpdated"
        return running and since is not None and self.now >= since + limit

    def _new_name(self) -> str:
        return str(self.new["metadata"]["name"]) if self.new else ""

    def _condition(self, before: Obj | None, kind: str, status: str, reason: str, message: str) -> Obj:
        now = timestamp(self.now)
        wanted = {"status": status, "reason": reason, "message": message}
        if before is not None and all(before.get(name) == value for name, value in wanted.items()):
            return dict(before)
        same = before is not None and before.get("status") == status
        return {
            "type": kind,
            "status": status,
            "lastUpdateTime": now,
            "lastTransitionTime": before["lastTransitionTime"] if before is not None and same else now,
            "reason": reason,
            "message": message,
        }


def _same_state(before: Obj | None, condition: Obj) -> bool:
    names = ("status", "reason")
    return before is not None and all(before.get(name) == condition[name] for name in names)


def _all_updated(status: Obj) -> bool:
    return bool(status.get("replicas", 0) == status.get("updatedReplicas", 0))


def _number(obj: Obj | None, field: str) -> int:
    return int(((obj or {}).get("status") or {}).get(field) or 0)
