"""Records that the kernel dropped itself, by a counter that others may reset."""

import io
import re
import sys
from collections.abc import Iterator

import pytest

from spo import klog
from spo.probes.log_enricher.kernel_losses import PAUSE_S, KernelLosses
from spo.probes.log_enricher.netlink import SourceError, status_words

STATUS = bytes.fromhex(
    "00000000000000000100000000000000000000004000000000000000000000007f000000983a0000cfaf0000"
)
"""As Linux 6.18 told it: 11 words."""
LIMIT, LOST, BACKLOG = 5, 6, 7


class Kernel:
    def __init__(self, lost: int = 0) -> None:
        self.now_s = 100.0
        self.lost = lost
        self.asked = 0
        self.problem: OSError | SourceError | None = None

    def ask(self) -> int:
        self.asked += 1
        if self.problem is not None:
            raise self.problem
        return self.lost

    def losses(self) -> KernelLosses:
        return KernelLosses(self.ask, batch_s=1.0, clock=lambda: self.now_s)


@pytest.fixture
def details() -> Iterator[io.StringIO]:
    """The log with verbosity 1."""
    written = io.StringIO()
    klog.configure(1, written)
    yield written
    klog.configure(0)


def test_only_the_increase_counts() -> None:
    kernel = Kernel(lost=1000)
    losses = kernel.losses()
    assert losses.lost == 0
    assert not losses.look()
    kernel.lost = 1003
    assert losses.look()
    assert losses.lost == 3


@pytest.mark.parametrize(
    ("later", "lost"),
    [
        pytest.param(0, 0, id="reset"),
        pytest.param(4, 4, id="reset-and-more-lost"),
        pytest.param(1000, 0, id="the-same"),
        pytest.param(0xFFFFFFFF, 0xFFFFFFFF - 1000, id="the-most-that-fits"),
    ],
)
def test_counter_that_was_reset_counts_from_zero(later: int, lost: int) -> None:
    kernel = Kernel(lost=1000)
    losses = kernel.losses()
    kernel.lost = later
    assert losses.look() == (lost > 0)
    assert losses.lost == lost
    kernel.lost = later + 1
    losses.look()
    assert losses.lost == lost + 1


def test_nothing_is_asked_without_records() -> None:
    kernel = Kernel()
    losses = kernel.losses()
    kernel.now_s += 1000
    assert losses.due_s is None
    assert not losses.tick()
    assert kernel.asked == 1


def test_first_records_after_a_quiet_time_make_it_look_with_their_batch() -> None:
    kernel = Kernel()
    losses = kernel.losses()
    kernel.now_s += 1000
    losses.records_came()
    assert losses.due_s == kernel.now_s + 1.0
    kernel.lost = 2
    assert not losses.tick()
    kernel.now_s += 1.0
    assert losses.tick()
    assert losses.lost == 2
    assert losses.due_s is None


def test_records_without_end_make_it_look_now_and_then() -> None:
    kernel = Kernel()
    losses = kernel.losses()
    for _ in range(1000):
        kernel.now_s += 0.1
        losses.records_came()
        losses.tick()
    assert 100 / PAUSE_S - 2 <= kernel.asked <= 100 / PAUSE_S + 2


@pytest.mark.parametrize(
    "problem",
    [
        pytest.param(PermissionError(1, "Operation not permitted"), id="no-right"),
        pytest.param(ConnectionRefusedError(111, "Connection refused"), id="user-namespace"),
        pytest.param(SourceError("cannot enter the network namespace"), id="no-namespace"),
    ],
)
def test_who_may_not_ask_says_so_once_and_only_to_those_who_want_details(
    problem: OSError | SourceError, details: io.StringIO
) -> None:
    kernel = Kernel()
    kernel.problem = problem
    losses = kernel.losses()
    losses.records_came()
    assert losses.due_s is None
    assert not losses.look()
    assert kernel.asked == 1
    assert losses.lost == 0
    assert details.getvalue().count("audit records that the kernel drops") == 1
    klog.configure(0, details)
    kernel.losses()
    assert details.getvalue().count("audit records that the kernel drops") == 1


def test_kernel_that_does_not_answer_in_time_is_asked_again_later(details: io.StringIO) -> None:
    kernel = Kernel(lost=7)
    losses = kernel.losses()
    kernel.problem = TimeoutError("timed out")
    assert not losses.look()
    assert not losses.look()
    kernel.problem = None
    kernel.lost = 9
    losses.records_came()
    assert losses.due_s is not None
    kernel.now_s = losses.due_s
    assert losses.tick()
    assert losses.lost == 2
    assert len(details.getvalue().splitlines()) == 1


@pytest.mark.parametrize("length", [40, 44])
def test_status_of_the_kernel(length: int) -> None:
    words = status_words(STATUS[:length])
    assert (words[LIMIT], words[LOST], words[BACKLOG]) == (64, 0, 0)
    words = status_words(STATUS[: 4 * LOST] + b"\xff\xff\xff\xfe" + STATUS[4 * LOST + 4 : length])
    assert words[LOST] == int.from_bytes(b"\xff\xff\xff\xfe", sys.byteorder)


@pytest.mark.parametrize("length", [0, 1, 39])
def test_status_that_is_too_short_is_refused(length: int) -> None:
    with pytest.raises(SourceError, match=re.escape(f"tells {length} bytes")):
        status_words(STATUS[:length])
