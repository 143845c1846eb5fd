"""Write to a file through io_uring, by raw syscalls: no library wraps it here."""

import ctypes
import mmap
import os
import struct
from pathlib import Path

SETUP, ENTER = 425, 426
SQ_RING, SQES = 0, 0x10000000
OP_WRITE = 23
GET_EVENTS = 1

libc = ctypes.CDLL(None, use_errno=True)
parameters = (ctypes.c_uint32 * 30)()
ring = libc.syscall(SETUP, 4, parameters)
if ring < 0:
    raise OSError(ctypes.get_errno(), "io_uring_setup")
entries, sq_array, cqes = parameters[0], parameters[16], parameters[25]
size = max(sq_array + entries * 4, cqes + parameters[1] * 16)
shared = mmap.mmap(ring, size, offset=SQ_RING)
queue = mmap.mmap(ring, entries * 64, offset=SQES)
text = ctypes.create_string_buffer(b"through the ring\n")
with Path("written").open("wb", buffering=0) as file:
    queue[:64] = struct.pack(
        "<BBHiQQIIQHHiQQ",
        *(OP_WRITE, 0, 0, file.fileno(), 0, ctypes.addressof(text), len(text.value), 0, 7, 0, 0, 0, 0, 0),
    )
    struct.pack_into("<I", shared, sq_array, 0)
    (tail,) = struct.unpack_from("<I", shared, parameters[11])
    struct.pack_into("<I", shared, parameters[11], tail + 1)
    if libc.syscall(ENTER, ring, 1, 1, GET_EVENTS, None, 0) != 1:
        raise OSError(ctypes.get_errno(), "io_uring_enter")
_, result, _ = struct.unpack_from("<QiI", shared, cqes)
print(result, Path("written").read_text(), end="")
os.close(ring)
