"""The process with log files: sources, order, rotation, forgery."""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.enricher_daemon import EnricherDaemon, EnricherProcess, wait_until
from tests.fakes.rpc_server import short_folder

pytestmark = pytest.mark.root

CONTAINER = secrets.token_hex(32)
CGROUPS = Path("/sys/fs/cgroup/pids")
NO_KERNEL = "--host-netns=/nowhere/net"


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
def pid() -> Iterator[int]:
    """A process in a cgroup that looks like a container's."""
    folder = (CGROUPS if CGROUPS.is_dir() else CGROUPS.parent) / f"libpod-{CONTAINER}"
    folder.mkdir()
    with subprocess.Popen(["sleep", "600"]) as process:
        (folder / "cgroup.procs").write_text(str(process.pid))
        yield process.pid
        process.kill()
    folder.rmdir()


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., EnricherProcess]]:
    started: list[EnricherProcess] = []

    def make(*options: str, wrapper: tuple[str, ...] = ()) -> EnricherProcess:
        started.append(EnricherProcess(folder, *options, wrapper=wrapper))
        return started[-1]

    yield make
    for process in started:
        process.stop()
        print("".join(process.lines[-30:]))


class Writer:
    """Writes records of one process to a file, each with the next serial."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        # Later than the start of the process: a record from before is somebody else's.
        self._time = int(Path(f"/proc/{pid}").stat().st_ctime) + 5
        self._serial = 0

    def jump(self, seconds: int) -> None:
        """Of the clock that the kernel stamps records with."""
        self._time += seconds

    def body(self, number: int = 83) -> str:
        self._serial += 1
        return (
            f"audit({self._time}.{self._serial % 1000:03d}:{self._serial}): auid=4294967295 uid=0 gid=0 "
            f'ses=4294967295 pid={self._pid} comm="sh" exe="/bin/sh" sig=0 arch=c000003e syscall={number} '
            "compat=0 ip=0x47b567 code=0x7ffc0000"
        )

    def auditd(self, number: int = 83) -> str:
        return f'type=SECCOMP msg={self.body(number)}\x1dAUID="unset" SYSCALL=mkdir\n'

    def syslog(self, number: int = 83) -> str:
        return f"Nov 23 10:00:00 node-1 kernel: [  270.853767] audit: type=1326 {self.body(number)}\n"


@pytest.fixture
def writer(pid: int) -> Writer:
    return Writer(pid)


def append(path: Path, text: str | bytes) -> None:
    with path.open("ab") as file:
        file.write(text.encode() if isinstance(text, str) else text)


def test_audit_log_comes_before_syslog(
    folder: Path, daemon: EnricherDaemon, start: Callable[..., EnricherProcess], writer: Writer
) -> None:
    append(folder / "audit.log", writer.auditd())
    append(folder / "syslog", "")
    process = start(NO_KERNEL)
    messages = [line.split('"msg"="')[1].split('"')[0] for line in process.lines if '"msg"="' in line]
    begin = messages.index("Starting log-enricher on node: node-1")
    assert messages[begin : begin + 4] == [
        "Starting log-enricher on node: node-1",
        "Connecting to local GRPC server",
        "Cannot read audit records from the kernel, using a log file",
        f"Reading from file {folder}/audit.log",
    ]
    append(folder / "audit.log", writer.auditd(84))
    (line,) = process.wait_for('"msg"="audit"')
    assert '"syscallName"="rmdir"' in line


def test_syslog_is_read_where_there_is_no_auditd(
    folder: Path, daemon: EnricherDaemon, start: Callable[..., EnricherProcess], writer: Writer
) -> None:
    append(folder / "syslog", writer.syslog())
    process = start(NO_KERNEL)
    append(folder / "syslog", writer.syslog(84))
    (line,) = process.wait_for('"msg"="audit"')
    assert '"syscallName"="rmdir"' in line


def test_setting_overrides_the_order(
    folder: Path, daemon: EnricherDaemon, start: Callable[..., EnricherProcess], writer: Writer
) -> None:
    append(folder / "audit.log", "")
    process = start("--source=syslog")
    assert f"Reading from file {folder}/syslog" in "".join(process.lines)
    append(folder / "syslog", writer.syslog())  # appears later: read from its beginning
    process.wait_for('"syscallName"="mkdir"')


def test_record_of_two_sources_counts_once(
    folder: Path, daemon: EnricherDaemon, start: Callable[..., EnricherProcess], writer: Writer
) -> None:
    for name in ("audit.log", "syslog"):
        append(folder / name, "")
    process = start("--source=auditd", "--source=syslog")
    process.wait_for("Reading from file", 2)
    for _ in range(3):
        body = writer.body()
        append(folder / "audit.log", f"type=SECCOMP msg={body}\n")
        append(folder / "syslog", f"Nov 23 10:00:00 node-1 kernel: audit: type=1326 {body}\n")
    append(folder / "audit.log", writer.auditd(84))
    append(folder / "syslog", writer.syslog(84))
    process.wait_for('"syscallName"="rmdir"', 2)
    wait_until(lambda: daemon.counts["c", "/bin/sh", "rmdir"] == 2)
    assert daemon.counts["c", "/bin/sh", "mkdir"] == 3


def test_rotated_and_damaged_files_are_followed(
    folder: Path, daemon: EnricherDaemon, start: Callable[..., EnricherProcess], writer: Writer
) -> None:
    path = folder / "audit.log"
    append(path, "")
    process = start(NO_KERNEL)
    append(path, writer.auditd(0))
    process.wait_for('"syscallName"="read"')
    path.rename(folder / "audit.log.1")
    append(folder / "audit.log.1", writer.auditd(1))
    append(path, writer.auditd(2))
    process.wait_for('"syscallName"="write"')
    process.wait_for('"syscallName"="open"')
    append(
        path, os.urandom(100_000) + b"\n" + b"x" * (1 << 20) + b"\n" + writer.auditd(3)[:90].encode() + b"\n"
    )
    append(path, writer.auditd(4))
    process.wait_for('"syscallName"="stat"')
    os.truncate(path, 0)
    append(path, writer.auditd(5))
    process.wait_for('"syscallName"="fstat"')
    path.unlink()
    append(path, writer.auditd(6))
    process.wait_for('"syscallName"="lstat"')
    assert not [line for line in process.audits() if '"syscallName"="close"' in line]


def test_permission_that_is_lost_and_restored(
    folder: Path, daemon: EnricherDaemon, start: Callable[..., EnricherProcess], writer: Writer
) -> None:
    path = folder / "audit.log"
    append(path, "")
    # Without the others root is refused as everybody is.
    process = start("--source=auditd", wrapper=("setpriv", "--bounding-set", "-all,+sys_ptrace"))
    append(path, writer.auditd(0))
    process.wait_for('"syscallName"="read"')
    path.rename(folder / "audit.log.1")
    append(folder / "new", writer.auditd(1))
    (folder / "new").chmod(0)
    (folder / "new").rename(path)
    process.wait_for("Cannot read the log file, waiting.*Permission denied")
    append(path, writer.auditd(2))
    path.chmod(0o600)
    process.wait_for('"syscallName"="write"')
    process.wait_for('"syscallName"="open"')


def test_records_from_before_and_after_a_jump_of_the_clock(
    folder: Path, daemon: EnricherDaemon, start: Callable[..., EnricherProcess], writer: Writer
) -> None:
    path = folder / "audit.log"
    append(path, "")
    process = start("--source=auditd")
    process.wait_for("Connected to the daemon")
    for seconds, number in ((0, 0), (86_400, 1), (-30, 2), (0, 3)):
        writer.jump(seconds)
        append(path, writer.auditd(number))
    process.wait_for('"syscallName"="close"')
    assert len(process.audits()) == 4


def test_forged_lines_are_not_believed(
    folder: Path, daemon: EnricherDaemon, start: Callable[..., EnricherProcess], writer: Writer
) -> None:
    path = folder / "syslog"
    append(path, "")
    process = start(NO_KERNEL)
    append(path, f"Nov 23 10:00:00 node-1 app[7]: audit: type=1326 {writer.body(1)}\n")
    append(path, f"Nov 23 10:00:00 node-1 app[7]: kernel: audit: type=1326 {writer.body(1)}\n")
    append(path, f"Nov 23 10:00:00 node-1 app[7]: x\r{writer.syslog(1)}")
    append(path, writer.syslog(84))
    process.wait_for('"syscallName"="rmdir"')
    assert len(process.audits()) == 1


def test_lines_are_explained_when_details_are_wanted(
    folder: Path,
    daemon: EnricherDaemon,
    start: Callable[..., EnricherProcess],
    writer: Writer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    append(folder / "syslog", "")
    monkeypatch.setenv("SPO_VERBOSITY", "1")
    process = start(NO_KERNEL)
    append(folder / "syslog", "Nov 23 10:00:00 node-1 app: hello\n")
    append(folder / "syslog", writer.syslog())
    process.wait_for('"syscallName"="mkdir"')
    process.wait_for('"msg"="Got line: Nov 23 10:00:00 node-1 app: hello"')
    assert len(process.wait_for('"msg"="Not an audit line"')) == 1


def test_unknown_source_is_a_usage_error() -> None:
    command = (sys.executable, "-m", "spo", "log-enricher", "--source=journal")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "'journal' is not one of 'netlink', 'auditd', 'syslog'" in done.stderr
