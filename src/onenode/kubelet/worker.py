"""Drives one pod: compares what is wanted with what is, takes one step, reports, again."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from onenode.kubelet.arguments import cgroup_parent
from onenode.kubelet.containers import PodContainers
from onenode.kubelet.downward import PodFacts
from onenode.kubelet.errors import (
    ContainerError,
    ContainerStartError,
    InvalidPodError,
    RuntimeCallError,
    VolumeError,
)
from onenode.kubelet.health import STARTUP, PodHealth
from onenode.kubelet.plan import Finish, StartContainer, StartSandbox, StopContainers, Wait, next_step
from onenode.kubelet.pod import Pod, parse_pod
from onenode.kubelet.pod_status import PodSituation, pod_status, pod_text, same_status
from onenode.kubelet.records import ContainerRecord
from onenode.kubelet.starter import Starter
from onenode.kubelet.state import ContainerState, parse_time

log = logging.getLogger("onenode.kubelet")

_KILL_AGAIN_S: Final = 1.0
_FINISHED: Final = ("Succeeded", "Failed")


class PodStore(Protocol):
    """What one worker does with the API."""

    def pod(self, key: tuple[str, str]) -> dict[str, Any] | None:
        """The pod as stored now."""

    def write_status(self, key: tuple[str, str], uid: str, status: dict[str, Any]) -> None:
        """Replace the status; nothing happens if the pod is gone."""

    def finish_deletion(self, key: tuple[str, str], uid: str) -> None:
        """The pod has stopped: remove it from the API (finalizers permitting)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerParts:
    """What all workers share."""

    store: PodStore
    starter: Starter
    facts: PodFacts
    remove_cgroup: Callable[[str], Awaitable[bool]]
    clock: Callable[[], float]


class PodWorker:
    """One pod, from the first sight of it until it is gone."""

    def __init__(
        self, key: tuple[str, str], uid: str, parts: WorkerParts, adopted: Iterable[ContainerState] = ()
    ) -> None:
        self.key = key
        self.uid = uid
        self._parts = parts
        self._settings = parts.starter.settings
        self._runtime = parts.starter.runtime
        self._events = parts.starter.events
        self._adopted = list(adopted)
        self._wake = asyncio.Event()
        self._containers = PodContainers(uid, parts.starter, parts.clock, self._wake.set)
        self._health = PodHealth(self._containers, self._runtime, self._events, self._wake.set)
        self._pod: Pod | None = None
        self._sandbox_failures = ContainerRecord()
        self._stop_began_s: dict[str, float] = {}
        self._refresh_at_s: float | None = None
        self._failure: tuple[str, str] | None = None
        self._cleaned = False
        self._gone = False

    def wake(self) -> None:
        """Something may have changed."""
        self._wake.set()

    def record(self, container: str) -> ContainerRecord | None:
        """What is known about a container."""
        return self._containers.records.get(container)

    async def run(self) -> None:
        """Work until the pod is gone."""
        try:
            while True:
                self._wake.clear()
                until_s = await self._sync_safely()
                if self._gone:
                    return
                await self._sleep(until_s)
        finally:
            self._health.stop()
            self._containers.close()

    async def _sleep(self, until_s: float | None) -> None:
        delay_s = None if until_s is None else max(until_s - self._parts.clock(), 0.0)
        # Not wait_for: Python 3.11 loses a cancellation that comes together with the result.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._wake.wait()

    async def _sync_safely(self) -> float | None:
        """Time of the next look; ``None``: when woken."""
        try:
            return await self._sync()
        except (RuntimeCallError, ContainerError, InvalidPodError, OSError) as error:
            log.warning("cannot bring pod up to date pod=%s/%s error=%s", *self.key, error)
            return self._parts.clock() + self._settings.start_backoff_max_s / 4

    async def _sync(self) -> float | None:
        stored = self._parts.store.pod(self.key)
        if stored is None or stored["metadata"].get("uid") != self.uid:
            await self._containers.remove_all()
            await self._clean_up()
            self._gone = True
            return None
        pod, status = parse_pod(stored), stored.get("status") or {}
        finished = status.get("phase") in _FINISHED
        if self._pod is None:
            if finished:
                self._cleaned = not self._adopted
                self._failure = (
                    (status["reason"], status.get("message", "")) if status.get("reason") else None
                )
            self._containers.load(pod, status, self._adopted)
            self._adopted.clear()
        self._pod = pod
        await self._containers.observe(pod)
        if pod.metadata.deletion_timestamp is not None:
            return await self._delete(pod)
        if finished:
            await self._finish(pod)
            return None
        return await self._advance(pod, status)

    # ---- towards what is wanted ----

    async def _advance(self, pod: Pod, status: dict[str, Any]) -> float | None:
        containers = self._containers
        self._report(pod)
        self._refresh_volumes(pod)
        deadline_s = self._deadline(pod, status)
        while True:
            now = self._parts.clock()
            if deadline_s is not None and now >= deadline_s:
                await self._exceed_deadline(pod)
                return None
            end_s = self._end_unhealthy(pod, now)
            step = next_step(pod.spec, containers.records, sandbox_ready=self._sandbox_ready(pod), now_s=now)
            match step:
                case Wait(until_s):
                    self._health.follow(pod, self._pod_ip(pod))
                    self._report(pod)
                    times = (until_s, end_s, deadline_s, containers.recheck_at_s, self._refresh_at_s)
                    return min((time for time in times if time is not None), default=None)
                case Finish():
                    self._report(pod)
                    await self._finish(pod)
                    return None
                case StartSandbox():
                    retry_at_s = await self._start_sandbox(pod)
                    if retry_at_s is not None:
                        self._report(pod)
                        return retry_at_s
                case StopContainers():
                    message = "Pod sandbox changed, it will be killed and re-created."
                    self._events.normal(pod, "SandboxChanged", message)
                    await containers.kill_running(pod)
                case StartContainer(name):
                    await self._start_container(pod, name)
            self._report(pod)
            if self._wake.is_set():
                return self._parts.clock()  # the pod changed, perhaps it is being deleted

    async def _start_sandbox(self, pod: Pod) -> float | None:
        """Start it, or say when to try again."""
        failures, now = self._sandbox_failures, self._parts.clock()
        if failures.retry_at_s > now:
            return failures.retry_at_s
        try:
            await self._containers.remove_dead_sandbox(pod)
            attempt = self._containers.sandbox_attempts
            self._containers.note_sandbox(await self._parts.starter.start_sandbox(pod, attempt))
        except (ContainerError, RuntimeCallError) as error:
            self._sandbox_failures = failures.with_failure("Failed", str(error), now, self._settings)
            self._events.warning(pod, "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
            await self._containers.remove_strays()
            return self._sandbox_failures.retry_at_s
        self._sandbox_failures = ContainerRecord()
        return None

    async def _start_container(self, pod: Pod, name: str) -> None:
        records, now = self._containers.records, self._parts.clock()
        container, record = pod.container(name), records[name]
        if container is None:
            return
        if record.ended is not None and record.ended.container_id:
            await self._runtime.remove([record.ended.container_id])
        try:
            state, image = await self._parts.starter.start_container(
                pod, container, record.next_attempt, self._containers.sandbox, self._facts(pod)
            )
        except ContainerStartError as error:
            self._events.warning(pod, "Failed", f"Error: {error}", container=name)
            await self._containers.note_start_error(pod, container, error.reason, error.message)
        except VolumeError as error:
            self._events.warning(pod, "FailedMount", str(error))
            records[name] = record.with_failure("ContainerCreating", "", now, self._settings)
        except ContainerError as error:
            self._events.warning(pod, "Failed", f"Error: {error}", container=name)
            records[name] = record.with_failure(error.reason, error.message, now, self._settings)
            await self._containers.remove_strays()
        else:
            self._containers.note_start(container, state, image)
            if any(volume.changes for volume in pod.spec.volumes):
                self._refresh_at_s = self._parts.clock() + self._settings.volume_refresh_s

    def _end_unhealthy(self, pod: Pod, now_s: float) -> float | None:
        """Stop the runs whose probes gave them up; when to look at them again."""
        again = []
        for state in self._containers.running:
            kind, container = self._health.unhealthy.get(state.id), pod.container(state.name)
            if kind is None or container is None:
                continue
            probe = container.startup_probe if kind == STARTUP else container.liveness_probe
            own_grace_s = probe.termination_grace_period_seconds if probe is not None else None
            grace_s = pod.spec.termination_grace_period_seconds if own_grace_s is None else own_grace_s
            again.append(self._stop(state, now_s, grace_s))
        return min(again, default=None)

    def _refresh_volumes(self, pod: Pod) -> None:
        now = self._parts.clock()
        if self._refresh_at_s is None:
            # With running containers: those of a process before this one, which looked last who knows when.
            if not self._containers.running or not any(volume.changes for volume in pod.spec.volumes):
                return
        elif now < self._refresh_at_s:
            return
        self._refresh_at_s = now + self._settings.volume_refresh_s
        try:
            self._parts.starter.volumes.prepare(pod, self._facts(pod))
        except VolumeError as error:
            self._events.warning(pod, "FailedMount", str(error))

    def _deadline(self, pod: Pod, status: dict[str, Any]) -> float | None:
        limit_s = pod.spec.active_deadline_seconds
        started_s = parse_time(str(status.get("startTime") or "")) or self._parts.clock()
        return None if limit_s is None else started_s + limit_s

    async def _exceed_deadline(self, pod: Pod) -> None:
        message = "Pod was active on the node longer than the specified deadline"
        self._failure = ("DeadlineExceeded", message)
        self._events.normal(pod, "DeadlineExceeded", message)
        await self._containers.kill_running(pod)
        self._report(pod)
        await self._finish(pod)

    # ---- the end ----

    async def _finish(self, pod: Pod) -> None:
        """A finished pod holds no containers; its logs stay until it is deleted."""
        if self._cleaned:
            return
        await self._containers.remove_all(pod)
        self._cleaned = True
        self._report(pod)
        await self._remove_cgroup()

    async def _delete(self, pod: Pod) -> float | None:
        """SIGTERM, the grace period, SIGKILL; the pod goes from the API when nothing runs."""
        now = self._parts.clock()
        self._health.stop()
        grace_s = pod.metadata.deletion_grace_period_seconds
        if grace_s is None:
            grace_s = pod.spec.termination_grace_period_seconds
        running = self._containers.running
        if running:
            for state in running:
                if state.id not in self._stop_began_s:
                    message = f"Stopping container {state.name}"
                    self._events.normal(pod, "Killing", message, container=state.name)
            again_s = min(self._stop(state, now, grace_s) for state in running)
            self._report(pod)
            return min(again_s, self._containers.recheck_at_s or again_s)
        self._report(pod, stopped=True)
        await self._containers.remove_all()
        self._parts.store.finish_deletion(self.key, self.uid)
        await self._clean_up()
        self._gone = self._parts.store.pod(self.key) is None
        return None

    def _stop(self, state: ContainerState, now_s: float, grace_s: float) -> float:
        """SIGTERM once, SIGKILL after the grace; when to look again."""
        began_s = self._stop_began_s.get(state.id)
        if began_s is None:
            self._stop_began_s[state.id] = began_s = now_s
            self._runtime.send_signal(state, signal.Signals[state.stop_signal])
        if now_s < began_s + grace_s:
            return began_s + grace_s
        self._runtime.send_signal(state, signal.SIGKILL)
        return now_s + _KILL_AGAIN_S

    async def _clean_up(self) -> None:
        """Remove what is left on the node; the folder last: it is how a next run knows there is something."""
        await self._remove_cgroup()
        self._parts.starter.volumes.remove(self.uid)

    async def _remove_cgroup(self) -> None:
        if self._pod is not None and not await self._parts.remove_cgroup(cgroup_parent(self._pod)):
            log.warning("control group of a pod stays: something runs in it pod=%s/%s", *self.key)

    # ---- status ----

    def _report(self, pod: Pod, *, stopped: bool = False) -> None:
        """Write the status if it says something new."""
        stored = self._parts.store.pod(self.key)
        if stored is None or stored["metadata"].get("uid") != self.uid:
            return
        before = stored.get("status") or {}
        situation = PodSituation(
            sandbox_ready=self._sandbox_ready(pod) and not self._cleaned,
            pod_ip=self._pod_ip(pod),
            host_ip=self._settings.host_ip,
            now_s=self._parts.clock(),
            failure=self._failure,
            stopped=stopped,
        )
        status = pod_status(pod, self._containers.records, situation, before)
        if not same_status(before, status):
            self._note_back_off(pod)
            self._parts.store.write_status(self.key, self.uid, status)

    def _note_back_off(self, pod: Pod) -> None:
        for container in (*pod.spec.init_containers, *pod.spec.containers):
            record = self._containers.records[container.name]
            waits = record.running is None and record.retry_at_s > self._parts.clock()
            if waits and record.ended is not None and not record.waiting_reason:
                message = f"Back-off restarting failed container {container.name} in pod {pod_text(pod)}"
                self._events.warning(pod, "BackOff", message, container=container.name)

    def _sandbox_ready(self, pod: Pod) -> bool:
        sandbox = self._containers.sandbox
        return pod.spec.host_network or (sandbox is not None and sandbox.running)

    def _pod_ip(self, pod: Pod) -> str:
        return self._settings.host_ip if pod.spec.host_network else self._containers.pod_ip

    def _facts(self, pod: Pod) -> PodFacts:
        return replace(self._parts.facts, host_ip=self._settings.host_ip, pod_ip=self._pod_ip(pod))
