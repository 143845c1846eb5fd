"""The process with files that the real auditd and rsyslogd write from what this kernel says."""

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.fakes.enricher_daemon import EnricherDaemon, EnricherProcess, wait_until
from tests.fakes.log_daemons import Auditd, Caller, Rsyslogd, copytruncate, printk_without_limit
from tests.fakes.rpc_server import short_folder

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        not shutil.which("auditd", path="/usr/sbin") or not shutil.which("rsyslogd", path="/usr/sbin"),
        reason="needs auditd and rsyslogd: tools/setup.py --monitoring",
    ),
]

CONTAINER = secrets.token_hex(32)
Start = Callable[..., EnricherProcess]


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


@pytest.fixture
def daemon(folder: Path) -> Iterator[EnricherDaemon]:
    made = EnricherDaemon(folder / "daemon" / "e.sock")
    made.start()
    made.knows(CONTAINER)
    yield made
    made.stop()


@pytest.fixture
def caller() -> Iterator[Caller]:
    with closing(Caller(CONTAINER)) as made:
        yield made


@pytest.fixture
def start(folder: Path, daemon: EnricherDaemon) -> Iterator[Start]:
    started: list[EnricherProcess] = []

    def make(*options: str) -> EnricherProcess:
        started.append(EnricherProcess(folder, *options))
        return started[-1]

    yield make
    for process in started:
        process.stop()
        print("".join(process.lines[-30:]))


@pytest.fixture
def loud_kernel() -> Iterator[None]:
    with printk_without_limit():
        yield


def counted(daemon: EnricherDaemon) -> int:
    return sum(count for (_, _, name), count in daemon.counts.items() if name == "getppid")


def expect(daemon: EnricherDaemon, process: EnricherProcess, total: int) -> None:
    """So many records of ours, and no more: what is printed is all that will be counted."""
    process.wait_for('"syscallName"="getppid"', total)
    wait_until(lambda: counted(daemon) >= total)
    assert counted(daemon) == total
    assert len([line for line in process.audits() if "getppid" in line]) == total


@pytest.mark.parametrize("log_format", ["RAW", "ENRICHED"])
def test_both_formats_of_auditd(
    folder: Path, daemon: EnricherDaemon, start: Start, caller: Caller, log_format: str
) -> None:
    with closing(Auditd(folder, log_format)) as auditd:
        process = start("--source=auditd")
        caller.call(3)
        expect(daemon, process, 3)
        (line,) = auditd.log.read_bytes().split(b"\n")[-2:-1]
    assert (b"\x1d" in line) == (log_format == "ENRICHED")


def test_auditd_that_rotates_its_file(
    folder: Path, daemon: EnricherDaemon, start: Start, caller: Caller
) -> None:
    with closing(Auditd(folder)) as auditd:
        process = start("--source=auditd")
        for _ in range(3):
            caller.call(20)
            auditd.rotate()
        caller.call(20)
        expect(daemon, process, 80)
        assert (folder / "audit.log.3").exists()


def test_file_of_auditd_that_is_copied_and_truncated(
    folder: Path, daemon: EnricherDaemon, start: Start, caller: Caller
) -> None:
    with closing(Auditd(folder)) as auditd:
        process = start("--source=auditd")
        caller.call(20)
        expect(daemon, process, 20)  # what is truncated before it is read is lost, as logrotate warns
        copytruncate(auditd.log)
        process.wait_for("The log file was truncated")
        caller.call(5)
        expect(daemon, process, 25)


def test_auditd_that_is_started_later(
    folder: Path, daemon: EnricherDaemon, start: Start, caller: Caller
) -> None:
    process = start("--source=auditd")
    process.wait_for("Cannot read the log file, waiting")
    with closing(Auditd(folder)):
        caller.call(3)
        expect(daemon, process, 3)


def test_kernel_and_auditd_at_once_count_once(
    folder: Path, daemon: EnricherDaemon, start: Start, caller: Caller
) -> None:
    with closing(Auditd(folder)) as auditd:
        process = start("--source=netlink", "--source=auditd", "--host-netns=own")
        caller.call(200)
        auditd.rotate()
        caller.call(1)
        expect(daemon, process, 201)


@pytest.mark.usefixtures("loud_kernel")
@pytest.mark.parametrize("template", ["RSYSLOG_TraditionalFileFormat", "RSYSLOG_FileFormat"])
def test_rsyslog_in_both_formats(
    folder: Path, daemon: EnricherDaemon, start: Start, caller: Caller, template: str
) -> None:
    with closing(Rsyslogd(folder, template)) as rsyslogd:
        process = start("--source=syslog")
        caller.call(30)
        expect(daemon, process, 30)
        rsyslogd.rotate()
        caller.call(30)
        expect(daemon, process, 60)
        copytruncate(rsyslogd.log)
        caller.call(30)
        expect(daemon, process, 90)


@pytest.mark.usefixtures("loud_kernel")
def test_kernel_and_rsyslog_at_once_count_once(
    folder: Path, daemon: EnricherDaemon, start: Start, caller: Caller
) -> None:
    with closing(Rsyslogd(folder)):
        process = start("--source=netlink", "--source=syslog", "--host-netns=own")
        caller.call(50)
        expect(daemon, process, 50)
