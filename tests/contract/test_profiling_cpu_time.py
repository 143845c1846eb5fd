"""The CPU profiler in this very process, with this kernel's timers."""

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spo.profiling import cpu
from spo.profiling.cpu import CpuProfiler
from tests.fakes.pprof_reader import ReadProfile, read_profile

BURNT_S = 0.4


@pytest.fixture
def profiler() -> Iterator[CpuProfiler]:
    numbers = (signal.SIGPROF, signal.SIGVTALRM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield CpuProfiler()
    assert timers() == 0
    for number, handler in before.items():
        signal.signal(number, handler)


def timers() -> int:
    """Of this process, that the kernel knows."""
    return Path("/proc/self/timers").read_text().count("ID:")


def burn() -> None:
    end_s = time.thread_time() + BURNT_S
    while time.thread_time() < end_s:
        sum(range(1000))


def burn_deep(levels: int) -> None:
    if levels:
        burn_deep(levels - 1)
    else:
        burn()


def burn_at(levels: int) -> None:
    """Many stacks: some samples of each depth."""
    for level in range(levels):
        recurse(level, time.thread_time() + 5 * cpu.PERIOD_NS / 1e9)


def recurse(levels: int, end_s: float) -> None:
    if levels:
        recurse(levels - 1, end_s)
    while time.thread_time() < end_s:
        sum(range(1000))


def seconds(profile: ReadProfile, function: str) -> float:
    """CPU time of a function and what it has called."""
    name = f"{__name__}.{function}"
    return sum(values[1] for stack, values in profile.samples if name in [frame[0] for frame in stack]) / 1e9


def test_time_of_all_threads_adds_up(profiler: CpuProfiler) -> None:
    early = threading.Thread(target=burn_deep, args=(5,))
    profiler.start()
    begun_s = time.process_time()
    late = threading.Timer(0.05, burn_deep, (5,))  # which nobody knew when the profile was begun
    early.start()
    late.start()
    burn()
    early.join()
    late.join()
    used_s = time.process_time() - begun_s
    profile = read_profile(profiler.stop())
    assert seconds(profile, "burn") == pytest.approx(3 * BURNT_S, rel=0.25)
    assert seconds(profile, "burn_deep") == pytest.approx(2 * BURNT_S, rel=0.3)
    assert sum(values[1] for _, values in profile.samples) / 1e9 == pytest.approx(used_s, rel=0.1)
    assert seconds(profile, "burn_deep") < seconds(profile, "burn")


def test_process_that_sleeps_is_not_woken(profiler: CpuProfiler) -> None:
    profiler.start()
    waited = threading.Event().wait(0.2)
    profile = read_profile(profiler.stop())
    assert not waited
    assert profile.duration_ns >= 190_000_000
    assert sum(values[0] for _, values in profile.samples) <= 1


def test_deep_stacks_are_cut_and_many_are_counted_together(
    profiler: CpuProfiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "MAX_FRAMES", 10)
    monkeypatch.setattr(cpu, "MAX_STACKS", 3)
    profiler.start()
    burn_at(8)
    profile = read_profile(profiler.stop())
    stacks = [[frame[0] for frame in stack] for stack, _ in profile.samples]
    assert max(len(stack) for stack in stacks) == 10
    assert len(stacks) <= 5
    assert ["(other stacks)"] in stacks


def test_second_profile_begins_anew(profiler: CpuProfiler) -> None:
    profiler.start()
    burn()
    assert profiler.is_running
    profiler.stop()
    assert not profiler.is_running
    assert timers() == 0
    profiler.start()
    profile = read_profile(profiler.stop())
    assert seconds(profile, "burn") < BURNT_S / 4
