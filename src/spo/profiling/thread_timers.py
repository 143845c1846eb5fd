"""Timers that run with the CPU time of one thread each, which Python's own :mod:`signal` has not.

A timer of the whole process would fire while one thread works, and find the others, which have worked as
well, where they wait.
"""

import ctypes
import os
import signal
import threading
import time
from collections.abc import Iterable
from typing import Final

_SIGEV_THREAD_ID: Final = 4  # bits/sigevent-consts.h
_SIGEVENT_BYTES: Final = 64


class _SignalEvent(ctypes.Structure):
    """``struct sigevent``, asm-generic/siginfo.h."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("thread_id", ctypes.c_int),
        ("_pad", ctypes.c_byte * (_SIGEVENT_BYTES - ctypes.sizeof(ctypes.c_void_p) - 12)),
    )


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


class ThreadTimers:
    """Sends signals to the main thread whenever a thread has used another period of CPU time.

    ``SIGPROF`` is about the main thread itself, ``SIGVTALRM`` about any other: what the main thread was doing
    when that came says nothing.
    """

    def __init__(self, period_ns: int, discovery_ns: int) -> None:
        """Begin nothing yet.

        Args:
            period_ns: CPU time of a thread from one signal about it to the next.
            discovery_ns: CPU time of the process from one ``SIGVTALRM`` to the next, if no thread has one.
        """
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._period_ns = period_ns
        self._discovery_ns = discovery_ns
        self._timers: dict[int, ctypes.c_void_p] = {}
        main = threading.main_thread()
        self._main_id = main.native_id or os.getpid()

    def follow(self, native_ids: Iterable[int]) -> None:
        """Have a timer for each of these threads, by their numbers of the kernel, and for no others."""
        clocks = {cpu_clock(one): self._period_ns for one in native_ids}
        if clocks:
            clocks[time.CLOCK_PROCESS_CPUTIME_ID] = self._discovery_ns
        for clock in self._timers.keys() - clocks.keys():
            self._libc.timer_delete(self._timers.pop(clock))
        for clock in clocks.keys() - self._timers.keys():
            self._begin(clock, clocks[clock])

    def _begin(self, clock: int, period_ns: int) -> None:
        number = signal.SIGPROF if clock == cpu_clock(self._main_id) else signal.SIGVTALRM
        event = _SignalEvent(signo=number, notify=_SIGEV_THREAD_ID, thread_id=self._main_id)
        timer = ctypes.c_void_p()
        if self._libc.timer_create(ctypes.c_int(clock), ctypes.byref(event), ctypes.byref(timer)):
            return  # the thread has ended
        self._timers[clock] = timer
        every = _TimeSpec(*divmod(period_ns, 1_000_000_000))
        self._libc.timer_settime(timer, 0, ctypes.byref(_TimerSpec(every, every)), None)


def cpu_clock(native_id: int) -> int:
    """The clock of a thread's CPU time, for :func:`time.clock_gettime`, by the number of the kernel.

    :func:`time.pthread_getcpuclockid` makes the same (CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED of
    linux/posix-timers.h), but must not be called for a thread that has ended.
    """
    return ~native_id << 3 | 6


def cpu_times() -> dict[int, tuple[int, int]]:
    """Identifier -> number of the kernel and CPU time in nanoseconds, of the threads that Python knows."""
    found = {}
    for thread in threading.enumerate():
        if thread.ident is None or thread.native_id is None:
            continue  # about to start
        try:
            used_ns = time.clock_gettime_ns(cpu_clock(thread.native_id))
        except OSError:
            continue  # has ended
        found[thread.ident] = (thread.native_id, used_ns)
    return found
