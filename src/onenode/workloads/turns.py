"""One run at a time for each object that a controller looks after.

A run mostly goes through at once, within the call that starts it: everything it does is a write to the
store. It pauses only where a webhook is asked; then it goes on as a task, and what happens to its object in
the meantime starts one more run after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Key", "Turns"]

Key = tuple[str, str, str]
"""Resource, namespace, name."""

Work = Callable[[], Coroutine[Any, Any, None]]


class Turns:
    """The runs of one controller."""

    def __init__(self) -> None:
        self._running: set[Key] = set()
        self._again: set[Key] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, key: Key, work: Work) -> None:
        """Do the work of a key now, or after the run that is under way."""
        if key in self._running:
            self._again.add(key)
            return
        run = self._run(key, work)
        try:
            run.send(None)
        except StopIteration:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            # Made outside of a server, which looks at everything again when it starts.
            run.close()
            return
        # The pause was a bare yield (asyncio.sleep(0)), so that a task can go on from it.
        task = loop.create_task(run)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, key: Key, work: Work) -> None:
        self._running.add(key)
        try:
            await work()
            while key in self._again:
                self._again.discard(key)
                await work()
        finally:
            self._again.discard(key)
            self._running.discard(key)

    async def close(self) -> None:
        """End the runs that wait for a webhook."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
