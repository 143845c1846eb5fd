"""The process: one thread, one loop, ended by SIGTERM."""

import contextlib
import ctypes
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

from spo import klog
from spo.probes.bpf_recorder.kernel import BpfKernel, Kernel, KernelRecorder
from spo.probes.bpf_recorder.service import RecorderService
from spo.probes.bpf_recorder.session import Session
from spo.probes.bpf_recorder.settings import BpfRecorderSettings
from spo.probes.bpf_recorder.state_file import StateFile
from spo.rpc.bpf_recorder import PROTOCOL
from spo.rpc.listener import Listener
from spo.rpc.server import Server

log = klog.get("bpf-recorder")

_OWN_NAMESPACE: Final = "/proc/self/ns/mnt"
_HOST_NAMESPACE: Final = "/proc/1/ns/mnt"
_ENDING: Final = (signal.SIGTERM, signal.SIGINT)
_MAX_SIGNALS: Final = 64


def run_bpf_recorder(settings: BpfRecorderSettings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        RecorderError: the kernel cannot record; the message says why.
        SocketPlaceError: the socket cannot be made.
    """
    log.info(f"Starting log-enricher on node: {settings.node_name}")  # sic: users look for this line
    log.info(f"Got system mount namespace: {_host_namespace()}")
    kernel = BpfKernel(settings.pin_root, settings.btf)
    with (
        _ended_by_signal() as ended,
        selectors.DefaultSelector() as selector,
        Listener(settings.place) as listener,  # its lock guards the pins as well
    ):
        _self_test(kernel)
        service = RecorderService(
            kernel,
            StateFile(settings.state_file),
            Session(settings.undecided_s),
            own_namespace=os.stat(_OWN_NAMESPACE).st_ino,  # noqa: PTH116 - a Path costs more than it says
        )
        with contextlib.closing(service):
            service.restore()
            log.info("Starting GRPC API server", socket=str(settings.socket))  # the line; it is msgpack
            server = Server(
                listener.socket, PROTOCOL, service.handle, selector, allowed_uids=settings.client_uids
            )
            with contextlib.closing(server):
                _Loop(selector, service, server).run(ended)
    log.info("Stopped")


def _self_test(kernel: Kernel) -> None:
    log.info("Doing BPF load/unload self-test")
    kernel.self_test()
    _give_memory_back()


def _give_memory_back() -> None:
    """What libbpf needed to read the types of the kernel, some MB, stays with the allocator otherwise."""
    with contextlib.suppress(AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _host_namespace() -> int:
    """Inode of the node's mount namespace, for the log; our own where the node's is hidden from us."""
    try:
        return os.stat(_HOST_NAMESPACE).st_ino  # noqa: PTH116 - a Path costs more than it says
    except OSError:
        return os.stat(_OWN_NAMESPACE).st_ino  # noqa: PTH116 - a Path costs more than it says


@contextlib.contextmanager
def _ended_by_signal() -> Iterator[socket.socket]:
    """A socket that becomes readable with the first SIGTERM or SIGINT."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)

    def note(_number: int, _frame: FrameType | None) -> None:
        """The wakeup descriptor has done all."""

    with ours, theirs:
        before = {number: signal.signal(number, note) for number in _ENDING}
        previous = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        try:
            yield ours
        finally:
            signal.set_wakeup_fd(previous)
            for number, handler in before.items():
                signal.signal(number, handler)


class _Loop:
    """Waits for peers, the kernel and the clock."""

    def __init__(self, selector: selectors.BaseSelector, service: RecorderService, server: Server) -> None:
        self._selector = selector
        self._service = service
        self._server = server
        self._followed: KernelRecorder | None = None
        self._ring_fd = -1

    def run(self, ended: socket.socket) -> None:
        """Go round until ``ended`` is readable."""
        over = False

        def end(_events: int) -> None:
            nonlocal over
            over = any(number in _ENDING for number in ended.recv(_MAX_SIGNALS))  # others are for profiles

        self._selector.register(ended, selectors.EVENT_READ, end)
        self._follow_recorder()
        while not over:
            for key, events in self._selector.select(self._timeout_s()):
                ready: Callable[[int], None] = key.data
                ready(events)
            self._service.poll()  # also before an answer: what a client is told includes what came first
            self._service.tick()
            self._follow_recorder()
            self._service.save()
            for event in self._service.take_news():
                self._server.publish(event)
            self._server.tick()
            self._server.flush()

    def _timeout_s(self) -> float | None:
        deadlines = (self._service.next_deadline_s(), self._server.next_deadline_s())
        first = min((deadline for deadline in deadlines if deadline is not None), default=None)
        return None if first is None else max(0.0, first - time.monotonic())

    def _follow_recorder(self) -> None:
        """Wait for events of the recorder while there is one."""
        recorder = self._service.recorder
        if recorder is self._followed:  # not the descriptor: a new recorder may get the same number
            return
        if self._followed is not None:
            self._selector.unregister(self._ring_fd)
            _give_memory_back()
        if recorder is not None:
            self._ring_fd = recorder.event_fd()
            self._selector.register(self._ring_fd, selectors.EVENT_READ, lambda _events: None)
        self._followed = recorder
