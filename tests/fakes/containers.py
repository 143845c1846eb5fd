"""A container runtime in memory, for tests of the pod runner; the contract suite holds Podman to the same."""

import itertools
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace

from onenode.kubelet.errors import ContainerError, ContainerStartError
from onenode.kubelet.names import ATTEMPT_LABEL, CONTAINER_NAME_LABEL, POD_UID_LABEL
from onenode.kubelet.state import ContainerPhase, ContainerState, Image
from onenode.kubelet.streams import StreamProcess, StreamRequest


class FakeRuntime:
    """Containers that start at once and end when the test says so."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._numbers = itertools.count(1)
        self._callbacks: dict[str, Callable[[], None]] = {}
        self.states: dict[str, ContainerState] = {}
        self.started: list[str] = []
        self.signals: list[tuple[str, signal.Signals]] = []
        self.images = {"app:1": Image("0" * 64, "localhost/app:1", "localhost/app@sha256:1", "")}
        self.refusals: list[ContainerError] = []
        """Raised by the next starts of containers (not sandboxes), one each."""

    async def run(self, arguments: Sequence[str]) -> ContainerState:
        labels = dict(item.removeprefix("--label=").split("=", 1) for item in arguments if "--label=" in item)
        name = labels[CONTAINER_NAME_LABEL]
        state = ContainerState(
            id=f"{next(self._numbers):064d}",
            pod_uid=labels[POD_UID_LABEL],
            name=name,
            attempt=int(labels[ATTEMPT_LABEL]),
            phase=ContainerPhase.RUNNING,
            started_s=self._clock(),
            ip="10.88.0.7" if name == "POD" else "",
        )
        if name != "POD" and self.refusals:
            refusal = self.refusals.pop(0)
            if isinstance(refusal, ContainerStartError):
                self.states[state.id] = replace(state, phase=ContainerPhase.CREATED)
            raise refusal
        self.states[state.id] = state
        self.started.append(name)
        return state

    async def containers(self, pod_uid: str | None = None) -> list[ContainerState]:
        return [state for state in self.states.values() if pod_uid in (None, state.pod_uid)]

    async def inspect(self, identifiers: Sequence[str]) -> list[ContainerState]:
        return [self.states[identifier] for identifier in identifiers if identifier in self.states]

    async def remove(self, identifiers: Sequence[str]) -> None:
        for identifier in identifiers:
            self.states.pop(identifier, None)

    async def image(self, name: str) -> Image | None:
        return self.images.get(name)

    def on_exit(self, state: ContainerState, callback: Callable[[], None]) -> Callable[[], None]:
        self._callbacks[state.id] = callback
        return lambda: self._callbacks.pop(state.id, None) and None

    def send_signal(self, state: ContainerState, number: signal.Signals) -> bool:
        self.signals.append((state.name, number))
        return state.id in self.states

    async def open_stream(self, state: ContainerState, request: StreamRequest) -> StreamProcess:
        raise NotImplementedError("sessions are tested with Podman")

    def running(self, name: str) -> ContainerState:
        """The running container with this name."""
        return next(state for state in self.states.values() if state.name == name and state.running)

    def end(self, name: str, exit_code: int) -> None:
        """Let a running container end."""
        state = self.running(name)
        self.states[state.id] = replace(
            state, phase=ContainerPhase.EXITED, exit_code=exit_code, finished_s=self._clock()
        )
        callback = self._callbacks.pop(state.id, None)
        if callback is not None:
            callback()
