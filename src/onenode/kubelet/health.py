"""Follows the health of a pod's containers: probes again and again, counts, tells what changed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from onenode.kubelet.containers import PodContainers
from onenode.kubelet.events import PodEvents
from onenode.kubelet.pod import Container, Pod, Probe
from onenode.kubelet.probes import ProbeResult, ProbeTarget, run_probe
from onenode.kubelet.runtime import Runtime
from onenode.kubelet.state import ContainerState

STARTUP: Final = "Startup"
READINESS: Final = "Readiness"
LIVENESS: Final = "Liveness"

Look = Callable[[Probe], Awaitable[ProbeResult]]
"""Runs a probe once against one run of a container."""
Sleep = Callable[[float], Awaitable[None]]


class HealthListener(Protocol):
    """Is told what the probes of one run of a container found."""

    def started(self) -> None:
        """The startup probe succeeded."""

    def ready(self, value: bool) -> None:
        """The readiness probe came to this conclusion, perhaps again."""

    def failed(self, kind: str, message: str) -> None:
        """One look failed."""

    def unhealthy(self, kind: str) -> None:
        """The startup or liveness probe failed as often as it may: the run has to end."""


class _Conclusions:
    """Counts the results of one probe: so many equal ones in a row make a conclusion."""

    def __init__(self, kind: str, probe: Probe, look: Look, listener: HealthListener, sleep: Sleep) -> None:
        self._kind = kind
        self._probe = probe
        self._look = look
        self._listener = listener
        self._sleep = sleep
        self._wait_s = probe.initial_delay_seconds
        self._equal = 0
        self._last = False

    async def next(self) -> bool:
        """Look until there is a conclusion."""
        while True:
            await self._sleep(self._wait_s)
            self._wait_s = self._probe.period_seconds
            result = await self._look(self._probe)
            if not result.success:
                self._listener.failed(self._kind, result.message)
            self._equal = self._equal + 1 if result.success is self._last else 1
            self._last = result.success
            enough = self._probe.success_threshold if self._last else self._probe.failure_threshold
            if self._equal >= enough:
                return self._last


async def follow_health(
    container: Container,
    look: Look,
    listener: HealthListener,
    *,
    started: bool,
    sleep: Sleep = asyncio.sleep,
) -> None:
    """Probe one run of a container until cancelled or until nothing is left to find out.

    Args:
        container: its probes.
        look: runs one of them once.
        listener: is told.
        started: the startup probe has succeeded already.
        sleep: waits between two looks.
    """
    if container.startup_probe is not None and not started:
        if not await _Conclusions(STARTUP, container.startup_probe, look, listener, sleep).next():
            listener.unhealthy(STARTUP)
            return
        listener.started()
    async with asyncio.TaskGroup() as tasks:
        if container.readiness_probe is None:
            listener.ready(True)
        else:
            readiness = _Conclusions(READINESS, container.readiness_probe, look, listener, sleep)
            tasks.create_task(_follow_readiness(readiness, listener))
        if container.liveness_probe is not None:
            liveness = _Conclusions(LIVENESS, container.liveness_probe, look, listener, sleep)
            tasks.create_task(_follow_liveness(liveness, listener))


async def _follow_readiness(conclusions: _Conclusions, listener: HealthListener) -> None:
    while True:
        listener.ready(await conclusions.next())


async def _follow_liveness(conclusions: _Conclusions, listener: HealthListener) -> None:
    while await conclusions.next():
        pass
    listener.unhealthy(LIVENESS)


class PodHealth:
    """One task per running container that has probes."""

    def __init__(
        self, containers: PodContainers, runtime: Runtime, events: PodEvents, changed: Callable[[], None]
    ) -> None:
        self._containers = containers
        self._changed = changed
        self._runtime = runtime
        self._events = events
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.unhealthy: dict[str, str] = {}
        """Runs that have to end: the probe that said so, by container id."""

    def follow(self, pod: Pod, pod_ip: str) -> None:
        """Probe what runs, and nothing else."""
        running = {state.id: state for state in self._containers.running}
        for identifier in [known for known in self._tasks if known not in running]:
            self._tasks.pop(identifier).cancel()
            self.unhealthy.pop(identifier, None)
        for identifier, state in running.items():
            container = pod.container(state.name)
            if identifier not in self._tasks and container is not None and container.has_probes:
                self._tasks[identifier] = self._start(pod, container, state, pod_ip)

    def stop(self) -> None:
        """Probe nothing any more."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    def give_up(self, state: ContainerState, kind: str) -> None:
        """A run has to end."""
        self.unhealthy[state.id] = kind
        self._changed()

    def _start(
        self, pod: Pod, container: Container, state: ContainerState, pod_ip: str
    ) -> "asyncio.Task[None]":
        target = ProbeTarget(runtime=self._runtime, state=state, container=container, pod_ip=pod_ip)
        listener = _RunListener(self, self._containers, self._events, pod, state)
        work = follow_health(
            container,
            lambda probe: run_probe(probe, target),
            listener,
            started=self._containers.records[container.name].started,
        )
        return asyncio.create_task(work, name=f"probes of {state.name}")


class _RunListener:
    """Notes what the probes of one run find."""

    def __init__(
        self, health: PodHealth, containers: PodContainers, events: PodEvents, pod: Pod, state: ContainerState
    ) -> None:
        self._health = health
        self._containers = containers
        self._events = events
        self._pod = pod
        self._state = state

    def started(self) -> None:
        """The startup probe succeeded."""
        self._containers.note_health(self._state.name, self._state.id, started=True)

    def ready(self, value: bool) -> None:
        """The readiness probe came to this conclusion."""
        self._containers.note_health(self._state.name, self._state.id, ready=value)

    def failed(self, kind: str, message: str) -> None:
        """One look failed."""
        text = f"{kind} probe failed: {message}"
        self._events.warning(self._pod, "Unhealthy", text, container=self._state.name)

    def unhealthy(self, kind: str) -> None:
        """The run has to end."""
        text = f"Container {self._state.name} failed {kind.lower()} probe, will be restarted"
        self._events.normal(self._pod, "Killing", text, container=self._state.name)
        self._containers.note_health(self._state.name, self._state.id, ready=False)
        self._health.give_up(self._state, kind)
