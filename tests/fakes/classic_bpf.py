"""A machine for seccomp filters, so that tests can ask what a filter does without living under it."""

import struct
from collections.abc import Sequence

_LOAD, _RETURN, _JUMP, _ALU = 0x20, 0x06, 0x05, 0x54
_CONDITIONS = {
    0x15: lambda a, k: a == k,
    0x25: lambda a, k: a > k,
    0x35: lambda a, k: a >= k,
    0x45: lambda a, k: bool(a & k),
}


def run_filter(program: bytes, number: int, audit_arch: int, args: Sequence[int] = ()) -> int:
    """The SECCOMP_RET_* word that a filter returns for a syscall."""
    padded = [*args, *[0] * (6 - len(args))]
    data = struct.pack("=iIQ6Q", number, audit_arch, 0, *padded)
    code = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    accumulator, counter = 0, 0
    while True:
        operation, if_true, if_false, k = code[counter]
        counter += 1
        if operation == _LOAD:
            (accumulator,) = struct.unpack_from("=I", data, k)
        elif operation == _RETURN:
            return k
        elif operation == _JUMP:
            counter += k
        elif operation == _ALU:
            accumulator &= k
        else:
            counter += if_true if _CONDITIONS[operation](accumulator, k) else if_false
