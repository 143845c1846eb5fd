"""The containers of one pod: what runs, and what is known about what ran."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from onenode.kubelet.logs import container_log, log_tail
from onenode.kubelet.names import SANDBOX_CONTAINER
from onenode.kubelet.pod import Container, Pod
from onenode.kubelet.records import ContainerRecord, Ended, record_from_status
from onenode.kubelet.starter import Starter, termination_file
from onenode.kubelet.state import ContainerPhase, ContainerState, Image

_RECHECK_S: Final = 1.0
_SIGKILL_EXIT: Final = 137
_MESSAGE_BYTES: Final = 4096
_LOG_MESSAGE_BYTES: Final = 2048
_LOG_MESSAGE_LINES: Final = 80


class PodContainers:
    """Follows the containers of one pod; decides nothing."""

    def __init__(
        self, uid: str, starter: Starter, clock: Callable[[], float], changed: Callable[[], None]
    ) -> None:
        self._uid = uid
        self._starter = starter
        self._runtime = starter.runtime
        self._settings = starter.settings
        self._clock = clock
        self._changed = changed
        self._watches: dict[str, Callable[[], None]] = {}
        self._maybe_ended: set[str] = set()
        self.records: dict[str, ContainerRecord] = {}
        """One per container and init container."""
        self.sandbox: ContainerState | None = None
        self.sandbox_attempts = 0
        self.pod_ip = ""
        self.recheck_at_s: float | None = None
        """When to look again at a container whose process is gone and whose end is not written down."""

    @property
    def running(self) -> list[ContainerState]:
        """What runs, without the sandbox."""
        return [record.running for record in self.records.values() if record.running]

    def load(self, pod: Pod, status: dict[str, Any], adopted: Iterable[ContainerState]) -> None:
        """Take over what an earlier run left: running containers and the history in the status."""
        known = {
            item["name"]: item
            for field in ("initContainerStatuses", "containerStatuses")
            for item in status.get(field) or ()
        }
        newest = {state.name: state for state in sorted(adopted, key=lambda item: item.attempt)}
        lost = not newest
        sandbox = newest.pop(SANDBOX_CONTAINER, None)
        if sandbox is not None:
            self.note_sandbox(sandbox)
        for container in (*pod.spec.init_containers, *pod.spec.containers):
            name, found = container.name, newest.get(container.name)
            if found is not None:
                self.records[name] = self._adopt(pod, container, known.get(name), found)
            elif lost and container in pod.spec.init_containers:
                self.records[name] = ContainerRecord()  # its work went with the sandbox
            else:
                self.records[name] = record_from_status(known.get(name), self._settings, self._clock())

    def note_start(self, container: Container, state: ContainerState, image: Image) -> None:
        """A new run of a container began."""
        started, ready = container.startup_probe is None, not probed(container)
        record = self.records[container.name].with_running(state, started=started, ready=ready)
        self.records[container.name] = record.with_image(image)
        self.watch(state)

    def note_health(
        self, name: str, identifier: str, *, started: bool | None = None, ready: bool | None = None
    ) -> None:
        """A probe found something out about a run; ``None`` is no news."""
        record = self.records[name]
        if record.running is None or record.running.id != identifier:
            return
        changed = replace(
            record,
            started=record.started if started is None else started,
            ready=record.ready if ready is None else ready,
        )
        if changed != record:
            self.records[name] = changed
            self._changed()

    def note_sandbox(self, sandbox: ContainerState) -> None:
        """There is a sandbox."""
        self.sandbox = sandbox
        self.sandbox_attempts = sandbox.attempt + 1
        self.pod_ip = sandbox.ip
        if sandbox.running:
            self.watch(sandbox)

    def watch(self, state: ContainerState) -> None:
        """Learn when it ends."""

        def ended() -> None:
            self._watches.pop(state.id, None)
            self._maybe_ended.add(state.id)
            self._changed()

        self._watches[state.id] = self._runtime.on_exit(state, ended)

    def close(self) -> None:
        """Watch nothing any more."""
        for close in self._watches.values():
            close()
        self._watches.clear()

    async def observe(self, pod: Pod) -> None:
        """Look at the containers whose processes are gone."""
        identifiers, self._maybe_ended = list(self._maybe_ended), set()
        self.recheck_at_s = None
        if not identifiers:
            return
        states = {state.id: state for state in await self._runtime.inspect(identifiers)}
        for identifier in identifiers:
            found = states.get(identifier)
            if found is not None and found.running:
                self._maybe_ended.add(identifier)
                self.recheck_at_s = self._clock() + _RECHECK_S
            elif self.sandbox is not None and self.sandbox.id == identifier:
                self.sandbox = replace(self.sandbox, phase=ContainerPhase.EXITED)
            else:
                self._note_end(pod, identifier, found)

    async def kill_running(self, pod: Pod) -> None:
        """End everything but the sandbox at once."""
        running = self.running
        await self._runtime.remove([state.id for state in running])
        for state in running:
            close = self._watches.pop(state.id, None)
            if close is not None:
                close()
            self._note_end(pod, state.id, None)

    async def remove_all(self, pod: Pod | None = None) -> None:
        """Remove all containers; those that ran are recorded as killed if the pod is given."""
        await self._runtime.remove([state.id for state in await self._runtime.containers(self._uid)])
        self.close()
        self.sandbox = None
        for state in self.running if pod is not None else ():
            self._note_end(pod, state.id, None)

    async def remove_strays(self) -> None:
        """Remove what a failed call left behind; its name would be in the way."""
        known = {state.id for state in self.running}
        if self.sandbox is not None:
            known.add(self.sandbox.id)
        found = await self._runtime.containers(self._uid)
        await self._runtime.remove([state.id for state in found if state.id not in known])

    async def remove_dead_sandbox(self, pod: Pod) -> None:
        """Make room for a new one; what the init containers did went with it."""
        if self.sandbox is None:
            return
        await self._runtime.remove([self.sandbox.id])
        self.sandbox = None
        for container in pod.spec.init_containers:
            self.records[container.name] = ContainerRecord()

    async def note_start_error(self, pod: Pod, container: Container, reason: str, message: str) -> None:
        """The container was made and never ran: that counts as a run that failed."""
        now, record = self._clock(), self.records[container.name]
        left = [state for state in await self._runtime.containers(self._uid) if state.name == container.name]
        if not left:
            self.records[container.name] = record.with_failure(reason, message, now, self._settings)
            return
        newest = max(left, key=lambda item: item.attempt)
        state = replace(newest, phase=ContainerPhase.CREATED, error=message, finished_s=now)
        ended = self._ended(pod, container, state)
        self.records[container.name] = record.with_running(state).with_end(ended, self._settings)
        await self._runtime.remove([state.id])

    def _adopt(
        self, pod: Pod, container: Container, status: dict[str, Any] | None, state: ContainerState
    ) -> ContainerRecord:
        before = record_from_status(status, self._settings, self._clock())
        ended = before.ended
        if ended is not None and (ended.container_id == state.id or ended.reason == "ContainerStatusUnknown"):
            before = replace(before, ended=None)
        known = status or {}
        record = before.with_running(
            state,
            started=container.startup_probe is None or bool(known.get("started")),
            ready=not probed(container) or bool(known.get("ready")),
        )
        if state.running:
            self.watch(state)
            return record
        return record.with_end(self._ended(pod, container, state), self._settings)

    def _note_end(self, pod: Pod | None, identifier: str, state: ContainerState | None) -> None:
        for name, record in self.records.items():
            container = pod.container(name) if pod is not None else None
            if pod is None or container is None or record.running is None or record.running.id != identifier:
                continue
            last = state or replace(
                record.running,
                phase=ContainerPhase.EXITED,
                exit_code=_SIGKILL_EXIT,
                finished_s=self._clock(),
            )
            self.records[name] = record.with_end(self._ended(pod, container, last), self._settings)

    def _ended(self, pod: Pod, container: Container, state: ContainerState) -> Ended:
        folder = self._starter.container_folder(pod, container)
        message = _read_message(termination_file(folder, state.attempt))
        if not message and state.exit_code and container.termination_message_policy != "File":
            message = log_tail(
                container_log(folder, state.attempt), lines=_LOG_MESSAGE_LINES, limit_bytes=_LOG_MESSAGE_BYTES
            )
        return Ended.from_state(state, message)


def probed(container: Container) -> bool:
    """Whether it becomes ready by a probe only."""
    return container.startup_probe is not None or container.readiness_probe is not None


def _read_message(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(_MESSAGE_BYTES).decode(errors="replace")
    except OSError:
        return ""
