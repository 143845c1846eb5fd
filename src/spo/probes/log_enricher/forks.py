"""Who started whom: the kernel's process events, for processes that end before anybody can look at them."""

import contextlib
import ctypes
import errno
import socket
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from spo.probes.log_enricher.netlink import SO_RCVBUFFORCE, SourceError, in_network_namespace

# linux/netlink.h, linux/connector.h, linux/cn_proc.h, linux/filter.h
_NETLINK_CONNECTOR: Final = 11
_CN_IDX_PROC: Final = 1
_CN_VAL_PROC: Final = 1
_MCAST_LISTEN: Final = 1
_NLMSG_DONE: Final = 3
_EVENT_FORK: Final = 1
_SO_ATTACH_FILTER: Final = 26

_HEADER: Final = struct.Struct("=IHHII")
_CONNECTOR: Final = struct.Struct("=IIIIHH")
_FORK: Final = struct.Struct("=IIQIIII")
"""what, cpu, time in ns of CLOCK_MONOTONIC, then (task, process) of the parent and of the child."""
_FORK_OFFSET: Final = _HEADER.size + _CONNECTOR.size
_INSTRUCTION: Final = struct.Struct("=HBBI")

_BUFFER_BYTES: Final = 4 << 20
_MESSAGE_BYTES: Final = 1024
MAX_PROCESSES: Final = 32 << 10
DRAIN_S: Final = 0.5
"""How often to read at least, so that the newest events find a place in the receive buffer."""


class Fork(NamedTuple):
    """A process began."""

    parent: int
    at_s: float
    """As ``time.monotonic``."""


class ForkEvents:
    """Remembers the last processes that began, on the whole machine. Not in a pid namespace of its own.

    Args:
        namespace: see :func:`spo.probes.log_enricher.netlink.in_network_namespace`.

    Raises:
        SourceError: the kernel refuses, or has no such events.
    """

    def __init__(self, namespace: Path | None) -> None:
        self._socket = in_network_namespace(namespace, _open)
        self._forks: dict[int, Fork] = {}
        self._buffer = bytearray(_MESSAGE_BYTES)

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def drain(self) -> None:
        """Take what has happened."""
        receive: Callable[[bytearray], tuple[int, tuple[int, int]]] = self._socket.recvfrom_into
        buffer, forks, unpack = self._buffer, self._forks, _FORK.unpack_from
        while True:
            try:
                length, (sender, _) = receive(buffer)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    continue  # some are lost; their records are counted as of processes that are gone
                raise
            if sender != 0 or length < _FORK_OFFSET + _FORK.size:
                continue
            what, _, time_ns, _, parent, task, child = unpack(buffer, _FORK_OFFSET)
            if what != _EVENT_FORK or task != child:
                continue
            forks.pop(child, None)
            forks[child] = Fork(parent, time_ns / 1e9)
            if len(forks) > MAX_PROCESSES:
                del forks[next(iter(forks))]

    def last(self, pid: int) -> Fork | None:
        """How the last process with this id began."""
        return self._forks.get(pid)

    def begun_before(self, parents: Mapping[int, float], within_s: float) -> list[int]:
        """Processes that each of these began not long before a time, the newest first."""
        return [
            pid
            for pid, fork in reversed(self._forks.items())
            if fork.parent in parents and 0.0 <= parents[fork.parent] - fork.at_s <= within_s
        ]


def _open() -> socket.socket:
    opened = socket.socket(
        socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, _NETLINK_CONNECTOR
    )
    try:
        _only_forks(opened)
        with contextlib.suppress(PermissionError):  # without CAP_NET_ADMIN the kernel's own limit holds
            opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, _BUFFER_BYTES)
        opened.bind((0, _CN_IDX_PROC))
        listen = struct.pack("=I", _MCAST_LISTEN)
        content = _CONNECTOR.pack(_CN_IDX_PROC, _CN_VAL_PROC, 0, 0, len(listen), 0) + listen
        opened.send(_HEADER.pack(_HEADER.size + len(content), _NLMSG_DONE, 0, 0, 0) + content)
    except OSError as error:
        opened.close()
        raise SourceError(f"the kernel gives us no process events (needs CAP_NET_ADMIN): {error}") from error
    return opened


def _only_forks(opened: socket.socket) -> None:
    """Have the kernel drop all other events, and new threads: most nodes have many."""
    fork, child = _FORK_OFFSET, _FORK_OFFSET + 24
    program = (
        (0x20, 0, 0, fork),  # load the kind of the event
        (0x15, 0, 4, socket.htonl(_EVENT_FORK)),  # not a fork: drop
        (0x20, 0, 0, child),  # load the new task
        (0x07, 0, 0, 0),
        (0x20, 0, 0, child + 4),  # load its process
        (0x1D, 1, 0, 0),  # the same: take
        (0x06, 0, 0, 0),  # drop
        (0x06, 0, 0, 0xFFFFFFFF),  # take
    )
    code = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*one) for one in program))
    address = ctypes.addressof(code)
    opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program), address))
