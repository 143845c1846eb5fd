"""The process with this kernel: real containers, netlink multicast, a network namespace of its own."""

import json
import os
import re
import secrets
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spo.probes.log_enricher.netlink import BACKLOG_LIMIT, BacklogLimit
from spo.rpc.log_enricher import TracedProcess
from tests.fakes.enricher_daemon import EnricherDaemon, EnricherProcess, wait_until
from tests.fakes.rpc_server import short_folder

pytestmark = pytest.mark.root

KERNEL = ("--source=netlink", "--host-netns=own")
CONFIGURATION = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
"""
MAX_RSS_KIB = 30 * 1024


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        made.chmod(0o755)
        yield made


@pytest.fixture
def daemon(folder: Path) -> Iterator[EnricherDaemon]:
    made = EnricherDaemon(folder / "daemon" / "e.sock")
    made.start()
    yield made
    made.stop()


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


class Container:
    """A busybox container under a profile that logs calls; waits for :meth:`go` first, last, and at WAIT."""

    def __init__(self, folder: Path, image: str, script: str, *, logged: tuple[str, ...] = ()) -> None:
        self.name = f"spo-enricher-{secrets.token_hex(4)}"
        gate = folder / self.name
        gate.mkdir()
        parts = f"WAIT; {script}; WAIT".split("WAIT")
        # Each its own: one that is written to while the reader before has it open would be lost.
        for number in range(1, len(parts)):
            os.mkfifo(gate / str(number))
        script = parts[0] + "".join(
            f"read -r go < /gate/{number}{part}" for number, part in enumerate(parts[1:], 1)
        )
        self._gate, self._next = gate, 1
        profile: dict[str, object] = {"defaultAction": "SCMP_ACT_LOG"}
        if logged:
            profile = {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": list(logged), "action": "SCMP_ACT_LOG"}],
            }
        (folder / "log.json").write_text(json.dumps(profile))
        (folder / "containers.conf").write_text(CONFIGURATION)
        self._env = {**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf")}
        self.id = self._podman(
            "run",
            "--detach",
            f"--name={self.name}",
            f"--security-opt=seccomp={folder}/log.json",
            f"--volume={gate}:/gate",
            image,
            "sh",
            "-c",
            script,
        )

    @property
    def pid(self) -> int:
        """Of the first process, while it runs."""
        return int(self._podman("inspect", "--format={{.State.Pid}}", self.name))

    def go(self) -> None:
        """Let the script go on from its next WAIT; returns when it has come there."""
        (self._gate / str(self._next)).write_text("go\n")
        self._next += 1

    def remove(self) -> None:
        self._podman("rm", "--force", "--time=0", self.name)

    def _podman(self, *arguments: str) -> str:
        done = subprocess.run(
            ("podman", *arguments), env=self._env, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()


@pytest.fixture
def run(folder: Path, busybox_image: str) -> Iterator[Callable[..., Container]]:
    made: list[Container] = []

    def make(script: str, **options: tuple[str, ...]) -> Container:
        made.append(Container(folder, busybox_image, script, **options))
        return made[-1]

    yield make
    for container in made:
        container.remove()


def test_calls_of_a_container_are_printed_and_counted(
    daemon: EnricherDaemon, start: Callable[..., EnricherProcess], run: Callable[..., Container]
) -> None:
    process = start(*KERNEL)
    container = run("mkdir /tmp/a /tmp/b /tmp/c", logged=("mkdir",))
    daemon.knows(container.id, "log-container", "log-pod")
    container.go()
    lines = process.wait_for('"container"="log-container".*"syscallName"="mkdir"', 3)
    assert len(lines) == 3
    assert re.match(
        r'I\d{4} \d\d:\d\d:\d\d\.\d{6} [ \d]{6}\d enricher\.py:\d+\] log-enricher "msg"="audit"  '
        r'"container"="log-container" "executable"="/bin/busybox" "namespace"="default" "node"="node-1" '
        r'"pid"=\d+ "pod"="log-pod" "syscallID"=83 "syscallName"="mkdir" '
        r'"timestamp"="\d{10}\.\d{3}:\d+" "type"="seccomp"\n$',
        lines[0],
    )
    wait_until(lambda: daemon.counts["log-container", "/bin/busybox", "mkdir"] == 3)


def test_records_from_before_the_daemon_knows_are_not_lost(
    daemon: EnricherDaemon, start: Callable[..., EnricherProcess], run: Callable[..., Container]
) -> None:
    process = start(*KERNEL)
    container = run("mkdir /tmp/a")
    container.go()
    # A container whose first process has ended before anybody looked at it would be nobody's.
    wait_until(lambda: daemon.asked[container.id] >= 2)
    container.go()
    daemon.knows(container.id, "late")
    first = process.wait_for('"container"="late"')[0]
    assert '"executable"="/"' in first  # of the runtime, before the program begins
    process.wait_for('"container"="late".*"syscallName"="mkdir"')


def test_container_that_ended_before_it_was_looked_at_is_known_by_the_recorder(
    daemon: EnricherDaemon, start: Callable[..., EnricherProcess], run: Callable[..., Container]
) -> None:
    process = start(*KERNEL)
    process.wait_for("Connected to the daemon")
    os.kill(process.pid, signal.SIGSTOP)
    container = run("mkdir /tmp/a", logged=("mkdir",))
    daemon.knows(container.id, "short")
    pid = container.pid
    daemon.processes[pid] = TracedProcess(pid, container.id, None, time.monotonic())
    container.go()
    container.go()
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    os.kill(process.pid, signal.SIGCONT)
    process.wait_for('"container"="short".*"syscallName"="mkdir"')
    wait_until(lambda: daemon.counts["short", "/bin/busybox", "mkdir"] == 1)


def test_two_containers_are_told_apart(
    daemon: EnricherDaemon, start: Callable[..., EnricherProcess], run: Callable[..., Container]
) -> None:
    process = start(*KERNEL)
    containers = [run("mkdir /tmp/x", logged=("mkdir",)), run("rmdir /tmp", logged=("rmdir",))]
    for index, container in enumerate(containers):
        daemon.knows(container.id, f"c{index}")
        container.go()
    process.wait_for('"container"="c0".*"syscallName"="mkdir"')
    process.wait_for('"container"="c1".*"syscallName"="rmdir"')
    assert not [line for line in process.audits() if '"c0"' in line and "rmdir" in line]


def test_hostile_name_of_a_program_stays_on_its_line(
    daemon: EnricherDaemon, start: Callable[..., EnricherProcess], run: Callable[..., Container]
) -> None:
    process = start(*KERNEL)
    name = '/tmp/busybox\\033[2J\\n" audit: type=1326 audit(1.000:1): '
    container = run(
        f"cp /bin/busybox \"$(printf '{name}')\"; \"$(printf '{name}')\" mkdir /tmp/a", logged=("mkdir",)
    )
    daemon.knows(container.id, "hostile")
    container.go()
    (line,) = process.wait_for('"container"="hostile".*"syscallName"="mkdir"')
    assert r'"executable"="/tmp/busybox\u001b[2J\n\" audit: type=1326 audit(1.000:1): "' in line


def test_enricher_in_a_network_namespace_of_its_own_enters_the_hosts(
    daemon: EnricherDaemon, start: Callable[..., EnricherProcess], run: Callable[..., Container]
) -> None:
    host = f"/proc/{os.getpid()}/ns/net"
    process = start("--source=netlink", f"--host-netns={host}", wrapper=("unshare", "--net"))
    assert not Path(f"/proc/{process.pid}/ns/net").samefile(host)
    container = run("mkdir /tmp/a", logged=("mkdir",))
    daemon.knows(container.id)
    container.go()
    process.wait_for('"syscallName"="mkdir"')


CAPABILITIES = "audit_read,audit_control,net_admin,sys_ptrace,sys_admin,dac_read_search"


@pytest.mark.parametrize("missing", [None, "net_admin", "audit_control"])
def test_capabilities_of_the_pod_are_enough(
    daemon: EnricherDaemon,
    start: Callable[..., EnricherProcess],
    run: Callable[..., Container],
    missing: str | None,
) -> None:
    kept = ",".join(f"+{name}" for name in CAPABILITIES.split(",") if name != missing)
    host = f"/proc/{os.getpid()}/ns/net"
    wrapper = ("unshare", "--net", "setpriv", "--bounding-set", f"-all,{kept}")
    process = start("--source=netlink", f"--host-netns={host}", wrapper=wrapper)
    process.wait_for("Connected to the daemon")
    container = run("mkdir /tmp/a", logged=("mkdir",))
    daemon.knows(container.id)
    container.go()
    process.wait_for('"syscallName"="mkdir"')
    warnings = [line for line in process.lines if line.startswith("W")]
    assert len(warnings) == (missing is not None), warnings


def test_without_the_hosts_namespace_a_file_is_used_and_said(
    folder: Path, start: Callable[..., EnricherProcess]
) -> None:
    process = start("--host-netns=/nowhere/net")
    messages = "".join(process.lines)
    assert "cannot open the network namespace /nowhere/net: No such file or directory" in messages
    assert f"Reading from file {folder}/syslog" in messages


def test_what_is_said_about_the_namespace_of_process_1_is_true(
    folder: Path, start: Callable[..., EnricherProcess]
) -> None:
    try:
        Path("/proc/1/ns/net").stat()
        expected = "Reading from netlink audit multicast"
    except PermissionError:
        expected = "cannot open the network namespace /proc/1/ns/net: Permission denied"
    process = start()
    assert expected in "".join(process.lines)
    assert ("Reading from netlink" in "".join(process.lines)) == ("Reading" in expected)


def test_kernel_that_was_asked_for_by_name_is_needed(folder: Path) -> None:
    command = (sys.executable, "-m", "spo", "log-enricher", "--source=netlink", "--host-netns=/nowhere/net")
    done = subprocess.run(
        command, env={**os.environ, "NODE_NAME": "n"}, capture_output=True, text=True, check=False, timeout=20
    )
    assert done.returncode == 1
    assert '"msg"="Stopped" "error"="cannot open the network namespace /nowhere/net' in done.stderr
    assert "Traceback" not in done.stderr


def backlog_limit() -> int:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9) as control:
        control.sendto(struct.pack("=IHHII", 16, 1000, 1, 1, 0), (0, 0))
        answer = control.recv(8192)
        return int(struct.unpack_from("=10I", answer, 16)[5])


def set_backlog_limit(limit: int) -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9) as control:
        status = struct.pack("=10I", 0x10, 0, 0, 0, 0, limit, 0, 0, 0, 0)
        control.sendto(struct.pack("=IHHII", 16 + len(status), 1001, 5, 1, 0) + status, (0, 0))
        control.recv(8192)


@pytest.fixture
def original_backlog_limit() -> Iterator[int]:
    before = backlog_limit()
    yield before
    set_backlog_limit(before)


def test_backlog_limit_is_raised_and_restored(start: Callable[..., EnricherProcess]) -> None:
    before = backlog_limit()
    process = start(*KERNEL)
    wait_until(lambda: backlog_limit() >= BACKLOG_LIMIT)
    process.stop()
    assert backlog_limit() == before


def test_backlog_limit_of_a_killed_process_is_restored_by_the_next(
    start: Callable[..., EnricherProcess],
) -> None:
    before = backlog_limit()
    process = start(*KERNEL)
    wait_until(lambda: backlog_limit() >= BACKLOG_LIMIT)
    process.stop(signal.SIGKILL)
    assert backlog_limit() >= BACKLOG_LIMIT
    process = start(*KERNEL)
    process.wait_for("The audit backlog limit is raised already")
    process.stop()
    assert backlog_limit() == before


@pytest.mark.parametrize(
    ("present", "reading"),
    [
        pytest.param(64, BACKLOG_LIMIT + 64, id="kernels-own"),
        pytest.param(2000, BACKLOG_LIMIT, id="between"),
        pytest.param(BACKLOG_LIMIT, BACKLOG_LIMIT, id="enough"),
        pytest.param(20_000, 20_000, id="more"),
        pytest.param(0, 0, id="unlimited"),
    ],
)
def test_limits_of_others_are_as_before_afterwards(
    original_backlog_limit: int, present: int, reading: int
) -> None:
    set_backlog_limit(present)
    with BacklogLimit(None):
        assert backlog_limit() == reading
    assert backlog_limit() == present


def test_limit_that_somebody_changes_meanwhile_is_left_alone(original_backlog_limit: int) -> None:
    set_backlog_limit(64)
    with BacklogLimit(None):
        set_backlog_limit(500)
    assert backlog_limit() == 500


def test_daemon_that_restarts_counts_all_and_nothing_twice(
    daemon: EnricherDaemon, start: Callable[..., EnricherProcess], run: Callable[..., Container]
) -> None:
    process = start(*KERNEL)
    container = run("i=0; while [ $i -lt 3000 ]; do kill -0 $$; i=$((i+1)); done", logged=("kill",))
    daemon.knows(container.id)
    container.go()
    process.wait_for('"syscallName"="kill"', 100)
    daemon.stop()
    process.wait_for("Cannot talk to the daemon")
    daemon.start()
    container.go()
    process.wait_for('"syscallName"="kill"', 3000)
    wait_until(lambda: daemon.counts["c", "/bin/busybox", "kill"] >= 3000)
    assert daemon.counts["c", "/bin/busybox", "kill"] == 3000
    assert len(set(daemon.batches)) == len(daemon.batches)


def test_records_that_the_kernel_drops_are_counted(
    daemon: EnricherDaemon, start: Callable[..., EnricherProcess], run: Callable[..., Container]
) -> None:
    process = start(*KERNEL, "--printing=none")
    process.wait_for("Connected to the daemon")
    script = "i=0; while [ $i -lt 40000 ]; do kill -0 $$; i=$((i+1)); done; WAIT; WAIT; kill -0 $$"
    container = run(script, logged=("kill",))
    daemon.knows(container.id)
    os.kill(process.pid, signal.SIGSTOP)
    container.go()
    container.go()
    os.kill(process.pid, signal.SIGCONT)
    wait_until(lambda: daemon.counts["c", "/bin/busybox", "kill"] > 0)
    container.go()  # one more record: the gap before it shows
    wait_until(lambda: daemon.counts["c", "/bin/busybox", "kill"] + daemon.losses.gaps > 40_000)
    assert daemon.losses.overruns >= 1
    assert daemon.counts["c", "/bin/busybox", "kill"] < 40_001


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_at_once(start: Callable[..., EnricherProcess], number: signal.Signals) -> None:
    process = start(*KERNEL)
    begin = time.monotonic()
    assert process.stop(number) == 0
    assert time.monotonic() - begin < 1.0


def test_no_internet_socket_no_event_loop_and_little_memory(
    folder: Path, daemon: EnricherDaemon, start: Callable[..., EnricherProcess], run: Callable[..., Container]
) -> None:
    trace = folder / "trace"
    process = start(*KERNEL, wrapper=("strace", "-f", "-qq", "-e", "trace=socket", "-o", str(trace)))
    container = run("mkdir /tmp/a")
    daemon.knows(container.id)
    container.go()
    process.wait_for('"syscallName"="mkdir"')
    wait_until(lambda: sum(daemon.counts.values()) > 0)
    assert process.rss_kib() <= MAX_RSS_KIB
    loaded = Path(f"/proc/{process.pid}/maps").read_text()
    assert "_ssl" not in loaded
    assert "_asyncio" not in loaded
    process.stop()
    sockets = trace.read_text()
    assert "AF_NETLINK" in sockets
    assert "AF_INET" not in sockets


def test_reader_that_stops_reading_does_not_stop_the_counting(
    folder: Path, daemon: EnricherDaemon, run: Callable[..., Container]
) -> None:
    reading, writing = os.pipe()
    command = (sys.executable, "-m", "spo", "log-enricher", *KERNEL, f"--daemon-socket={daemon.socket}")
    process = subprocess.Popen(command, env={**os.environ, "NODE_NAME": "n"}, stderr=writing)
    os.close(writing)
    try:
        while b"Connected" not in os.read(reading, 65536):
            pass
        container = run("i=0; while [ $i -lt 2000 ]; do kill -0 $$; i=$((i+1)); done", logged=("kill",))
        daemon.knows(container.id)
        container.go()
        container.go()
        wait_until(lambda: daemon.counts["c", "/bin/busybox", "kill"] == 2000)
        begin = time.monotonic()
        process.terminate()
        assert process.wait(20) == 0
        assert time.monotonic() - begin < 1.0
    finally:
        process.kill()
        process.wait()
        os.close(reading)
