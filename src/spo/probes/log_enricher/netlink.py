"""Audit records straight from the kernel: no audit daemon is needed, and none is disturbed."""

import ctypes
import errno
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from spo import klog
from spo.errors import SpoError

log = klog.get("log-enricher")

# linux/netlink.h, linux/audit.h, linux/sched.h
_NETLINK_AUDIT: Final = 9
_SOL_NETLINK: Final = 270
_ADD_MEMBERSHIP: Final = 1
_READLOG_GROUP: Final = 1
SO_RCVBUFFORCE: Final = 33
_CLONE_NEWNET: Final = 0x40000000
_AUDIT_GET: Final = 1000
_AUDIT_SET: Final = 1001
_NLMSG_ERROR: Final = 2
_NLM_F_REQUEST: Final = 1
_NLM_F_ACK: Final = 4
_STATUS_BACKLOG_LIMIT: Final = 0x10

_HEADER: Final = struct.Struct("=IHHII")
_WORDS: Final = 10
_STATUS: Final = struct.Struct(f"={_WORDS}I")
_BACKLOG_LIMIT: Final = 5
_LOST: Final = 6
"""Which words of the status they are."""
_ERROR: Final = struct.Struct("=i")
_TYPE: Final = struct.Struct("=H")

RECEIVE_BUFFER_BYTES: Final = 8 << 20
BACKLOG_LIMIT: Final = 8192
"""Records that the kernel keeps before it makes the logging processes wait; its own default is 64."""
_MAX_TOLD: Final = 1024
"""Limits below this can be told from what they were raised to; nobody else chooses 8,193 to 9,215."""
_UNLIMITED: Final = 0
_MESSAGE_BYTES: Final = 16 << 10  # MAX_AUDIT_MESSAGE_LENGTH is 8,970
_CONTROL_TIMEOUT_S: Final = 1.0

ResultT = TypeVar("ResultT")


class SourceError(SpoError):
    """Records cannot be read from a source; the message says why."""


def in_network_namespace(path: Path | None, action: Callable[[], ResultT]) -> ResultT:
    """Do something in another network namespace; this thread stays where it is.

    Args:
        path: such as ``/proc/1/ns/net``; ``None``: in our own.

    Raises:
        SourceError: the namespace cannot be entered.
    """
    if path is None:
        return action()
    results: list[ResultT] = []
    errors: list[BaseException] = []

    def enter() -> None:
        try:
            _set_network_namespace(path)
            results.append(action())
        except BaseException as error:
            errors.append(error)

    # The thread ends, and the namespace with it; what it has opened stays in that namespace.
    thread = threading.Thread(target=enter, name="netns")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _set_network_namespace(path: Path) -> None:
    try:
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SourceError(f"cannot open the network namespace {path}: {error.strerror}") from error
    try:
        if ctypes.CDLL(None, use_errno=True).setns(opened, _CLONE_NEWNET) != 0:
            reason = os.strerror(ctypes.get_errno())
            raise SourceError(f"cannot enter the network namespace {path}: {reason}")
    finally:
        os.close(opened)


Message = tuple[int, bytes]
"""Audit type, such as 1326, and text."""


class AuditSocket:
    """Gets a copy of every record. Not in a network namespace of its own: there nothing arrives.

    Args:
        namespace: see :func:`in_network_namespace`.

    Raises:
        SourceError: the kernel refuses.
    """

    def __init__(self, namespace: Path | None) -> None:
        self._socket = in_network_namespace(namespace, _open_multicast)
        self._buffer = bytearray(_MESSAGE_BYTES)
        self._view = memoryview(self._buffer)
        self.overruns = 0
        """Times that the receive buffer was full, and records were dropped."""

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def read(self, limit: int) -> Iterator[Message]:
        """What has arrived, at most ``limit`` messages."""
        receive, view = self._socket.recvfrom_into, self._view
        type_of = _TYPE.unpack_from
        for _ in range(limit):
            try:
                length, (sender, _groups) = receive(view)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.overruns += 1
                continue
            if sender == 0 and length > _HEADER.size:  # 0: the kernel; others could make it up
                yield type_of(view, 4)[0], bytes(view[16:length])  # behind the header


def _open_multicast() -> socket.socket:
    opened = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, _NETLINK_AUDIT
    )
    try:
        opened.bind((0, 0))
        opened.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _READLOG_GROUP)
        try:
            opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        except PermissionError:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            size = opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
            log.warning("The receive buffer is small, a burst may be lost (needs CAP_NET_ADMIN)", bytes=size)
    except OSError as error:
        opened.close()
        raise SourceError(f"the kernel gives us no audit records (needs CAP_AUDIT_READ): {error}") from error
    return opened


class BacklogLimit:
    """Raises the kernel's audit backlog limit while we read, as ``auditctl -b`` does. Context manager.

    A limit that is higher already, or that somebody else changes meanwhile, is left alone. A small one is
    raised to 8,192 more than it was: so a process that was killed leaves a number that tells what was before,
    and the next one restores that.
    """

    def __init__(self, namespace: Path | None) -> None:
        self._namespace = namespace
        self._raised: int | None = None
        self._before = 0

    def __enter__(self) -> "BacklogLimit":
        try:
            present = self._get()
            if BACKLOG_LIMIT < present < BACKLOG_LIMIT + _MAX_TOLD:
                self._raised, self._before = present, present - BACKLOG_LIMIT
                log.info("The audit backlog limit is raised already", limit=present, previous=self._before)
            elif _UNLIMITED < present < BACKLOG_LIMIT:
                raised = BACKLOG_LIMIT + (present if present < _MAX_TOLD else 0)
                self._set(raised)
                self._raised, self._before = raised, present
                log.info("Raised the audit backlog limit", limit=raised, previous=present)
        except (OSError, SourceError) as error:
            log.warning("Cannot raise the audit backlog limit, logging may be slow", problem=str(error))
        return self

    def __exit__(self, *_: object) -> None:
        if self._raised is None:
            return
        try:
            if self._get() == self._raised:
                self._set(self._before)
        except (OSError, SourceError) as error:
            log.warning("Cannot restore the audit backlog limit", limit=self._before, problem=str(error))

    def _get(self) -> int:
        return _status(self._namespace)[_BACKLOG_LIMIT]

    def _set(self, limit: int) -> None:
        status = [0] * _WORDS
        status[0], status[_BACKLOG_LIMIT] = _STATUS_BACKLOG_LIMIT, limit
        _ask(self._namespace, _AUDIT_SET, _STATUS.pack(*status))


def dropped_records(namespace: Path | None) -> int:
    """How many records the kernel has dropped since it booted, or since somebody set this to 0. 32 bits.

    At the backlog limit, at the rate limit, without memory, and those that it cannot keep for an audit
    daemon. Records that did not fit the receive buffer of a listener, such as :class:`AuditSocket`, are not
    among them.

    Args:
        namespace: see :func:`in_network_namespace`.

    Raises:
        SourceError: the namespace cannot be entered.
        OSError: the kernel refuses (needs CAP_AUDIT_CONTROL), or does not answer.
    """
    return _status(namespace)[_LOST]


def _status(namespace: Path | None) -> tuple[int, ...]:
    return status_words(_ask(namespace, _AUDIT_GET, b""))


def status_words(answer: bytes) -> tuple[int, ...]:
    """The first fields of ``struct audit_status``, to which kernels have added others at the end.

    Raises:
        SourceError: the answer is too short.
    """
    if len(answer) < _STATUS.size:
        raise SourceError(f"the kernel tells {len(answer)} bytes of its audit status, not {_STATUS.size}")
    return _STATUS.unpack_from(answer)


def _ask(namespace: Path | None, kind: int, content: bytes) -> bytes:
    """Send a request; its answer, which is empty if the kernel only says that it is done."""
    with in_network_namespace(namespace, _open_control) as control:
        length = _HEADER.size + len(content)
        control.sendto(_HEADER.pack(length, kind, _NLM_F_REQUEST | _NLM_F_ACK, 1, 0) + content, (0, 0))
        answer = b""
        while True:
            data = control.recv(_MESSAGE_BYTES)
            got = _HEADER.unpack_from(data)[1]
            if got == kind:
                answer = data[_HEADER.size :]
            elif got == _NLMSG_ERROR:
                number = -_ERROR.unpack_from(data, _HEADER.size)[0]
                if number:
                    raise OSError(number, os.strerror(number))
                if answer or kind != _AUDIT_GET:
                    return answer
            if answer and kind == _AUDIT_GET:
                return answer


def _open_control() -> socket.socket:
    control = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_AUDIT)
    control.settimeout(_CONTROL_TIMEOUT_S)
    return control
