"""The same programs in containers of Podman and runc, recorded by mount namespace."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from spo.bpf.observation import Observation
from spo.bpf.recorder import Recorder
from spo.recording.identity import container_of
from tests.fidelity.comparison import Comparison, calls_of
from tests.fidelity.execution import Strace
from tests.fidelity.program import SCRIPTS, Place, Program, eventually
from tests.fidelity.runs import Outcome, place, prepared
from tests.fidelity.strace_log import parse
from tools.dev_image import Files, import_image, shared_libraries, tree

IMAGE = "localhost/spo-fidelity:dev"
GATE = "gate"
"""A FIFO in the place: a watched container waits on it until it may become the program."""
WAIT_AT_THE_GATE = f'read -r go < {GATE}; exec "$@"'
CONFIGURATION = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
"""


def image() -> None:
    """Make the image of all programs that serve, from the files of this machine."""
    postgres = next(Path("/usr/lib/postgresql").iterdir())
    share = Path("/usr/share/postgresql") / postgres.name
    binaries = [
        Path(shutil.which(name) or name) for name in ("nginx", "redis-server", "node", "bash", "setpriv")
    ]
    trees = [*tree(postgres), *tree(share), *tree(Path("/etc/nginx"))]
    # The compiler of queries would bring all of LLVM.
    trees = [file for file in trees if "llvm" not in str(file) and "bitcode" not in str(file)]
    plain = [Path("/etc/passwd"), Path("/etc/group"), Path("/bin/busybox"), *binaries, *trees]
    libraries = shared_libraries(*(file for file in plain if file.suffix in {"", ".so"} and executable(file)))
    files: Files = {}
    for file in (*plain, *libraries):
        files[str(file.parent.resolve() / file.name).lstrip("/")] = file
    links = {name: f"usr/{name}" for name in ("bin", "lib", "lib64", "sbin")}
    links["usr/bin/sh"] = "busybox"
    import_image(IMAGE, files, links, ["ENV PATH=/usr/sbin:/usr/bin"])


def executable(file: Path) -> bool:
    """Whether it is an ELF file."""
    with file.open("rb") as content:
        return content.read(4) == b"\x7fELF"


class Podman:
    """Podman with a configuration of its own."""

    def __init__(self, folder: Path) -> None:
        configuration = folder / "containers.conf"
        configuration.write_text(CONFIGURATION)
        self._environment = {**os.environ, "CONTAINERS_CONF": str(configuration)}

    def __call__(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of it."""
        done = subprocess.run(
            ("podman", *arguments), env=self._environment, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, f"podman {arguments[0]}: {done.stderr}"
        return done

    @contextmanager
    def container(self, where: Place, command: Sequence[str], *options: str) -> Iterator["Container"]:
        """A container that runs a command; removed at the end."""
        name = f"spo-fidelity-{secrets.token_hex(4)}"
        mounts = (f"--volume={where.folder}:{where.folder}", f"--volume={SCRIPTS}:{SCRIPTS}:ro")
        settings = (f"--workdir={where.folder}", "--network=host", f"--env=HOME={where.folder}")
        try:
            self("run", "--detach", f"--name={name}", *mounts, *settings, *options, IMAGE, *command)
            yield Container(self, name, where)
        finally:
            self("rm", "--force", "--time=0", name, check=False)


class Container:
    """A running container, as the drivers of servers see a process."""

    def __init__(self, podman: Podman, name: str, where: Place) -> None:
        self._podman = podman
        self.name = name
        self.place = where
        self.id, pid = podman("inspect", "--format={{.Id}} {{.State.Pid}}", name).stdout.split()
        self.pid = int(pid)

    def running(self) -> bool:
        """Whether its first process still runs."""
        return self._podman("inspect", "--format={{.State.Running}}", self.name).stdout.strip() == "true"

    def finished(self, program: Program) -> Outcome:
        """Be the client of a server, and wait for the end."""
        told = program.drive(self) if program.drive else None
        status = int(self._podman("wait", self.name).stdout)
        logs = self._podman("logs", self.name)
        return Outcome(status, logs.stdout if told is None else told, logs.stderr)


def key_of(recorder: Recorder, container: Container) -> int:
    """The recorder's key of a container.

    Raises:
        NotReadyError: the recorder never announced it.
    """
    found: list[int] = []

    def announced() -> bool:
        for event in recorder.events(timeout_ms=10):
            identity = container_of(event.cgroups)
            if identity is not None and identity.container_id == container.id:
                found.append(event.key)
        return bool(found)

    eventually(f"container {container.name} is announced", announced, timeout_s=10)
    return found[-1]


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Record every mount namespace."""
    recorder.record_namespaces(True)
    recorder.attach()
    try:
        yield
    finally:
        recorder.detach()


def command(program: Program, where: Place) -> list[str]:
    """Make the inputs; the command with its whole path, else a shell of busybox takes an applet."""
    name, *words = prepared(program, where)
    return [shutil.which(name) or name, *words]


def whole_lines(log: Path) -> int:
    """Length of a file without a line that is not complete, in bytes."""
    return log.read_bytes().rfind(b"\n") + 1


def watch(program: Program, podman: Podman, recorder: Recorder) -> tuple[Comparison, Observation, Outcome]:
    """One execution in a container under both watchers."""
    with place() as where, recording(recorder):
        gate = where.folder / GATE
        os.mkfifo(gate)
        waiting = ("/usr/bin/busybox", "sh", "-c", WAIT_AT_THE_GATE, "sh", *command(program, where))
        with podman.container(where, waiting) as container:
            key = key_of(recorder, container)
            log = where.folder.parent / "strace"
            with Strace(container.pid, log) as strace, gate.open("wb", buffering=0) as opened:
                opened.write(b"g")
                strace.follows(b"read(")
                # From here on both watchers see the same. The shell waits for the next byte; what it is
                # doing for that it does once more for the last byte.
                recorder.reset(key)
                start = whole_lines(log)
                opened.write(b"o\n")
                outcome = container.finished(program)
                strace.wait()
            observation = recorder.read(key)
        with log.open() as lines:
            lines.seek(start)
            seen = parse(lines, None)
    return Comparison(seen, calls_of(observation)), observation, outcome


def record(program: Program, podman: Podman, recorder: Recorder) -> tuple[Observation, Outcome]:
    """One execution in a container, from its first call on."""
    with place() as where, recording(recorder), podman.container(where, command(program, where)) as container:
        outcome = container.finished(program)
        return recorder.read(key_of(recorder, container)), outcome


def rerun(program: Program, podman: Podman, profile: Path) -> Outcome:
    """One execution in a container under a profile."""
    with place() as where:
        options = f"--security-opt=seccomp={profile}"
        with podman.container(where, command(program, where), options) as container:
            return container.finished(program)
