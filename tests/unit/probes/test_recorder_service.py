"""What the daemon gets for its requests, on a fake kernel and a fake clock."""

import io
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from spo import klog
from spo.bpf.errors import BpfCallError, PermissionMissingError
from spo.bpf.observation import Phase
from spo.bpf.recorder import Losses as KernelLosses
from spo.probes.bpf_recorder.service import RecorderService
from spo.probes.bpf_recorder.session import MAX_IGNORED, MAX_RECORDINGS, Session
from spo.probes.bpf_recorder.state_file import StateFile
from spo.rpc.bpf_recorder import (
    NO_RECORDER,
    NOT_RUNNING,
    TOO_MANY,
    UNKNOWN_NAMESPACE,
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
    Seen,
    Start,
    Started,
    Status,
    Stop,
    Stopped,
    Subscribe,
)
from spo.rpc.peer import Credentials
from spo.rpc.protocol import CallFailedError
from spo.rpc.server import Peer
from tests.fakes.recorder import FakeKernel, FakeRecorder
from tests.fakes.rpc_server import Now

OWN = 4_026_531_999
ID = "c0ffee" + "0" * 58
POD = "11111111-2222-3333-4444-555555555555"
CGROUPS = (f"cri-containerd-{ID}.scope", f"kubepods-pod{POD.replace('-', '_')}.slice", "kubepods.slice")


class Events(Peer):
    """A peer that keeps what it is pushed."""

    def __init__(self) -> None:
        super().__init__(socket.socket(socket.AF_UNIX), Credentials(1, 0, 0), 0.0)
        self.pushed: list[Any] = []

    def push(self, event: Any) -> None:
        self.pushed.append(event)


@dataclass
class Bench:
    folder: Path
    kernel: FakeKernel = field(default_factory=FakeKernel)
    now: Now = field(default_factory=Now)

    def __post_init__(self) -> None:
        self.peer = Events()
        self.start_process()

    def start_process(self) -> None:
        self.service = RecorderService(
            self.kernel,
            StateFile(self.folder / "state"),
            Session(120.0),
            own_namespace=OWN,
            clock=self.now,
        )
        self.service.restore()

    def ask(self, request: Any) -> Any:
        answer = self.service.handle(self.peer, request)
        self.service.save()
        return answer

    def reason(self, request: Any) -> str:
        with pytest.raises(CallFailedError) as caught:
            self.ask(request)
        return caught.value.reason

    def turn(self) -> list[Identified]:
        self.service.poll()
        self.service.tick()
        self.service.save()
        return self.service.take_news()

    @property
    def recorder(self) -> FakeRecorder:
        return self.kernel.recorders[-1]

    def container(self, key: int = 1, numbers: tuple[int, ...] = (0, 1), **more: Any) -> None:
        self.recorder.container_calls(key, numbers, **{"cgroups": CGROUPS, **more})


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.peer.connection.close()
    for recorder in made.kernel.recorders:
        recorder.close()


@pytest.fixture
def lines() -> Iterator[Callable[[], list[str]]]:
    """The messages that were logged since the last call."""
    written = io.StringIO()
    klog.configure(0, written)

    def take() -> list[str]:
        text = written.getvalue()
        written.seek(0)
        written.truncate()
        return [line.partition('"msg"="')[2].partition('"')[0] for line in text.splitlines()]

    yield take
    klog.configure(0)


def test_first_start_attaches_and_last_stop_detaches(bench: Bench, lines: Callable[[], list[str]]) -> None:
    assert bench.ask(Start("a")) == Started(False, Losses())
    recorder = bench.recorder
    assert recorder.attached
    assert recorder.pinned
    lines()
    assert bench.ask(Start("b")) == Started(True, Losses())
    assert lines() == ["bpf recorder already running"]
    assert bench.ask(Stop("a")) == Stopped(1, Losses())
    assert lines() == ["Not stopping because another recording is in progress"]
    assert bench.ask(Stop("b")) == Stopped(0, Losses())
    assert not recorder.attached
    assert not recorder.open
    assert not recorder.pinned
    assert list(bench.folder.iterdir()) == []
    assert bench.ask(Stop("b")) == Stopped(0, Losses())
    assert lines()[-1] == "bpf recorder not running"


def test_nothing_is_attached_before_a_recording(bench: Bench) -> None:
    assert bench.kernel.recorders == []
    for request in (Keep(1), Reject(1), Read(1), Reset(1)):
        assert bench.reason(request) == NOT_RUNNING
    assert bench.ask(GetStatus()) == Status([], 0, 0, Losses())


def test_refusing_kernel_is_told_and_forgotten(bench: Bench) -> None:
    bench.kernel.refuses = PermissionMissingError("load the BPF object")
    with pytest.raises(CallFailedError, match="recording needs root") as caught:
        bench.ask(Start("a"))
    assert caught.value.reason == NO_RECORDER
    assert bench.ask(GetStatus()).recordings == []
    bench.kernel.refuses = None
    assert bench.ask(Start("a")) == Started(False, Losses())


def test_container_is_recorded_from_its_first_call(bench: Bench) -> None:
    bench.ask(Start("a"))
    bench.ask(Subscribe())
    assert bench.peer.subscribed
    bench.container(1, (56, 59), phase=Phase.RUNTIME_FILTERED)
    first = Identified(1, 4_000_000_001, ID, POD, 1001, "runc:[1:CHILD]", False, False)
    assert bench.turn() == [first]
    bench.container(1, (0, 231), first_exec=True)
    assert [(news.comm, news.kept) for news in bench.turn()] == [("program", False)]
    assert bench.ask(Keep(1)) == Kept(False, Losses())
    assert bench.ask(Read(1)) == Observed(1, False, [Seen(0, 1, [56, 59]), Seen(0, 2, [0, 231])], Losses())
    assert bench.ask(Reset(1)) == Done(Losses())
    bench.container(1, (3,))
    assert bench.ask(Read(1)).seen == [Seen(0, 2, [3])]
    assert bench.ask(Reject(1)) == Done(Losses())
    assert bench.reason(Read(1)) == UNKNOWN_NAMESPACE
    assert bench.ask(Reject(1)) == Done(Losses())


def test_log_shows_what_users_look_for(bench: Bench, lines: Callable[[], list[str]]) -> None:
    bench.ask(Start("a"))
    for key in (1, 2):
        bench.container(key)
    bench.container(2, first_exec=True)
    bench.turn()
    lines()
    bench.ask(Keep(1, "my-recording-nginx-1636978341", "nginx"))
    kept = ["Found container ID in cluster", "Saving PID for profile"]
    assert lines() == kept
    bench.container(1, first_exec=True)
    bench.turn()
    assert lines() == ["Using short path via tracked mount namespace"]
    bench.ask(Keep(2, "p", "redis"))  # decided after the program had begun
    assert lines() == [*kept, "Using short path via tracked mount namespace"]


def test_subscriber_hears_of_what_was_there_before(bench: Bench) -> None:
    bench.ask(Start("a"))
    bench.container(1)
    bench.container(2)
    bench.container(3, cgroups=("system.slice",))
    bench.turn()
    bench.ask(Keep(2))
    assert bench.ask(Subscribe()) == Status(["a"], 2, 1, Losses())
    assert [(event.key, event.kept) for event in bench.peer.pushed] == [(1, False), (2, True)]


def test_late_container_is_marked(bench: Bench) -> None:
    bench.ask(Start("a"))
    bench.container(1, late=True)
    (news,) = bench.turn()
    assert news.late
    assert bench.ask(Keep(1)).late
    assert bench.ask(Read(1)).late


def test_undecided_container_expires_and_is_counted(bench: Bench, lines: Callable[[], list[str]]) -> None:
    bench.ask(Start("a"))
    bench.container(1)
    bench.container(2, cgroups=())
    bench.container(3)
    bench.turn()
    bench.ask(Keep(3))
    assert bench.service.next_deadline_s() == bench.now.s + 120
    bench.now.s += 120
    lines()
    bench.turn()
    assert lines() == ["Nobody asked for a namespace in time"]
    assert bench.recorder.entries[1].ignored
    assert bench.recorder.entries[2].ignored
    assert not bench.recorder.entries[3].ignored
    with pytest.raises(CallFailedError, match=r"namespace 1 is not recorded: .* undecided for too long"):
        bench.ask(Keep(1))
    assert bench.ask(GetStatus()) == Status(["a"], 0, 1, Losses(expired=1))


def test_namespace_of_no_container_goes_with_its_first_exec(bench: Bench) -> None:
    bench.ask(Start("a"))
    for key in (1, 2, 3):
        bench.container(key, cgroups=("system.slice",))
    bench.turn()
    assert bench.ask(GetStatus()).undecided == 3
    bench.container(1, cgroups=("cron.service", "system.slice"), first_exec=True)
    bench.container(2, first_exec=True)  # a runtime that is late with the cgroup
    assert [news.key for news in bench.turn()] == [2]
    assert bench.recorder.entries[1].ignored
    assert bench.ask(GetStatus()) == Status(["a"], 2, 0, Losses())
    bench.container(
        2, cgroups=("system.slice",), first_exec=True
    )  # a hook, in the namespace of the container
    bench.turn()
    assert not bench.recorder.entries[2].ignored


def test_unannounced_namespace_expires_too(bench: Bench) -> None:
    bench.ask(Start("a"))
    bench.container(1)
    bench.recorder.queue.clear()
    bench.recorder.lost = KernelLosses(0, 1, 0, 0)
    assert bench.turn() == []
    assert bench.service.next_deadline_s() == bench.now.s + 120
    bench.now.s += 120
    bench.turn()
    assert bench.recorder.entries[1].ignored


def test_own_namespace_is_never_told(bench: Bench) -> None:
    bench.ask(Start("a"))
    bench.ask(Subscribe())
    bench.container(1, inode=OWN)
    bench.container(1, first_exec=True)
    assert bench.turn() == []
    assert bench.recorder.entries[1].ignored
    assert bench.ask(Subscribe()).undecided == 0
    assert bench.peer.pushed == []


def test_losses_of_the_kernel_are_in_every_answer(bench: Bench) -> None:
    bench.ask(Start("a"))
    bench.container(1)
    bench.turn()
    bench.recorder.lost = KernelLosses(1, 2, 3, 4)
    expected = Losses(1, 2, 3, 4)
    for request in (Start("b"), Keep(1), Read(1), Reset(1), GetStatus(), Reject(1), Stop("b"), Stop("a")):
        assert bench.ask(request).losses == expected


def test_forgotten_namespaces_leave_the_kernel(bench: Bench) -> None:
    bench.ask(Start("a"))
    for key in range(1, MAX_IGNORED + 3):
        bench.container(key)
    bench.turn()
    for key in range(1, MAX_IGNORED + 3):
        bench.ask(Reject(key))
    assert bench.recorder.forgotten == [1, 2]


def test_number_of_recordings_is_bounded(bench: Bench) -> None:
    for number in range(MAX_RECORDINGS):
        bench.service.handle(bench.peer, Start(str(number)))
    assert bench.reason(Start("one more")) == TOO_MANY
    assert bench.ask(Start("0")).already_running


def test_killed_process_loses_nothing(bench: Bench) -> None:
    bench.ask(Start("a"))
    bench.container(1, (1, 2))
    bench.container(2, (3,))
    bench.turn()
    bench.ask(Keep(1))
    bench.ask(Reject(2))
    bench.container(1, (4,))

    bench.start_process()  # no close: SIGKILL
    bench.container(1, (5,))
    bench.container(3, (6,))
    assert [news.key for news in bench.turn()] == [3]
    assert bench.ask(Subscribe()) == Status(["a"], 1, 1, Losses())
    assert [(event.key, event.container_id, event.kept) for event in bench.peer.pushed] == [
        (1, ID, True),
        (3, ID, False),
    ]
    assert bench.ask(Read(1)).seen == [Seen(0, 2, [1, 2, 4, 5])]
    assert bench.reason(Keep(2)) == UNKNOWN_NAMESPACE
    assert bench.ask(Stop("a")).remaining == 0


def test_ended_process_leaves_a_live_recording_in_the_kernel(bench: Bench) -> None:
    bench.ask(Start("a"))
    bench.container(1, (1,))
    bench.turn()
    bench.service.close()
    assert bench.kernel.pinned is not None
    bench.start_process()
    assert bench.ask(Keep(1)) == Kept(False, Losses())
    assert bench.ask(Read(1)).seen == [Seen(0, 2, [1])]


def test_namespace_seen_while_nobody_ran_is_found(bench: Bench) -> None:
    bench.ask(Start("a"))
    bench.recorder.container_calls(5, (1,), cgroups=CGROUPS)  # announced, not yet taken
    bench.start_process()
    assert [news.key for news in bench.turn()] == [5]


def test_lost_pins_are_counted_and_recording_begins_anew(bench: Bench) -> None:
    bench.ask(Start("a"))
    bench.container(1)
    bench.turn()
    bench.ask(Keep(1))
    bench.kernel.pinned = None
    bench.start_process()
    assert bench.recorder.attached
    status = bench.ask(GetStatus())
    assert status == Status(["a"], 0, 0, Losses(interrupted=1))
    assert bench.reason(Read(1)) == UNKNOWN_NAMESPACE


def test_pins_without_a_recording_are_removed(bench: Bench, lines: Callable[[], list[str]]) -> None:
    bench.kernel.start()
    bench.kernel.others = ["0123456789ab"]
    lines()
    bench.start_process()
    assert lines() == [
        "Removed pinned objects of another version",
        "Removed pinned objects that no recording needs",
    ]
    assert bench.kernel.pinned is None
    assert bench.service.recorder is None


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x91" * 100_000, b"\x81\xaarecordings\x01"])
def test_unreadable_state_counts_as_none(
    bench: Bench, content: bytes, lines: Callable[[], list[str]]
) -> None:
    bench.kernel.start()
    (bench.folder / "state").write_bytes(content)
    lines()
    bench.start_process()
    assert "Cannot read the state of the last run" in lines()
    assert bench.service.recorder is None


def test_linked_state_is_not_followed(bench: Bench) -> None:
    (bench.folder / "victim").write_bytes(b"precious")
    (bench.folder / "state").symlink_to(bench.folder / "victim")
    (bench.folder / "state.new").symlink_to(bench.folder / "victim")
    bench.start_process()
    bench.ask(Start("a"))
    assert (bench.folder / "victim").read_bytes() == b"precious"
    assert not (bench.folder / "state").is_symlink()


def test_full_disk_is_told_once_and_tried_again(bench: Bench, lines: Callable[[], list[str]]) -> None:
    (bench.folder / "state.new").mkdir()
    lines()
    bench.ask(Start("a"))
    bench.turn()
    bench.turn()
    assert sum("Cannot save" in line for line in lines()) == 1
    (bench.folder / "state.new").rmdir()
    bench.turn()
    assert (bench.folder / "state").exists()


def test_failing_detach_is_told_and_everything_let_go(bench: Bench) -> None:
    bench.ask(Start("a"))
    bench.recorder.fail_detach = True
    with pytest.raises(CallFailedError, match="detach: no"):
        bench.ask(Stop("a"))
    assert bench.service.recorder is None
    assert not bench.recorder.open


def test_broken_ring_buffer_ends_the_process(bench: Bench) -> None:
    bench.ask(Start("a"))

    def events(timeout_ms: int = 0) -> list[Any]:
        raise BpfCallError("read the ring buffer", "Bad file descriptor")

    bench.recorder.events = events  # type: ignore[method-assign]  # one broken method
    with pytest.raises(BpfCallError):
        bench.turn()
