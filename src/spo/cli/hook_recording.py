"""What the OCI hook does: attach before the container starts, go on in the background until it has ended."""

import os
import re
import selectors
import signal
import sys
from pathlib import Path
from typing import IO, Final, cast

import msgspec

from spo.bpf.errors import RecorderError
from spo.bpf.observation import Observation
from spo.bpf.recorder import Recorder
from spo.errors import SpoError
from spo.host.hook_files import HookFileError, HookFiles, below, is_file_name, name_when_taken
from spo.recording.hook_file import render_recording
from spo.recording.profile import Machine, spec_of, syscall_names
from spo.recording.runtime_base import base_of

ANNOTATION: Final = "io.containers.trace-syscall"
MAX_STATE_BYTES: Final = 1024 * 1024
_CONTAINER_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_MACHINES: Final = {"arm64": "aarch64"}


class HookRequestError(SpoError):
    """The runtime's state, or the annotation in it, asks for something impossible."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"{ANNOTATION}: {self.problem}"


class ContainerState(msgspec.Struct):
    """The state of a container as a runtime gives it to hooks (OCI runtime specification)."""

    id: str
    pid: int
    annotations: dict[str, str] = {}


class Wanted(msgspec.Struct, frozen=True):
    """What is to be recorded."""

    container: str
    pid: int
    file: str
    """Base name in the directory of recordings."""


def request_of(state: bytes, directory: Path) -> Wanted | None:
    """What the container asks for; None: nothing.

    Raises:
        HookRequestError: the state is not one, or the file may not be written.
    """
    try:
        container = msgspec.json.decode(state, type=ContainerState)
    except msgspec.DecodeError as error:
        raise HookRequestError(f"the state of the container cannot be read: {error}") from error
    value = container.annotations.get(ANNOTATION)
    if value is None:
        return None
    if not _CONTAINER_ID.fullmatch(container.id) or container.pid < 1:
        raise HookRequestError("the state names no container and process")
    return Wanted(container.id, container.pid, _file_of(value, directory))


def _file_of(value: str, directory: Path) -> str:
    parts = dict(part.strip().partition(":")[::2] for part in value.split(";"))
    path = Path(parts.get("of", ""))
    if path.parent != directory or not is_file_name(path.name):
        raise HookRequestError(f"give of:{directory}/NAME.json; this hook writes nowhere else")
    if parts.keys() - {"of"}:
        raise HookRequestError("only of: is supported; merge profiles with `spoc merge`")
    return path.name


def record_in_background(state: IO[bytes], directory: Path, host_root: Path) -> None:
    """Begin to record, then return, so that the runtime starts the container.

    Args:
        state: of the container, as the runtime gives it.
        directory: the only one that annotations may name.
        host_root: where the node's file system begins.

    Raises:
        HookRequestError: the request cannot be fulfilled.
        RecorderError: nothing can be recorded here.
    """
    content = state.read(MAX_STATE_BYTES + 1)
    if len(content) > MAX_STATE_BYTES:
        raise HookRequestError(f"the state of the container has over {MAX_STATE_BYTES} bytes")
    wanted = request_of(content, directory)
    if wanted is None:
        return
    files = HookFiles(below(host_root, directory))
    files.make_directory()
    try:
        process = os.pidfd_open(wanted.pid)
        inode = Path(f"/proc/{wanted.pid}/ns/mnt").stat().st_ino
    except OSError as error:
        raise HookRequestError(f"process {wanted.pid} of the container: {error.strerror}") from error
    recorder = Recorder.load()
    recorder.attach()
    # The init process of the runtime is older than the recorder, and not yet the program: until it executes
    # one, its calls are the runtime's.
    recorder.add_process(wanted.pid)
    recorder.record_namespaces(True)
    sys.stdout.flush()
    if os.fork() == 0:
        _go_on(recorder, process, inode, wanted, files)


def _go_on(recorder: Recorder, process: int, inode: int, wanted: Wanted, files: HookFiles) -> None:
    """In a process of its own: until the container has ended."""
    status = 1
    try:
        os.setsid()
        os.chdir("/")
        for descriptor in range(3):
            os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
        keys = _wait(recorder, process, inode)
        recorder.detach()
        observation = recorder.tree()
        for key in keys:
            observation |= recorder.read(key)
        write_recording(observation, wanted, files)
        status = 0
    except (RecorderError, HookFileError):
        status = 1  # nobody listens any more; whoever waits for the file sees that there is none
    finally:
        os._exit(status)


def _wait(recorder: Recorder, process: int, inode: int) -> list[int]:
    """Until the process ends, or somebody ends us; keys of what others executed in the container."""
    stop, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGTERM, lambda *_: None)
    keys: list[int] = []
    with selectors.DefaultSelector() as selector:
        for descriptor in (process, stop, recorder.event_fd()):
            selector.register(descriptor, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            for event in recorder.events():
                if event.inode == inode:
                    keys.append(event.key)
                else:
                    recorder.reject(event.key)
            if process in ready or stop in ready:
                return list(dict.fromkeys(keys))


def write_recording(observation: Observation, wanted: Wanted, files: HookFiles) -> None:
    """Leave the profile; when its name is taken, with the id of the container in the name.

    Raises:
        HookFileError: it cannot be written.
    """
    name = os.uname().machine
    machine = cast("Machine", _MACHINES.get(name, name))
    base = base_of(observation, machine)
    by_program = frozenset[str]().union(*syscall_names(observation, machine).values())
    spec = spec_of(observation, machine, base=base)
    content = render_recording(spec, wanted.container, base - by_program)
    try:
        files.write(wanted.file, content)
    except HookFileError:
        files.write(name_when_taken(wanted.file, wanted.container), content)
