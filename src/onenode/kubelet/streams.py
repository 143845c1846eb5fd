"""A process inside a container with its streams: exec and attach."""

import asyncio
import contextlib
import fcntl
import os
import pty
import struct
import termios
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

_CHUNK_BYTES: Final = 32 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRequest:
    """What exec or attach is asked."""

    command: Sequence[str] = ()
    """Empty for attach."""
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: bool = False


class StreamProcess(Protocol):
    """A started process whose streams are ours."""

    def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """What it writes, as (1 or 2, bytes), until all of it is read."""

    async def write(self, data: bytes) -> None:
        """Give it input; lost silently once it has ended."""

    async def close_input(self) -> None:
        """No more input."""

    def resize(self, width: int, height: int) -> None:
        """Tell its terminal the size."""

    async def wait(self) -> int:
        """Exit code."""

    async def stop(self) -> None:
        """The client is gone: end what it started."""


def stream_arguments(container_id: str, request: StreamRequest) -> list[str]:
    """Podman arguments for exec (with a command) or attach."""
    if not request.command:
        options = ["--sig-proxy=false"]
        if not request.stdin:
            options.append("--no-stdin")
        return ["attach", *options, container_id]
    options = []
    if request.stdin:
        options.append("--interactive")
    if request.tty:
        options.append("--tty")
    return ["exec", *options, container_id, *request.command]


async def start_stream(
    arguments: Sequence[str], environment: Mapping[str, str], request: StreamRequest
) -> StreamProcess:
    """Start Podman with its streams on pipes, or on a terminal of its own."""
    if request.tty:
        return await _TerminalProcess.start(arguments, environment)
    process = await asyncio.create_subprocess_exec(
        "podman",
        *arguments,
        env=environment,
        stdin=asyncio.subprocess.PIPE if request.stdin else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    return _PipeProcess(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Podman passes no hang-up on; ending it ends the session it holds."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


class _PipeProcess:
    """Streams on three pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """What it writes."""
        queue: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue(maxsize=16)

        async def pump(channel: int, stream: asyncio.StreamReader | None) -> None:
            while stream is not None and (data := await stream.read(_CHUNK_BYTES)):
                await queue.put((channel, data))
            await queue.put(None)

        pumps = [
            asyncio.create_task(pump(1, self._process.stdout)),
            asyncio.create_task(pump(2, self._process.stderr)),
        ]
        try:
            open_streams = len(pumps)
            while open_streams:
                item = await queue.get()
                if item is None:
                    open_streams -= 1
                else:
                    yield item
        finally:
            for task in pumps:
                task.cancel()

    async def write(self, data: bytes) -> None:
        """Give it input."""
        stdin = self._process.stdin
        if stdin is None or stdin.is_closing():
            return
        with contextlib.suppress(ConnectionError):
            stdin.write(data)
            await stdin.drain()

    async def close_input(self) -> None:
        """No more input."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def resize(self, width: int, height: int) -> None:
        """Without a terminal there is no size."""

    async def wait(self) -> int:
        """Exit code."""
        return await self._process.wait()

    async def stop(self) -> None:
        """End it."""
        await _end(self._process)


class _TerminalProcess:
    """Streams on a pseudo terminal."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self._process = process
        self._master = master

    @classmethod
    async def start(cls, arguments: Sequence[str], environment: Mapping[str, str]) -> "_TerminalProcess":
        """Start Podman on a new terminal."""
        master, slave = pty.openpty()
        try:
            process = await asyncio.create_subprocess_exec(
                "podman",
                *arguments,
                env={"TERM": "xterm", **environment},
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
            )
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(slave)
        return cls(process, master)

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """What it writes; a terminal has one stream."""
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        os.set_blocking(self._master, False)
        loop.add_reader(self._master, readable.set)
        try:
            while True:
                await readable.wait()
                readable.clear()
                try:
                    data = os.read(self._master, _CHUNK_BYTES)
                except BlockingIOError:
                    continue
                except OSError:
                    return  # the kernel's way of saying that nobody has the terminal open any more
                if not data:
                    return
                yield 1, data
        finally:
            loop.remove_reader(self._master)

    async def write(self, data: bytes) -> None:
        """Give it input."""
        while data:
            try:
                data = data[os.write(self._master, data) :]
            except BlockingIOError:
                await asyncio.sleep(0.01)
            except OSError:
                return

    async def close_input(self) -> None:
        """On a terminal the end of input is a character."""
        await self.write(b"\x04")

    def resize(self, width: int, height: int) -> None:
        """Tell the terminal its size; the kernel signals Podman, which tells the container's."""
        with contextlib.suppress(OSError, struct.error):
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    async def wait(self) -> int:
        """Exit code."""
        code = await self._process.wait()
        self._close()
        return code

    async def stop(self) -> None:
        """End it."""
        await _end(self._process)
        self._close()

    def _close(self) -> None:
        if self._master >= 0:
            os.close(self._master)
            self._master = -1
