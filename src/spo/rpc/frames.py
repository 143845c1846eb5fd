"""Frames: four bytes of length, most significant first, then that many bytes of msgpack. Pure."""

import struct
from typing import Final

from spo.rpc.errors import RpcError

MAX_FRAME_BYTES: Final = 1 << 20
"""Longest content of a frame: 1 MiB."""

HEADER: Final = struct.Struct(">I")


class FrameError(RpcError):
    """The other end does not keep to the format; the connection cannot go on."""


def frame(content: bytes) -> bytes:
    """The bytes on the wire for one frame.

    Raises:
        FrameError: ``content`` is empty or longer than a frame may be.
    """
    return HEADER.pack(checked_length(len(content))) + content


def checked_length(length: int) -> int:
    """``length`` itself, if a frame may have that many bytes.

    Raises:
        FrameError: it is 0 or more than :data:`MAX_FRAME_BYTES`.
    """
    if not 0 < length <= MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {length} bytes: 1 to {MAX_FRAME_BYTES} are allowed")
    return length


class FrameReader:
    """Cuts a stream of bytes into frames, however the pieces arrive."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next piece of the stream."""
        self._buffer += data

    def next(self) -> bytes | None:
        """The content of the next frame; ``None`` until it has arrived as a whole.

        Raises:
            FrameError: the announced length is not allowed. Nothing after it can be read.
        """
        if len(self._buffer) < HEADER.size:
            return None
        (length,) = HEADER.unpack_from(self._buffer)
        end = HEADER.size + checked_length(length)
        if len(self._buffer) < end:
            return None
        content = bytes(self._buffer[HEADER.size : end])
        del self._buffer[:end]
        return content

    @property
    def waiting_bytes(self) -> int:
        """How many bytes have come that :meth:`next` has not given out."""
        return len(self._buffer)
