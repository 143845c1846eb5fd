"""Cut a stream of bytes into lines, as a watch sends them."""

from collections.abc import AsyncGenerator, AsyncIterator


class LineTooLongError(Exception):
    """A line is longer than the limit; ``args[0]`` is the limit in bytes."""


class UnfinishedLineError(Exception):
    """The stream ended in the middle of a line; ``args[0]`` is the number of bytes left over."""


async def split_lines(chunks: AsyncIterator[bytes], limit_bytes: int) -> AsyncGenerator[bytes, None]:
    """Yield each line without its newline; empty lines are left out.

    Only ``\\n`` ends a line: JSON texts may hold any other line separator of Unicode.

    Raises:
        LineTooLongError: before more than ``limit_bytes`` of one line and a chunk are held.
        UnfinishedLineError: at the end, so that a cut event is never taken for a whole one.
    """
    rest = bytearray()
    async for chunk in chunks:
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            line = chunk[start:end]
            if rest:
                line = bytes(rest) + line
                rest.clear()
            if len(line) > limit_bytes:
                raise LineTooLongError(limit_bytes)
            if line.strip():
                yield line
            start = end + 1
        rest += chunk[start:]
        if len(rest) > limit_bytes:
            raise LineTooLongError(limit_bytes)
    if rest.strip():
        raise UnfinishedLineError(len(rest))
