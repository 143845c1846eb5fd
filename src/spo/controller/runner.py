"""Run the parts of a process until a signal or until one of them fails."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from spo import klog

log = klog.get("runner")

Part = Callable[[], Awaitable[None]]
"""Makes the coroutine of one part of a process."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


async def run_until_stopped(*parts: Part, grace_s: float = 10.0) -> None:
    """Run all ``parts`` side by side; return after SIGTERM or SIGINT, or when all have ended.

    On a signal every part is cancelled and has ``grace_s`` to finish; a second signal cuts that short.
    A part that raises stops the others in the same way, and its error goes to the caller.
    """
    stop = asyncio.Event()
    tasks: list[asyncio.Future[None]] = [asyncio.ensure_future(part()) for part in parts]
    stopped: asyncio.Future[bool] = asyncio.create_task(stop.wait())
    with _signals_set(stop):
        try:
            await _first_end(tasks, stopped)
        finally:
            stop.clear()
            await _finish(tasks, stop, grace_s)
            stopped.cancel()
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error


async def _first_end(tasks: "list[asyncio.Future[None]]", stopped: "asyncio.Future[bool]") -> None:
    """Wait for a signal, for an error, or for the end of everything."""
    running = set(tasks)
    while running:
        either: list[asyncio.Future[Any]] = [*running, stopped]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if stopped.done():
            log.info("stopping")
            return
        done = {task for task in running if task.done()}
        running -= done
        if any(task.cancelled() or task.exception() is not None for task in done):
            return


async def _finish(tasks: "list[asyncio.Future[None]]", again: asyncio.Event, grace_s: float) -> None:
    """Cancel what runs and wait for it, at most ``grace_s`` or until the second signal."""
    for task in tasks:
        task.cancel()
    ended = asyncio.ensure_future(asyncio.wait(tasks)) if tasks else None
    hurry = asyncio.create_task(again.wait())
    if ended is not None:
        await asyncio.wait({ended, hurry}, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            ended.cancel()
            names = [str(task) for task in tasks if not task.done()]
            log.warning("some parts did not stop in time", count=len(names), parts=names)
    hurry.cancel()


@contextmanager
def _signals_set(event: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, event.set)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
