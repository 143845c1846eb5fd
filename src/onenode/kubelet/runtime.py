"""What the pod runner needs of a container runtime; ``podman.Podman`` is the real one."""

import signal
from collections.abc import Callable, Sequence
from typing import Protocol

from onenode.kubelet.state import ContainerState, Image
from onenode.kubelet.streams import StreamProcess, StreamRequest


class Runtime(Protocol):
    """Containers of one node."""

    async def run(self, arguments: Sequence[str]) -> ContainerState:
        """Make and start a container; raises ``ContainerCreateError`` or ``ContainerStartError``."""

    async def containers(self, pod_uid: str | None = None) -> list[ContainerState]:
        """All containers of ours, or those of one pod."""

    async def inspect(self, identifiers: Sequence[str]) -> list[ContainerState]:
        """States of those that exist."""

    async def remove(self, identifiers: Sequence[str]) -> None:
        """Kill and remove; those that are gone are no error."""

    async def image(self, name: str) -> Image | None:
        """Local image by name; raises ``InvalidImageNameError``."""

    def on_exit(self, state: ContainerState, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back once after a container ended; the result ends the watch."""

    def send_signal(self, state: ContainerState, number: signal.Signals) -> bool:
        """Signal a container's first process; ``False`` if it is gone."""

    async def open_stream(self, state: ContainerState, request: StreamRequest) -> StreamProcess:
        """Run a command inside a container, or attach to it."""
