"""Records that this kernel drops before anybody can have them, told by the process."""

import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spo.probes.log_enricher.kernel_losses import KernelLosses
from spo.probes.log_enricher.netlink import dropped_records
from tests.fakes.enricher_daemon import EnricherDaemon, EnricherProcess, wait_until
from tests.fakes.rpc_server import short_folder

pytestmark = pytest.mark.root

GET, SET, USER_AVC = 1000, 1001, 1107  # the latter passes even where audits are off
REQUEST, ACKNOWLEDGED = 1, 5
RATE_LIMIT = 8
FAILURE_WORD, RATE_WORD = 2, 4
PANIC = 2
SENT = 200

LOGGED = """
import ctypes, os, struct
log_all = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0x7FFC0000))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, struct.pack("@HP", 1, ctypes.addressof(log_all)), 0, 0) == 0
os.getppid()
os._exit(0)
"""
"""A process that seccomp logs, of no container."""


def ask(kind: int, content: bytes = b"", flags: int = ACKNOWLEDGED) -> bytes:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9) as control:
        control.settimeout(5.0)
        control.sendto(struct.pack("=IHHII", 16 + len(content), kind, flags, 1, 0) + content, (0, 0))
        return control.recv(8192)[16:]


def status() -> tuple[int, ...]:
    return struct.unpack_from("=10I", ask(GET, flags=REQUEST))


def set_rate_limit(limit: int) -> None:
    words = [0] * 10
    words[0], words[RATE_WORD] = RATE_LIMIT, limit
    ask(SET, struct.pack("=10I", *words))


def lose_records() -> None:
    """For some milliseconds this kernel takes one record a second."""
    before = status()[RATE_WORD]
    set_rate_limit(1)
    try:
        for _ in range(SENT):
            ask(USER_AVC, b"op=test\0")
    finally:
        set_rate_limit(before)


@pytest.fixture
def folder() -> Iterator[Path]:
    if status()[FAILURE_WORD] == PANIC:
        pytest.skip("this kernel panics when it drops an audit record")
    with short_folder() as made:
        yield made


def test_counter_of_the_kernel_shows_them(folder: Path) -> None:
    losses = KernelLosses(lambda: dropped_records(None), batch_s=0.0, clock=lambda: 0.0)
    lose_records()
    assert losses.look()
    assert losses.lost >= SENT - 10


@pytest.fixture
def daemon(folder: Path) -> Iterator[EnricherDaemon]:
    made = EnricherDaemon(folder / "daemon" / "e.sock")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def process(folder: Path, daemon: EnricherDaemon) -> Iterator[EnricherProcess]:
    made = EnricherProcess(folder, "--source=netlink", "--host-netns=own")
    wait_until(lambda: bool(daemon.batches))
    yield made
    made.stop()


def test_process_tells_them_after_the_next_record(daemon: EnricherDaemon, process: EnricherProcess) -> None:
    lose_records()
    subprocess.run((sys.executable, "-c", LOGGED), check=True)
    wait_until(lambda: daemon.losses.kernel_dropped >= SENT - 10)


def test_process_tells_them_when_it_ends(daemon: EnricherDaemon, process: EnricherProcess) -> None:
    lose_records()
    process.stop()
    assert daemon.losses.kernel_dropped >= SENT - 10


def test_who_may_not_control_audits_goes_on_without(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPO_VERBOSITY", "1")
    process = EnricherProcess(
        folder,
        "--source=netlink",
        "--host-netns=own",
        wrapper=("setpriv", "--bounding-set", "-audit_control"),
    )
    try:
        process.wait_for("Cannot count the audit records that the kernel drops.*Operation not permitted")
    finally:
        assert process.stop() == 0
