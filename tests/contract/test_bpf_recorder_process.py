"""The process as the daemon meets it: started, asked, killed, started again."""

import asyncio
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spo.bpf.observation import Phase
from spo.bpf.programs import layout_hash
from spo.profiles.syscall_tables import syscall_names
from spo.rpc.blocking import BlockingClient
from spo.rpc.bpf_recorder import (
    PROTOCOL,
    Done,
    GetStatus,
    Identified,
    Keep,
    Kept,
    Losses,
    Observed,
    Read,
    Reject,
    Reset,
    Start,
    Started,
    Status,
    Stop,
    Stopped,
    Subscribe,
)
from spo.rpc.client import Client, connect_with_retry
from spo.rpc.connection import ConnectionLostError
from spo.rpc.protocol import CallFailedError, Protocol, RefusedError
from tests.fakes.recorder_process import RecorderProcess
from tests.fakes.rpc_server import RawPeer, short_folder

pytestmark = pytest.mark.root

NAMES = dict(syscall_names("SCMP_ARCH_X86_64").items())
CONFIGURATION = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
"""
MAX_RSS_KIB = 24 * 1024


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        made.chmod(0o755)
        yield made


@pytest.fixture
def pins(tmp_path: Path) -> Iterator[Path]:
    """A bpf file system for this test alone."""
    subprocess.run(("mount", "-t", "bpf", "bpf", tmp_path), check=True)
    yield tmp_path / "root"
    subprocess.run(("umount", "-l", tmp_path), check=True)


@pytest.fixture
def start(folder: Path, pins: Path) -> Iterator[Callable[[], RecorderProcess]]:
    started: list[RecorderProcess] = []

    def make() -> RecorderProcess:
        started.append(RecorderProcess(folder, pins))
        return started[-1]

    yield make
    for process in started:
        process.kill()
        print("".join(process.lines))


@pytest.fixture
def recorder(start: Callable[[], RecorderProcess]) -> RecorderProcess:
    return start()


class Container:
    """A busybox container whose shell does the next step when told through a FIFO."""

    def __init__(self, folder: Path, image: str, steps: str) -> None:
        self.name = f"spo-recorder-{secrets.token_hex(4)}"
        self._gates = folder / self.name
        self._gates.mkdir()
        parts = steps.split("WAIT")
        for number in range(1, len(parts)):
            os.mkfifo(self._gates / str(number))
        self._next = 1
        configuration = folder / "containers.conf"
        configuration.write_text(CONFIGURATION)
        self._env = {**os.environ, "CONTAINERS_CONF": str(configuration)}
        script = parts[0] + "".join(
            f"read -r go < /gates/{number}{part}" for number, part in enumerate(parts[1:], 1)
        )
        volume = f"--volume={self._gates}:/gates"
        self.id = self._podman("run", "--detach", f"--name={self.name}", volume, image, "sh", "-c", script)

    def step(self) -> None:
        """Let the shell go on to its next WAIT; returns when it has opened the gate."""
        (self._gates / str(self._next)).write_text("go\n")
        self._next += 1

    def wait(self) -> None:
        """Until the shell has ended."""
        self._podman("wait", self.name)

    def remove(self) -> None:
        self._podman("rm", "--force", "--time=0", self.name)

    def _podman(self, *arguments: str) -> str:
        done = subprocess.run(
            ("podman", *arguments), env=self._env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def run(folder: Path, busybox_image: str) -> Iterator[Callable[[str], Container]]:
    made: list[Container] = []

    def make(steps: str) -> Container:
        made.append(Container(folder, busybox_image, steps))
        return made[-1]

    yield make
    for container in made:
        container.remove()


def identified(client: BlockingClient, container: Container) -> Identified:
    """The first event of this container: others may run on this machine."""
    while True:
        event = client.next_event()
        assert isinstance(event, Identified)
        if event.container_id == container.id:
            return event


def names(observed: Observed, *phases: Phase) -> set[str]:
    return {NAMES[number] for seen in observed.seen if seen.phase in phases for number in seen.numbers}


def test_start_up_lines(recorder: RecorderProcess) -> None:
    messages = recorder.messages()
    assert messages[0] == "Set logging verbosity to 0"
    assert messages[2:4] == ["starting component: bpf-recorder", "Starting log-enricher on node: node-1"]
    assert re.fullmatch(r"Got system mount namespace: \d+", messages[4])
    assert messages[5:] == [
        "Doing BPF load/unload self-test",
        "Loading bpf module",
        "Using system btf file",
        "Loading bpf object from module",
        "Attaching bpf tracepoint",
        "Module successfully loaded, watching for events",
        "Unloading bpf module",
        "Starting GRPC API server",
    ]


def test_container_is_recorded(recorder: RecorderProcess, run: Callable[[str], Container]) -> None:
    with recorder.connect() as client:
        assert client.call(Start("pod"), Started) == Started(False, Losses())
        client.call(Subscribe(), Status)
        container = run("mkdir /a; WAIT; rmdir /a")
        event = identified(client, container)
        assert not event.late
        assert client.call(Keep(event.key), Kept) == Kept(False, Losses())
        container.step()
        container.wait()
        observed = client.call(Read(event.key), Observed)
        assert observed.losses == Losses()
        assert {"mkdir", "rmdir", "exit_group"} <= names(observed, Phase.PROGRAM)
        assert names(observed, Phase.RUNTIME, Phase.RUNTIME_FILTERED)
        assert client.call(Reset(event.key), Done)
        assert client.call(Read(event.key), Observed).seen == []
        assert client.call(Reject(event.key), Done)
        assert client.call(Stop("pod"), Stopped) == Stopped(0, Losses())


def test_killed_in_the_middle_nothing_is_lost(
    start: Callable[[], RecorderProcess], run: Callable[[str], Container]
) -> None:
    first = start()
    with first.connect() as client:
        client.call(Start("pod"), Started)
        client.call(Subscribe(), Status)
        container = run("mkdir /a; WAIT; chown 1:1 /a; WAIT; ln -s x /l; WAIT; sync")
        undecided = run("WAIT; ln -s x /l")
        event = identified(client, container)
        client.call(Keep(event.key), Kept)
        other = identified(client, undecided)
    first.kill()
    container.step()  # nobody runs but the kernel
    orphan = run("WAIT")
    second = start()
    assert "Going on with recordings" in second.messages()
    assert second.socket.is_socket()
    with second.connect() as client:
        status = client.call(Subscribe(), Status)
        assert status.recordings == ["pod"]
        assert status.kept == 1
        assert identified(client, container).kept
        assert identified(client, undecided).key == other.key
        assert not identified(client, orphan).late
        container.step()
        container.step()
        container.wait()
        observed = client.call(Read(event.key), Observed)
        assert {"mkdir", "chown", "symlink", "sync", "exit_group"} <= names(observed, Phase.PROGRAM) | {
            name.removesuffix("at").removeprefix("f") for name in names(observed, Phase.PROGRAM)
        }
        assert observed.losses == Losses()
        assert client.call(Keep(other.key), Kept) == Kept(False, Losses())
        undecided.step()
        undecided.wait()
        assert {"symlink", "symlinkat"} & names(client.call(Read(other.key), Observed), Phase.PROGRAM)
        orphan.step()
        client.call(Stop("pod"), Stopped)
    assert not second.pins.exists() or list(second.pins.iterdir()) == []


async def test_daemon_comes_back_after_a_kill(start: Callable[[], RecorderProcess]) -> None:
    first = start()
    failures: list[str] = []
    async with await Client.connect(first.socket, PROTOCOL) as client:
        await client.call(Start("pod"), Started)
        first.kill()
        with pytest.raises(ConnectionLostError, match="bpf-recorder closed the connection"):
            async for _ in client.events():
                pass
    second: list[RecorderProcess] = []

    async def start_meanwhile(_pause_s: float) -> None:
        second.append(await asyncio.to_thread(start))

    client = await connect_with_retry(
        first.socket,
        PROTOCOL,
        failed=lambda error, _pause_s: failures.append(str(error)),
        sleep=start_meanwhile,
    )
    async with client:
        assert (await client.call(Subscribe(), Status)).recordings == ["pod"]
        await client.call(Stop("pod"), Stopped)
    assert len(second) == 1
    assert "Connection refused" in failures[0]


def test_container_that_was_there_before_is_late(
    recorder: RecorderProcess, run: Callable[[str], Container]
) -> None:
    container = run("WAIT; mkdir /a")
    with recorder.connect() as client:
        client.call(Start("pod"), Started)
        client.call(Subscribe(), Status)
        container.step()
        event = identified(client, container)
        assert event.late
        assert client.call(Keep(event.key), Kept).late


def test_start_and_stop_are_counted(recorder: RecorderProcess) -> None:
    with recorder.connect() as client:
        assert client.call(Stop("a"), Stopped).remaining == 0
        client.call(Start("a"), Started)
        assert [path.name for path in recorder.pins.iterdir()] == [layout_hash()]
        assert client.call(Start("b"), Started).already_running
        assert client.call(Stop("a"), Stopped).remaining == 1
        assert client.call(Stop("b"), Stopped).remaining == 0
        assert list(recorder.pins.iterdir()) == []
        with pytest.raises(CallFailedError, match=r"^bpf recorder not running$"):
            client.call(Read(1), Observed)
    assert recorder.stop() == 0
    wanted = [
        "bpf recorder not running",
        "bpf recorder already running",
        "Not stopping because another recording is in progress",
    ]
    assert [line for line in recorder.messages() if line in wanted] == wanted


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_and_nothing_is_left(recorder: RecorderProcess, number: signal.Signals) -> None:
    os.kill(recorder.pid, number)
    assert recorder.wait() == 0
    assert recorder.messages()[-1] == "Stopped"
    assert not recorder.pins.exists()
    assert [path.name for path in recorder.socket.parent.iterdir()] == ["bpf-recorder.sock.lock"]


def test_sigterm_leaves_a_live_recording_to_the_next_start(start: Callable[[], RecorderProcess]) -> None:
    first = start()
    with first.connect() as client:
        client.call(Start("a"), Started)
        assert first.stop() == 0  # with a client connected
    assert list(first.pins.iterdir())
    second = start()
    with second.connect() as client:
        assert client.call(GetStatus(), Status).recordings == ["a"]
        client.call(Stop("a"), Stopped)
    assert list(first.pins.iterdir()) == []


def test_pins_without_a_recording_and_of_other_versions_go(
    start: Callable[[], RecorderProcess],
) -> None:
    first = start()
    with first.connect() as client:
        client.call(Start("a"), Started)
    first.kill()
    first.socket.with_name("bpf-recorder.state").unlink()
    (first.pins / layout_hash()).rename(first.pins / "0123456789ab")
    second = start()
    assert "Removed pinned objects of another version" in second.messages()
    assert list(second.pins.iterdir()) == []


def test_live_recording_of_another_version_begins_anew_and_says_so(
    start: Callable[[], RecorderProcess],
) -> None:
    first = start()
    with first.connect() as client:
        client.call(Start("a"), Started)
    first.kill()
    (first.pins / layout_hash()).rename(first.pins / "0123456789ab")
    second = start()
    with second.connect() as client:
        status = client.call(GetStatus(), Status)
    assert (status.recordings, status.kept, status.losses) == (["a"], 0, Losses(interrupted=1))
    assert [path.name for path in second.pins.iterdir()] == [layout_hash()]


def test_second_process_is_refused_and_the_first_goes_on(
    recorder: RecorderProcess, start: Callable[[], RecorderProcess]
) -> None:
    second = start()
    assert second.wait() == 1
    assert re.search(r'"msg"="Stopped" "error"="another process serves \S+; stop it first', second.lines[-1])
    with recorder.connect() as client:
        client.call(GetStatus(), Status)


CONNECT = """
import os, sys
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[1]))
from pathlib import Path
from spo.rpc.blocking import BlockingClient
from spo.rpc.bpf_recorder import PROTOCOL, GetStatus, Status
from spo.rpc.errors import RpcError
try:
    print(BlockingClient(Path(sys.argv[3]), PROTOCOL).call(GetStatus(), Status).recordings)
except RpcError as error:
    print(error)
"""


def connect_as(uid: int, gid: int, path: Path) -> str:
    done = subprocess.run(
        (sys.executable, "-c", CONNECT, str(uid), str(gid), str(path)),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_only_root_and_the_daemon_are_served(recorder: RecorderProcess) -> None:
    assert connect_as(0, 0, recorder.socket) == "[]"
    assert connect_as(65535, 65535, recorder.socket) == "[]"
    assert "Permission denied" in connect_as(1234, 1234, recorder.socket)
    refused = "bpf-recorder refused us: uid 1234 may not use bpf-recorder"
    assert connect_as(1234, 65535, recorder.socket) == refused  # the group alone is not enough
    recorder.socket.parent.chmod(0o777)
    recorder.socket.chmod(0o777)
    assert connect_as(1234, 1234, recorder.socket) == refused
    recorder.stop()
    assert "Refused a peer" in recorder.messages()


def test_daemon_cannot_replace_the_socket(recorder: RecorderProcess) -> None:
    attempt = (
        "import os, sys; os.setgroups([]); os.setgid(65535); os.setuid(65535)\n"
        "for act in (os.unlink, lambda p: os.rename(p, p + 'x'), lambda p: os.chmod(p, 0o777)):\n"
        "    try: act(sys.argv[1]); print('did')\n"
        "    except PermissionError: pass\n"
    )
    done = subprocess.run((sys.executable, "-c", attempt, recorder.socket), capture_output=True, check=True)
    assert done.stdout == b""


@pytest.mark.parametrize(
    ("garbage", "reason"),
    [
        pytest.param((2 << 20).to_bytes(4, "big") + b"x" * 100, "a frame of 2097152 bytes", id="2-MiB"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", "a frame of 1195725856 bytes", id="http"),
        pytest.param(PROTOCOL.hello() + b"\x00\x00\x00\x01\xc1", "not a message", id="not-msgpack"),
    ],
)
def test_garbage_harms_nobody_else(recorder: RecorderProcess, garbage: bytes, reason: str) -> None:
    with recorder.connect() as client:
        bad = RawPeer(recorder.socket)
        bad.socket.setblocking(True)
        bad.send(garbage)
        received = b""
        while piece := bad.socket.recv(65536):
            received += piece
        assert reason.encode() in received
        bad.close()
        client.call(GetStatus(), Status)


def test_half_a_frame_stalls_nobody(recorder: RecorderProcess) -> None:
    slow = RawPeer(recorder.socket)
    slow.send(PROTOCOL.hello()[:7])
    with recorder.connect() as client:
        client.call(GetStatus(), Status)
    slow.close()


def test_other_protocol_version_is_told(recorder: RecorderProcess) -> None:
    newer = Protocol(PROTOCOL.service, PROTOCOL.version + 1, PROTOCOL.requests, PROTOCOL.answers)
    with pytest.raises(RefusedError, match="speaks protocol version 1, the peer 2; both come from one image"):
        BlockingClient(recorder.socket, newer)


def test_no_internet_socket_is_ever_opened(folder: Path, pins: Path) -> None:
    log = folder / "strace.log"
    wrapper = ("strace", "-f", "-e", "trace=socket,socketpair", "-o", str(log))
    traced = RecorderProcess(folder, pins, wrapper=wrapper)
    with traced.connect() as client:
        client.call(Start("a"), Started)
        client.call(Stop("a"), Stopped)
    assert traced.stop() == 0
    families = re.findall(r"socket(?:pair)?\((\w+)", log.read_text())
    assert set(families) == {"AF_UNIX"}


def test_memory_stays_within_the_promise(recorder: RecorderProcess) -> None:
    assert recorder.rss_kib() <= MAX_RSS_KIB
    with recorder.connect() as client:
        for _ in range(5):
            client.call(Start("a"), Started)
            client.call(Stop("a"), Stopped)
    assert recorder.rss_kib() <= MAX_RSS_KIB


def test_without_root_one_line_says_why(folder: Path, pins: Path) -> None:
    command = ("setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-m", "spo", "bpf-recorder")
    done = subprocess.run(
        (*command, f"--socket={folder}/probes/s", f"--pin-root={pins}"),
        env={**os.environ, "NODE_NAME": "n"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert '"msg"="Stopped" "error"="cannot listen on' in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_missing_node_name_is_fatal() -> None:
    env = {key: value for key, value in os.environ.items() if key != "NODE_NAME"}
    done = subprocess.run(
        (sys.executable, "-m", "spo", "b"), env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith('"msg"="Stopped" "error"="NODE_NAME environment variable not set"')


def test_pin_root_outside_a_bpf_file_system_is_told_to_the_client(folder: Path, tmp_path: Path) -> None:
    process = RecorderProcess(folder, tmp_path / "plain")
    with process.connect() as client, pytest.raises(CallFailedError, match="below a bpf file system"):
        client.call(Start("a"), Started)
    assert process.stop() == 0
