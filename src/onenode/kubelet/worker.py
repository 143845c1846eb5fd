"""Drives one pod: compares what is wanted with what is, takes one step, reports, again."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from onenode.kubelet.arguments import cgroup_parent
from onenode.kubelet.downward import PodFacts
from onenode.kubelet.errors import (
    ContainerError,
    ContainerStartError,
    InvalidPodError,
    RuntimeCallError,
    VolumeError,
)
from onenode.kubelet.logs import container_log, log_tail
from onenode.kubelet.names import SANDBOX_CONTAINER
from onenode.kubelet.plan import Finish, StartContainer, StartSandbox, StopContainers, Wait, next_step
from onenode.kubelet.pod import Container, Pod, parse_pod
from onenode.kubelet.pod_status import PodSituation, pod_status, pod_text, same_status
from onenode.kubelet.records import ContainerRecord, Ended, record_from_status
from onenode.kubelet.starter import Starter, termination_file
from onenode.kubelet.state import ContainerPhase, ContainerState, parse_time

log = logging.getLogger("onenode.kubelet")

_RECHECK_S: Final = 1.0
_SIGKILL_EXIT: Final = 137
_MESSAGE_BYTES: Final = 4096
_LOG_MESSAGE_BYTES: Final = 2048
_LOG_MESSAGE_LINES: Final = 80
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
        self._pod: Pod | None = None
        self._records: dict[str, ContainerRecord] = {}
        self._sandbox: ContainerState | None = None
        self._sandbox_attempts = 0
        self._sandbox_record = ContainerRecord()
        self._pod_ip = ""
        self._watches: dict[str, Callable[[], None]] = {}
        self._maybe_ended: set[str] = set()
        self._recheck_at_s: float | None = None
        self._stop_began_s: float | None = None
        self._signalled: set[str] = set()
        self._refresh_at_s = 0.0
        self._failure: tuple[str, str] | None = None
        self._cleaned = False
        self._gone = False

    def wake(self) -> None:
        """Something may have changed."""
        self._wake.set()

    def record(self, container: str) -> ContainerRecord | None:
        """What is known about a container."""
        return self._records.get(container)

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
            for close in self._watches.values():
                close()

    async def _sleep(self, until_s: float | None) -> None:
        delay_s = None if until_s is None else max(until_s - self._parts.clock(), 0.0)
        try:
            await asyncio.wait_for(self._wake.wait(), delay_s)
        except TimeoutError:
            return

    async def _sync_safely(self) -> float | None:
        """Time of the next look; ``None``: when woken."""
        try:
            return await self._sync()
        except (RuntimeCallError, OSError, InvalidPodError) as error:
            log.warning("cannot bring pod up to date pod=%s/%s error=%s", *self.key, error)
            return self._parts.clock() + self._settings.start_backoff_max_s / 4

    async def _sync(self) -> float | None:
        stored = self._parts.store.pod(self.key)
        if stored is None or stored["metadata"].get("uid") != self.uid:
            await self._tear_down()
            await self._clean_up()
            self._gone = True
            return None
        pod = parse_pod(stored)
        status = stored.get("status") or {}
        if self._pod is None:
            self._load(pod, status)
        self._pod = pod
        await self._observe(pod)
        if pod.metadata.deletion_timestamp is not None:
            return await self._delete(pod)
        if status.get("phase") in _FINISHED:
            await self._remove_containers(pod)
            return None
        return await self._advance(pod, status)

    # ---- what is ----

    def _load(self, pod: Pod, status: dict[str, Any]) -> None:
        """Take over what an earlier run left: running containers and the history in the status."""
        known = {
            item["name"]: item
            for field in ("initContainerStatuses", "containerStatuses")
            for item in status.get(field) or ()
        }
        now = self._parts.clock()
        newest: dict[str, ContainerState] = {}
        for state in sorted(self._adopted, key=lambda item: item.attempt):
            newest[state.name] = state
        lost = not newest
        if status.get("phase") in _FINISHED:
            self._cleaned = lost
            if status.get("reason"):
                self._failure = (status["reason"], status.get("message", ""))
        sandbox = newest.pop(SANDBOX_CONTAINER, None)
        if sandbox is not None:
            self._sandbox_attempts = sandbox.attempt + 1
            self._sandbox = sandbox
            self._pod_ip = sandbox.ip
            if sandbox.running:
                self._watch(sandbox)
        for container in (*pod.spec.init_containers, *pod.spec.containers):
            before = record_from_status(known.get(container.name), self._settings, now)
            found = newest.get(container.name)
            if found is not None:
                self._records[container.name] = self._adopt(pod, container, before, found)
            elif lost and container in pod.spec.init_containers:
                self._records[container.name] = ContainerRecord()  # its work went with the sandbox
            else:
                self._records[container.name] = before
        self._adopted.clear()

    def _adopt(
        self, pod: Pod, container: Container, before: ContainerRecord, state: ContainerState
    ) -> ContainerRecord:
        ended = before.ended
        if ended is not None and (ended.container_id == state.id or ended.reason == "ContainerStatusUnknown"):
            before = replace(before, ended=None)
        record = before.with_running(state)
        if state.running:
            self._watch(state)
            return record
        return record.with_end(self._ended(pod, container, state), self._settings)

    def _watch(self, state: ContainerState) -> None:
        def ended() -> None:
            self._watches.pop(state.id, None)
            self._maybe_ended.add(state.id)
            self._wake.set()

        self._watches[state.id] = self._runtime.on_exit(state, ended)

    async def _observe(self, pod: Pod) -> None:
        """Look at the containers whose processes are gone."""
        identifiers, self._maybe_ended = list(self._maybe_ended), set()
        self._recheck_at_s = None
        if not identifiers:
            return
        states = {state.id: state for state in await self._runtime.inspect(identifiers)}
        for identifier in identifiers:
            found = states.get(identifier)
            if found is not None and found.running:
                self._maybe_ended.add(identifier)
                self._recheck_at_s = self._parts.clock() + _RECHECK_S
            elif self._sandbox is not None and self._sandbox.id == identifier:
                self._sandbox = replace(self._sandbox, phase=ContainerPhase.EXITED)
            else:
                self._note_end(pod, identifier, found)

    def _note_end(self, pod: Pod, identifier: str, state: ContainerState | None) -> None:
        for name, record in self._records.items():
            container = pod.container(name)
            if record.running is None or record.running.id != identifier or container is None:
                continue
            last = state or replace(
                record.running,
                phase=ContainerPhase.EXITED,
                exit_code=_SIGKILL_EXIT,
                finished_s=self._parts.clock(),
            )
            self._records[name] = record.with_end(self._ended(pod, container, last), self._settings)

    def _ended(self, pod: Pod, container: Container, state: ContainerState) -> Ended:
        folder = self._parts.starter.container_folder(pod, container)
        message = _read_limited(folder, state.attempt)
        if not message and state.exit_code and container.termination_message_policy != "File":
            message = log_tail(
                container_log(folder, state.attempt), lines=_LOG_MESSAGE_LINES, limit_bytes=_LOG_MESSAGE_BYTES
            )
        return Ended.from_state(state, message)

    # ---- towards what is wanted ----

    async def _advance(self, pod: Pod, status: dict[str, Any]) -> float | None:
        self._report(pod)
        deadline_s = self._deadline(pod, status)
        await self._refresh_volumes(pod)
        while True:
            now = self._parts.clock()
            if deadline_s is not None and now >= deadline_s:
                await self._exceed_deadline(pod)
                return None
            step = next_step(pod.spec, self._records, sandbox_ready=self._sandbox_ready(pod), now_s=now)
            match step:
                case Wait(until_s):
                    self._report(pod)
                    times = (until_s, deadline_s, self._recheck_at_s, self._refresh_at_s or None)
                    return min((time for time in times if time is not None), default=None)
                case Finish():
                    self._report(pod)
                    await self._remove_containers(pod)
                    return None
                case StartSandbox():
                    retry_at_s = await self._start_sandbox(pod)
                    if retry_at_s is not None:
                        self._report(pod)
                        return retry_at_s
                case StopContainers():
                    await self._stop_without_network(pod)
                case StartContainer(name):
                    await self._start_container(pod, name)
            self._report(pod)
            if self._wake.is_set():
                return self._parts.clock()  # the pod changed, perhaps it is being deleted

    async def _start_sandbox(self, pod: Pod) -> float | None:
        """Start it, or say when to try again."""
        record, now = self._sandbox_record, self._parts.clock()
        if record.retry_at_s > now:
            return record.retry_at_s
        try:
            if self._sandbox is not None:
                await self._runtime.remove([self._sandbox.id])
                self._sandbox = None
                for container in pod.spec.init_containers:
                    self._records[container.name] = ContainerRecord()
            self._sandbox = await self._parts.starter.start_sandbox(pod, self._sandbox_attempts)
        except (ContainerError, RuntimeCallError) as error:
            self._sandbox_record = record.with_failure("Failed", str(error), now, self._settings)
            self._events.warning(pod, "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
            await self._remove_strays()
            return self._sandbox_record.retry_at_s
        self._sandbox_attempts += 1
        self._sandbox_record = ContainerRecord()
        self._pod_ip = self._sandbox.ip
        self._watch(self._sandbox)
        return None

    async def _stop_without_network(self, pod: Pod) -> None:
        self._events.normal(pod, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
        await self._kill_running(pod)

    async def _kill_running(self, pod: Pod) -> None:
        running = [record.running for record in self._records.values() if record.running]
        await self._runtime.remove([state.id for state in running])
        for state in running:
            self._unwatch(state.id)
            self._note_end(pod, state.id, None)

    async def _start_container(self, pod: Pod, name: str) -> None:
        container = pod.container(name)
        record = self._records[name]
        if container is None:
            return
        now = self._parts.clock()
        if record.ended is not None:
            await self._runtime.remove([record.ended.container_id] if record.ended.container_id else [])
        try:
            state, image = await self._parts.starter.start_container(
                pod, container, record.next_attempt, self._sandbox, self._facts()
            )
        except ContainerStartError as error:
            self._events.warning(pod, "Failed", f"Error: {error}", container=name)
            await self._note_start_error(pod, container, record, error)
        except VolumeError as error:
            self._events.warning(pod, "FailedMount", str(error))
            self._records[name] = record.with_failure("ContainerCreating", "", now, self._settings)
        except ContainerError as error:
            self._events.warning(pod, "Failed", f"Error: {error}", container=name)
            self._records[name] = record.with_failure(error.reason, error.message, now, self._settings)
            await self._remove_strays()
        else:
            self._records[name] = record.with_running(state).with_image(image)
            self._refresh_at_s = self._parts.clock() + self._settings.volume_refresh_s
            self._watch(state)

    async def _note_start_error(
        self, pod: Pod, container: Container, record: ContainerRecord, error: ContainerStartError
    ) -> None:
        """The container was made and never ran: that counts as a run that failed."""
        now = self._parts.clock()
        left = [state for state in await self._runtime.containers(self.uid) if state.name == container.name]
        if not left:
            failed = record.with_failure(error.reason, error.message, now, self._settings)
            self._records[container.name] = failed
            return
        newest = max(left, key=lambda item: item.attempt)
        state = replace(newest, phase=ContainerPhase.CREATED, error=error.message, finished_s=now)
        ended = self._ended(pod, container, state)
        self._records[container.name] = record.with_running(state).with_end(ended, self._settings)
        await self._runtime.remove([state.id])

    async def _remove_strays(self) -> None:
        """Remove containers of the pod that a failed call left behind; their names would be in the way."""
        known = {record.running.id for record in self._records.values() if record.running}
        if self._sandbox is not None:
            known.add(self._sandbox.id)
        strays = [state.id for state in await self._runtime.containers(self.uid) if state.id not in known]
        await self._runtime.remove(strays)

    async def _refresh_volumes(self, pod: Pod) -> None:
        now = self._parts.clock()
        if not self._refresh_at_s or now < self._refresh_at_s:
            return
        self._refresh_at_s = now + self._settings.volume_refresh_s
        try:
            self._parts.starter.volumes.prepare(pod, self._facts())
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
        await self._kill_running(pod)
        self._report(pod)
        await self._remove_containers(pod)

    # ---- the end ----

    async def _delete(self, pod: Pod) -> float | None:
        """SIGTERM, the grace period, SIGKILL; the pod goes from the API when nothing runs."""
        now = self._parts.clock()
        if self._stop_began_s is None:
            self._stop_began_s = now
        grace_s = pod.metadata.deletion_grace_period_seconds
        if grace_s is None:
            grace_s = pod.spec.termination_grace_period_seconds
        running = [record.running for record in self._records.values() if record.running]
        if running:
            over = now >= self._stop_began_s + grace_s
            for state in running:
                self._stop(pod, state, over=over)
            self._report(pod)
            again_s = now + _RECHECK_S if over else self._stop_began_s + grace_s
            return min(again_s, self._recheck_at_s or again_s)
        self._report(pod, stopped=True)
        await self._tear_down()
        self._parts.store.finish_deletion(self.key, self.uid)
        await self._clean_up()
        self._gone = self._parts.store.pod(self.key) is None
        return None

    def _stop(self, pod: Pod, state: ContainerState, *, over: bool) -> None:
        if over:
            self._runtime.send_signal(state, signal.SIGKILL)
        elif state.id not in self._signalled:
            self._signalled.add(state.id)
            self._events.normal(pod, "Killing", f"Stopping container {state.name}", container=state.name)
            self._runtime.send_signal(state, signal.Signals[state.stop_signal])

    async def _tear_down(self) -> None:
        """Remove whatever there is of the pod on this node."""
        await self._runtime.remove([state.id for state in await self._runtime.containers(self.uid)])
        for identifier in list(self._watches):
            self._unwatch(identifier)
        self._sandbox = None

    async def _clean_up(self) -> None:
        """Remove what is left on the node; the folder last: it is how a next run knows there is something."""
        await self._remove_cgroup()
        self._parts.starter.volumes.remove(self.uid)

    async def _remove_cgroup(self) -> None:
        if self._pod is not None and not await self._parts.remove_cgroup(cgroup_parent(self._pod)):
            log.warning("control group of a pod stays: something runs in it pod=%s/%s", *self.key)

    async def _remove_containers(self, pod: Pod) -> None:
        """A finished pod holds no containers; its logs stay until it is deleted."""
        if self._cleaned:
            return
        await self._runtime.remove([state.id for state in await self._runtime.containers(self.uid)])
        for identifier in list(self._watches):
            self._unwatch(identifier)
        for name, record in self._records.items():
            if record.running:
                self._note_end(pod, record.running.id, None)
            self._records[name] = replace(self._records[name], running=None)
        self._sandbox = None
        self._cleaned = True
        self._report(pod)
        await self._remove_cgroup()

    def _unwatch(self, identifier: str) -> None:
        close = self._watches.pop(identifier, None)
        if close is not None:
            close()

    # ---- status ----

    def _report(self, pod: Pod, *, stopped: bool = False) -> None:
        stored = self._parts.store.pod(self.key)
        if stored is None or stored["metadata"].get("uid") != self.uid:
            return
        before = stored.get("status") or {}
        situation = PodSituation(
            sandbox_ready=self._sandbox_ready(pod),
            pod_ip=self._settings.host_ip if pod.spec.host_network else self._pod_ip,
            host_ip=self._settings.host_ip,
            now_s=self._parts.clock(),
            failure=self._failure,
            stopped=stopped,
        )
        status = pod_status(pod, self._records, situation, before)
        if not same_status(before, status):
            self._note_back_off(pod)
            self._parts.store.write_status(self.key, self.uid, status)

    def _note_back_off(self, pod: Pod) -> None:
        for container in (*pod.spec.init_containers, *pod.spec.containers):
            record = self._records[container.name]
            waits = record.running is None and record.retry_at_s > self._parts.clock()
            if waits and record.ended is not None and not record.waiting_reason:
                message = f"Back-off restarting failed container {container.name} in pod {pod_text(pod)}"
                self._events.warning(pod, "BackOff", message, container=container.name)

    def _sandbox_ready(self, pod: Pod) -> bool:
        return pod.spec.host_network or (self._sandbox is not None and self._sandbox.running)

    def _facts(self) -> PodFacts:
        pod = self._pod
        host = pod is not None and pod.spec.host_network
        return replace(
            self._parts.facts,
            host_ip=self._settings.host_ip,
            pod_ip=self._settings.host_ip if host else self._pod_ip,
        )


def _read_limited(folder: Path, attempt: int) -> str:
    try:
        with termination_file(folder, attempt).open("rb") as stream:
            return stream.read(_MESSAGE_BYTES).decode(errors="replace")
    except OSError:
        return ""
