"""The recorder against this kernel: what counts, as whose call, and what happens when something is full."""

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from spo.bpf.errors import PinsError
from spo.bpf.observation import Observation, Phase, SyscallClass
from spo.bpf.recorder import Namespace, Recorder
from spo.profiles.syscall_tables import syscall_names
from spo.recording.identity import container_of

pytestmark = pytest.mark.root

NUMBERS = {name: number for number, name in syscall_names("SCMP_ARCH_X86_64").items()}
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS = 0x20000


def programs_calls(observation: Observation) -> frozenset[int]:
    return observation.numbers(SyscallClass.NATIVE, Phase.PROGRAM)


@pytest.fixture(params=["kernel", "file"])
def recorder(request: pytest.FixtureRequest) -> Iterator[Recorder]:
    """With fields loaded directly, and through a BTF file."""
    btf = Path("/sys/kernel/btf/vmlinux") if request.param == "file" else None
    with Recorder.load(btf=btf) as loaded:
        loaded.attach()
        yield loaded
        loaded.detach()


@pytest.fixture
def bpf_file_system(tmp_path: Path) -> Iterator[Path]:
    subprocess.run(("mount", "-t", "bpf", "bpf", tmp_path), check=True)
    yield tmp_path
    subprocess.run(("umount", "-l", tmp_path), check=True)


@contextmanager
def held(body: Callable[[], None]) -> Iterator[tuple[int, Callable[[], None]]]:
    """A child that runs ``body`` when told; gives its pid and what tells it and waits for its end."""
    gate, release = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(release)
        os.read(gate, 1)
        try:
            body()
        finally:
            os._exit(0)
    os.close(gate)
    ended: list[int] = []

    def run() -> None:
        os.close(release)
        ended.append(os.waitpid(pid, 0)[1])

    try:
        yield pid, run
    finally:
        if not ended:
            os.kill(pid, signal.SIGKILL)
            run()


def call(name: str) -> None:
    LIBC.syscall(NUMBERS[name], 0, 0, 0, 0, 0, 0)


def execute(*arguments: str) -> Callable[[], None]:
    return lambda: os.execv(arguments[0], arguments)


def test_a_command_counts_from_its_execve_on(recorder: Recorder) -> None:
    def body() -> None:
        call("getsid")
        os.execv("/bin/true", ["true"])

    with held(body) as (pid, run):
        recorder.add_process(pid)
        run()

    seen = programs_calls(recorder.tree())
    assert {NUMBERS["execve"], NUMBERS["brk"], NUMBERS["exit_group"]} <= seen
    assert NUMBERS["getsid"] not in seen
    assert NUMBERS["getsid"] in recorder.tree().numbers(SyscallClass.NATIVE, Phase.RUNTIME)


def test_descendants_count_also_after_they_leave_the_mount_namespace(recorder: Recorder) -> None:
    with held(execute("/bin/sh", "-c", "unshare -m mkdir /proc/no & wait")) as (pid, run):
        recorder.add_process(pid)
        run()

    assert {NUMBERS["unshare"], NUMBERS["mkdir"]} <= programs_calls(recorder.tree())


def test_another_process_of_the_same_program_does_not_leak_in(recorder: Recorder) -> None:
    with held(execute("/bin/sh", "-c", "true")) as (pid, run):
        recorder.add_process(pid)
        subprocess.run(("/bin/sh", "-c", "mkdir /proc/no"), check=False, stderr=subprocess.DEVNULL)
        run()

    assert NUMBERS["mkdir"] not in programs_calls(recorder.tree())


def test_a_running_process_counts_at_once(recorder: Recorder) -> None:
    with held(lambda: call("getsid")) as (pid, run):
        recorder.add_process(pid, running=True)
        run()

    assert NUMBERS["getsid"] in programs_calls(recorder.tree())


def test_processes_of_the_tree_are_known_until_they_end(recorder: Recorder) -> None:
    with held(lambda: None) as (pid, run):
        recorder.add_process(pid)
        assert recorder.tree_processes() == [pid]
        run()

    assert recorder.tree_processes() == []


def test_the_longest_name_that_a_runtime_gives_is_identified(recorder: Recorder) -> None:
    """containerd with cgroupfs below a kubelet with systemd slices puts two names into one."""
    controllers = Path("/sys/fs/cgroup/cpu")
    uid, container = "0c7a2ba4-6bd7-4d0a-9d21-5b1c7c7c9a11", os.urandom(32).hex()
    name = f"kubepods-burstable-pod{uid.replace('-', '_')}.slice:cri-containerd:{container}"
    group = (controllers if controllers.is_dir() else controllers.parent) / name
    recorder.record_namespaces(True)

    def body() -> None:
        (group / "cgroup.procs").write_text("0")
        LIBC.unshare(CLONE_NEWNS)
        os.execv("/bin/true", ["true"])

    group.mkdir()
    try:
        with held(body) as (pid, run):
            run()
    finally:
        group.rmdir()

    events = [event for event in recorder.events(100) if event.pid == pid]
    assert [container_of(event.cgroups) for event in events] == [(container, uid)] * 2


def test_a_namespace_tells_its_runtime_from_its_program(recorder: Recorder) -> None:
    recorder.record_namespaces(True)

    def body() -> None:
        LIBC.unshare(CLONE_NEWNS)
        call("getsid")
        os.execv("/bin/sh", ["sh", "-c", "umask"])

    with held(body) as (pid, run):
        run()

    events = [event for event in recorder.events(100) if event.pid == pid]
    assert [event.exec for event in events] == [False, True]
    assert len({event.key for event in events}) == 1
    assert events[1].comm == "sh"
    assert events[1].cgroups
    observation = recorder.read(events[0].key)
    assert {NUMBERS["getsid"], NUMBERS["execve"]} <= observation.numbers(SyscallClass.NATIVE, Phase.RUNTIME)
    assert NUMBERS["umask"] in programs_calls(observation)
    assert NUMBERS["getsid"] not in programs_calls(observation)
    assert NUMBERS["execve"] not in programs_calls(observation)


def test_the_host_is_not_a_namespace_to_record(recorder: Recorder) -> None:
    recorder.record_namespaces(True)
    with held(execute("/bin/true")) as (pid, run):
        run()

    assert pid not in {event.pid for event in recorder.events(100)}


def test_what_the_runtime_does_under_its_filter_is_kept_apart(recorder: Recorder) -> None:
    recorder.record_namespaces(True)

    def body() -> None:
        LIBC.unshare(CLONE_NEWNS)
        # As libseccomp asks what the kernel can do: no filter is loaded by this.
        LIBC.syscall(NUMBERS["seccomp"], 1, 2, None)
        call("getsid")
        allow_all = (ctypes.c_uint16 * 4)(0x06, 0, 0, 0x7FFF)  # return SECCOMP_RET_ALLOW
        program = (ctypes.c_uint64 * 2)(1, ctypes.addressof(allow_all))
        LIBC.prctl(38, 1, 0, 0, 0)
        if LIBC.syscall(NUMBERS["seccomp"], 1, 0, program):
            os._exit(1)
        call("getpgid")
        os.execv("/bin/true", ["true"])

    with held(body) as (pid, run):
        run()

    namespace = _namespace_of(recorder, {pid})
    observation = recorder.read(namespace.key)
    filtered = observation.numbers(SyscallClass.NATIVE, Phase.RUNTIME_FILTERED)
    assert {NUMBERS["getpgid"], NUMBERS["execve"]} <= filtered
    assert NUMBERS["getsid"] not in filtered
    assert NUMBERS["seccomp"] not in filtered
    assert NUMBERS["getpgid"] not in programs_calls(observation)


def test_a_namespace_that_was_there_before_is_late_and_counts_as_program() -> None:
    def body() -> None:
        call("getsid")

    gate, release = os.pipe()
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(release)
        LIBC.unshare(CLONE_NEWNS)
        os.write(tell, b"x")
        os.read(gate, 1)
        body()
        os._exit(0)
    os.read(ready, 1)
    with Recorder.load() as recorder:
        recorder.attach()
        recorder.record_namespaces(True)
        os.close(release)
        os.waitpid(pid, 0)

        namespace = _namespace_of(recorder, {pid})
        assert namespace.late
        assert NUMBERS["getsid"] in programs_calls(recorder.read(namespace.key))
    for descriptor in (gate, ready, tell):
        os.close(descriptor)


def test_a_rejected_namespace_records_nothing_more(recorder: Recorder) -> None:
    recorder.record_namespaces(True)
    first, second = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        LIBC.unshare(CLONE_NEWNS)
        call("getsid")
        os.write(first[1], b"x")
        os.read(second[0], 1)
        call("getpgid")
        os._exit(0)
    os.read(first[0], 1)
    namespace = _namespace_of(recorder, {pid})
    recorder.reject(namespace.key)
    os.write(second[1], b"x")
    os.waitpid(pid, 0)

    assert recorder.read(namespace.key) == Observation.EMPTY
    assert namespace._replace(ignored=True) in recorder.namespaces()
    recorder.forget(namespace.key)
    assert namespace.key not in {known.key for known in recorder.namespaces()}
    for descriptor in (*first, *second):
        os.close(descriptor)


def test_a_full_map_and_a_full_ring_are_counted() -> None:
    sizes = {"recordings": 1, "identifications": 4096}
    with Recorder.load(sizes=sizes) as recorder:
        recorder.attach()
        recorder.record_namespaces(True)
        for _ in range(8):
            subprocess.run(("unshare", "-m", "true"), check=True)
            for namespace in recorder.namespaces():
                recorder.forget(namespace.key)
        assert recorder.losses().ring_full > 0
        with held(execute("/usr/bin/unshare", "-m", "sh", "-c", "unshare -m true; true")) as (_, run):
            run()

        assert recorder.losses().map_full > 0


def test_a_full_map_of_processes_is_counted() -> None:
    # A tree: containers of others on this machine need no room in the map.
    with Recorder.load(sizes={"processes": 1}) as recorder:
        recorder.attach()
        recorder.add_process(os.getpid(), running=True)
        subprocess.run(("true",), check=True)
        assert recorder.losses().process_map_full > 0


def test_an_unknown_number_counts_for_who_is_recorded() -> None:
    with Recorder.load() as recorder:
        recorder.attach()
        LIBC.syscall(5000)
        assert recorder.losses().unknown_numbers == 0
        recorder.add_process(os.getpid(), running=True)
        LIBC.syscall(5000)
        assert recorder.losses().unknown_numbers == 1


def test_a_number_of_an_ended_process_is_used_by_nobody_recorded() -> None:
    """The kernel gives a number out again; who was added under it just when it ended is another."""
    with Recorder.load() as recorder:
        recorder.attach()
        last = Path("/proc/sys/kernel/ns_last_pid")
        stale = int(last.read_text()) + 200
        recorder.add_process(stale, running=True)
        last.write_text(str(stale - 1))
        children = [subprocess.Popen(("sleep", "60")) for _ in range(3)]
        try:
            pids = {child.pid for child in children}
            if stale not in pids:
                pytest.skip(f"the number {stale} went to somebody else")
            assert not pids.intersection(recorder.tree_processes())
        finally:
            for child in children:
                child.kill()
                child.wait()


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the program is x86 machine code")
def test_32_bit_calls_are_a_class_of_their_own(recorder: Recorder, tmp_path: Path) -> None:
    program = tmp_path / "compat"
    program.write_bytes(_i386_program())
    program.chmod(0o755)

    with held(execute(str(program))) as (pid, run):
        recorder.add_process(pid)
        run()

    compat = {number: name for name, number in _i386_numbers().items()}
    seen = {compat[number] for number in recorder.tree().numbers(SyscallClass.COMPAT, Phase.PROGRAM)}
    assert seen == {"getpid", "exit"}


def test_pins_outlive_the_process_that_made_them(bpf_file_system: Path) -> None:
    pins = bpf_file_system / "below" / "version"
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        recorder = Recorder.load()
        recorder.attach()
        recorder.record_namespaces(True)
        recorder.pin(pins)
        os.write(tell, b"x")
        signal.pause()
    os.read(ready, 1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    with held(execute("/usr/bin/unshare", "-m", "umount", "/proc/no")) as (pid, run):
        run()
    with Recorder.adopt(pins) as adopted:
        namespace = _namespace_of(adopted, {pid})
        assert NUMBERS["umount2"] in programs_calls(adopted.read(namespace.key))
        adopted.detach()
        assert not pins.exists()
        known = adopted.namespaces()
        subprocess.run(("unshare", "-m", "true"), check=True)
        assert adopted.namespaces() == known
        with pytest.raises(PinsError, match="load the object again"):
            adopted.attach()
    for descriptor in (ready, tell):
        os.close(descriptor)


def test_pins_need_a_bpf_file_system(recorder: Recorder, tmp_path: Path) -> None:
    with pytest.raises(PinsError, match="mount -t bpf"):
        recorder.pin(tmp_path / "pins")


def test_incomplete_pins_are_not_adopted(bpf_file_system: Path, recorder: Recorder) -> None:
    pins = bpf_file_system / "version"
    recorder.pin(pins)
    (pins / "processes").unlink()

    with pytest.raises(PinsError, match="open processes"):
        Recorder.adopt(pins)


def test_in_another_pid_namespace_the_error_says_what_is_needed() -> None:
    script = "from spo.bpf.recorder import Recorder\nwith Recorder.load() as one: one.attach()"
    done = subprocess.run(
        ("unshare", "--pid", "--fork", sys.executable, "-c", script),
        check=False,
        capture_output=True,
        text=True,
    )

    assert "it must run in the initial PID namespace" in done.stderr.strip().splitlines()[-1]
    assert "BufferError" not in done.stderr


def test_without_privileges_the_error_says_what_is_needed() -> None:
    script = "from spo.bpf.recorder import Namespace, Recorder; Recorder.load()"
    done = subprocess.run(
        (sys.executable, "-c", script),
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=_become_nobody,
    )

    last = done.stderr.strip().splitlines()[-1]
    assert last.endswith("recording needs root, or the capabilities BPF, PERFMON and SYS_RESOURCE")


def test_no_bit_is_lost_to_a_reset_on_another_cpu() -> None:
    """Two hot loops, each on a CPU: after a reset both go round once more, and all their calls are there."""
    names = (("getsid", "getpgid", "umask"), ("getpriority", "sched_yield", "getitimer"))
    expected = {NUMBERS[name] for group in names for name in group}
    with _hot_loops(names) as (leader, rounds), Recorder.load() as recorder:
        # The loops are older than the recorder, so they count as a program, whose calls go through the cache.
        recorder.attach()
        recorder.record_namespaces(True)
        _go_round(rounds)
        namespace = _namespace_of(recorder, leader)
        for _ in range(500):
            recorder.reset(namespace.key)
            _go_round(rounds)
            assert expected <= programs_calls(recorder.read(namespace.key))


@contextmanager
def _hot_loops(names: Sequence[Sequence[str]]) -> Iterator[tuple[set[int], list[ctypes.c_uint64]]]:
    """One process for each group of names, each on its CPU, in one new mount namespace."""
    rounds = [multiprocessing.get_context("fork").RawValue("Q", 0) for _ in names]
    ready, tell = os.pipe()
    cpus = sorted(os.sched_getaffinity(0))
    first = os.fork()
    if first == 0:
        os.setsid()
        LIBC.unshare(CLONE_NEWNS)
        for index, group in enumerate(names):
            if index + 1 == len(names) or os.fork() == 0:
                os.sched_setaffinity(0, {cpus[index % len(cpus)]})
                os.write(tell, os.getpid().to_bytes(8, "little"))
                _hammer([NUMBERS[name] for name in group], rounds[index])
    pids = {int.from_bytes(os.read(ready, 8), "little") for _ in names}
    try:
        yield pids, rounds
    finally:
        os.killpg(first, signal.SIGKILL)
        os.waitpid(first, 0)
        os.close(ready)
        os.close(tell)


def _go_round(rounds: Sequence[ctypes.c_uint64]) -> None:
    """Until each loop has made all its calls once more from now on."""
    before = [counter.value for counter in rounds]
    while any(counter.value < was + 2 for counter, was in zip(rounds, before, strict=True)):
        os.sched_yield()


def _namespace_of(recorder: Recorder, pids: Collection[int]) -> Namespace:
    """The namespace that one of these processes was the first to call from; there may be others around."""
    keys = {event.key for event in recorder.events(100) if event.pid in pids}
    (found,) = (namespace for namespace in recorder.namespaces() if namespace.key in keys)
    return found


def _hammer(numbers: list[int], counter: ctypes.c_uint64) -> NoReturn:
    while True:
        for number in numbers:
            LIBC.syscall(number, 0, 0, 0, 0, 0, 0)
        counter.value += 1


def _become_nobody() -> None:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)


def _i386_numbers() -> dict[str, int]:
    return {name: number for number, name in syscall_names("SCMP_ARCH_X86").items()}


def _i386_program() -> bytes:
    """A static ELF that calls getpid and exit(0) by int 0x80."""
    origin = 0x08048000
    header_bytes = 52 + 32
    code = bytes.fromhex("b814000000 cd80 31db b801000000 cd80")
    elf = b"\x7fELF\x01\x01\x01" + bytes(9)
    elf += (2).to_bytes(2, "little") + (3).to_bytes(2, "little") + (1).to_bytes(4, "little")
    for word in (origin + header_bytes, 52, 0, 0):
        elf += word.to_bytes(4, "little")
    for half in (52, 32, 1, 40, 0, 0):
        elf += half.to_bytes(2, "little")
    size = header_bytes + len(code)
    for word in (1, 0, origin, origin, size, size, 5, 0x1000):
        elf += word.to_bytes(4, "little")
    return elf + code
