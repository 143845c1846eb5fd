"""Profiles of real processes, read by ``go tool pprof`` of Debian."""

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.enricher_daemon import EnricherDaemon, EnricherProcess
from tests.fakes.recorder_process import RecorderProcess
from tests.fakes.rpc_server import short_folder
from tools.devcluster import free_port

NOWHERE = """\
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
"""
STARTED = re.compile(r'"msg"="Starting profiling server"  "endpoint"="localhost:(\d+)"')
BUSY = """\
import threading, time
from spo import klog
from spo.profiling.server import serve_profiles

def spin(steps):
    return sum(number * number for number in range(steps))

def deep(levels):
    return deep(levels - 1) if levels else spin(20_000)

def twice():
    spin(40_000)

def in_a_thread():
    while True:
        deep(100)

def grow():
    while True:
        kept.append(bytearray(200_000))
        time.sleep(0.05)

klog.configure(0)
serve_profiles("127.0.0.1", 0)
kept = [bytearray(20_000_000)]
for target in (in_a_thread, grow):
    threading.Thread(target=target, daemon=True).start()
while True:
    twice()
"""


def pprof(folder: Path, *arguments: str) -> str:
    program = shutil.which("go")
    assert program, "no go: run tools/setup.py --monitoring"
    environment = {**os.environ, "PPROF_TMPDIR": str(folder), "HOME": str(folder)}
    done = subprocess.run(
        (program, "tool", "pprof", *arguments), env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def shares(top: str) -> dict[str, tuple[float, float]]:
    """Function -> percent of its own and with what it calls, of the output of -top."""
    pattern = re.compile(r"^ *\S+ +([\d.]+)% +[\d.]+% +\S+ +([\d.]+)%  (.+)$", re.MULTILINE)
    return {name: (float(flat), float(cum)) for flat, cum, name in pattern.findall(top)}


def get(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        assert answer.headers["Content-Type"] == "application/octet-stream"
        found: bytes = answer.read()
        return found


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of a process that is never idle."""
    file = tmp_path_factory.mktemp("busy") / "busy.py"
    file.write_text(BUSY)
    process = subprocess.Popen((sys.executable, file), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        started = STARTED.search(process.stderr.readline())
        assert started
        yield int(started[1])
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_cpu_profile(busy: int, tmp_path: Path) -> None:
    top = pprof(tmp_path, "-top", "-nodecount=50", f"http://127.0.0.1:{busy}/debug/pprof/profile?seconds=2")
    assert "Type: cpu" in top
    found = shares(top)
    spinning = sum(flat for name, (flat, _) in found.items() if "spin" in name)
    assert spinning > 40, top
    for name in ("__main__.twice", "__main__.deep"):  # the main thread, another one
        assert 5 < found[name][1] < 95, top
    assert "__main__.in_a_thread" not in found  # 100 calls further out than is kept


def test_heap_profile_by_type(busy: int, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{busy}/debug/pprof/heap"
    top = pprof(tmp_path, "-top", url)
    assert "Type: inuse_space" in top
    assert "libraries" in top
    held = pprof(tmp_path, "-peek=^builtins.bytearray$", url)
    assert re.search(r"100% \| +builtins\.list", held), held
    assert "All Python objects, by type" in pprof(tmp_path, "-comments", url)


def test_heap_profile_of_a_while_by_line(busy: int, tmp_path: Path) -> None:
    top = pprof(tmp_path, "-top", f"http://127.0.0.1:{busy}/debug/pprof/heap?seconds=1")
    largest = re.search(r"sum%.*\n *[\d.]+[kM]B +[\d.]+% .*/busy\.py:(\d+)$", top, re.MULTILINE)
    assert largest, top
    assert "kept.append" in BUSY.splitlines()[int(largest[1]) - 1]


def test_nonsense_is_refused(busy: int) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400"):
        get(busy, "/debug/pprof/profile?seconds=1000000")


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """That processes are told to serve profiles on."""
    number = free_port()
    for variable, value in (("", "true"), ("_PORT", str(number)), ("_HOST", "127.0.0.1")):
        monkeypatch.setenv(f"SPO_PROFILING{variable}", value)
    return number


def check_profiles(port: int, folder: Path) -> None:
    """All of them can be read."""
    file = folder / "profile.pb.gz"
    for path, kind in (
        ("profile?seconds=1", "cpu"),
        ("heap", "inuse_space"),
        ("heap?seconds=1", "inuse_space"),
    ):
        file.write_bytes(get(port, f"/debug/pprof/{path}"))
        assert f"Type: {kind}\n" in pprof(folder, "-top", str(file))


def signal_as_timers_do(pid: int) -> None:
    """An idle process gets none in a second; it is not to take them for the end."""
    for number in (signal.SIGPROF, signal.SIGVTALRM):
        os.kill(pid, number)


@pytest.mark.root
def test_bpf_recorder_goes_on_after_its_profiles(port: int, tmp_path: Path) -> None:
    with short_folder() as folder:
        process = RecorderProcess(folder, Path("/sys/fs/bpf") / folder.name)
        try:
            signal_as_timers_do(process.pid)
            check_profiles(port, tmp_path)
            process.connect().close()
        finally:
            assert process.stop() == 0


@pytest.mark.root
@pytest.mark.parametrize("enabled", [False, True])
def test_bpf_recorder_has_an_internet_socket_only_for_its_profiles(
    enabled: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if enabled:
        request.getfixturevalue("port")
    trace = tmp_path / "trace"
    strace = ("strace", "-f", "-qq", "-e", "trace=socket", "-o", str(trace))
    with short_folder() as folder:
        process = RecorderProcess(folder, Path("/sys/fs/bpf") / folder.name, wrapper=strace)
        assert process.stop() == 0
    assert "AF_UNIX" in trace.read_text()
    assert ("AF_INET" in trace.read_text()) is enabled


@pytest.mark.root
def test_log_enricher_goes_on_after_its_profiles(port: int, tmp_path: Path) -> None:
    with short_folder() as folder:
        folder.chmod(0o755)
        daemon = EnricherDaemon(folder / "daemon" / "e.sock")
        daemon.start()
        process = EnricherProcess(folder, "--source=netlink", "--host-netns=own")
        try:
            process.wait_for("Reading from")
            signal_as_timers_do(process.pid)
            check_profiles(port, tmp_path)
        finally:
            assert process.stop() == 0
            daemon.stop()


@pytest.mark.parametrize("role", ["manager", "webhook", "daemon"])
def test_processes_that_wait_for_the_api_have_profiles_too(role: str, port: int, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(NOWHERE)
    environment = {
        "KUBECONFIG": str(config),
        "OPERATOR_NAMESPACE": "spo",
        "NODE_NAME": "node-1",
        "SPO_HEALTH_ADDRESS": "127.0.0.1:0",
        "SPO_METRICS_ADDRESS": "127.0.0.1:0",
        "SPO_WEBHOOK_ADDRESS": "127.0.0.1:0",
        "SPO_HOST_ROOT": str(tmp_path),
    }
    process = subprocess.Popen(
        (sys.executable, "-m", "spo", role),
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        assert any(STARTED.search(line) for line in lines)
        check_profiles(port, tmp_path)
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
