"""``spo.rpc.server`` on an asyncio event loop, for processes that have one anyway."""

import asyncio
import contextlib
import selectors
import socket
import time
from collections.abc import Callable, Container, Mapping
from typing import Any, Final, NoReturn

import msgspec

from spo.rpc.protocol import Protocol
from spo.rpc.server import Peer, Ready, Server


class _LoopSelector(selectors.BaseSelector):
    """Has the event loop wait, and calls what is registered, then ``after``."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, after: Callable[[BaseException | None], None]
    ) -> None:
        self._loop = loop
        self._after = after
        self._keys: dict[int, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """See :class:`selectors.BaseSelector`; ``data`` is a :data:`spo.rpc.server.Ready`."""
        key = selectors.SelectorKey(fileobj, fileobj.fileno(), events, data)
        self._keys[key.fd] = key
        if events & selectors.EVENT_READ:
            self._loop.add_reader(key.fd, self._call, key.data, selectors.EVENT_READ)
        if events & selectors.EVENT_WRITE:
            self._loop.add_writer(key.fd, self._call, key.data, selectors.EVENT_WRITE)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """See :class:`selectors.BaseSelector`."""
        key = self._keys.pop(fileobj.fileno())
        self._loop.remove_reader(key.fd)
        self._loop.remove_writer(key.fd)
        return key

    def select(self, timeout: float | None = None) -> NoReturn:
        """Not here: the event loop does it."""
        raise NotImplementedError("the event loop waits")

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """See :class:`selectors.BaseSelector`; by descriptor."""
        return self._keys

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """See :class:`selectors.BaseSelector`."""
        return self._keys[fileobj.fileno()]

    def _call(self, ready: Ready, events: int) -> None:
        try:
            ready(events)
        except BaseException as error:  # would be lost in the event loop; ends the server instead
            self._after(error)
        else:
            self._after(None)


class AsyncioServer:
    """Answers on a listening socket until cancelled.

    Args:
        handle, allowed_uids: see :class:`spo.rpc.server.Server`.
    """

    def __init__(
        self,
        listener: socket.socket,
        protocol: Protocol,
        handle: Callable[[Peer, Any], msgspec.Struct],
        *,
        allowed_uids: Container[int],
    ) -> None:
        self._listener = listener
        self._protocol = protocol
        self._handle = handle
        self._allowed_uids = allowed_uids
        self._server: Server | None = None
        self._woken = asyncio.Event()

    def publish(self, event: msgspec.Struct) -> int:
        """Send an event to every peer that has subscribed; how many these are."""
        if self._server is None:
            return 0
        self._woken.set()
        return self._server.publish(event)

    async def run(self) -> None:
        """Serve; what ``handle`` raises by mistake ends it."""
        woken: Final = self._woken
        errors: list[BaseException] = []

        def after(error: BaseException | None) -> None:
            if error is not None:
                errors.append(error)
            woken.set()

        selector = _LoopSelector(asyncio.get_running_loop(), after)
        server = self._server = Server(
            self._listener, self._protocol, self._handle, selector, allowed_uids=self._allowed_uids
        )
        try:
            while not errors:
                server.tick()
                server.flush()
                deadline_s = server.next_deadline_s()
                left_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
                # Not wait_for: Python 3.11 loses a cancellation that comes together with the result.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left_s):
                        await woken.wait()
                woken.clear()
            raise errors[0]
        finally:
            self._server = None
            server.close()
